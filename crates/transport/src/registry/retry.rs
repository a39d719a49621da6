//! When another attempt is made, and after how long.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

use super::error::RequestError;
use crate::Retry;

/// The attempts at one thing.
#[derive(Debug)]
pub(super) struct Attempts<'r> {
    retry: &'r Retry,
    pauses: ExponentialBackoff,
}

impl<'r> Attempts<'r> {
    pub(super) fn new(retry: &'r Retry) -> Self {
        let pauses = ExponentialBuilder::new()
            .with_min_delay(retry.first_pause)
            .with_max_delay(retry.longest_pause)
            .with_max_times(retry.attempts.saturating_sub(1))
            .with_jitter()
            .build();
        Self { retry, pauses }
    }

    /// Progress was made: failures are counted from zero again.
    pub(super) fn progress(&mut self) {
        *self = Self::new(self.retry);
    }

    /// Waits until the next attempt, or gives the error back if there is none.
    pub(super) async fn again_after(&mut self, error: RequestError) -> Result<(), RequestError> {
        let pause = self.pause(error)?;
        tokio::time::sleep(pause).await;
        Ok(())
    }

    fn pause(&mut self, error: RequestError) -> Result<Duration, RequestError> {
        let asked = error.retry_after();
        match asked.filter(|wait| *wait > self.retry.longest_retry_after) {
            Some(wait) => {
                let status = error.status().unwrap_or_default();
                return Err(RequestError::Busy { status, wait });
            }
            None if !error.is_passing() => return Err(error),
            None => {}
        }
        match self.pauses.next() {
            Some(pause) => {
                let pause = asked.unwrap_or_default().max(pause);
                tracing::debug!(?pause, %error, "will try again");
                Ok(pause)
            }
            None => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::error::ServerMessage;
    use super::*;

    fn status(status: u16, retry_after: Option<u64>) -> RequestError {
        let retry_after = retry_after.map(Duration::from_secs);
        RequestError::Status { status, retry_after, message: ServerMessage::default() }
    }

    #[test]
    fn passing_failures_are_tried_again_as_often_as_allowed() {
        let retry = Retry::default();
        let mut attempts = Attempts::new(&retry);
        let pauses: Vec<_> = (1..5).map(|_| attempts.pause(status(503, None)).unwrap()).collect();
        assert!(pauses.iter().all(|pause| *pause >= retry.first_pause));
        assert!(pauses[3] > pauses[0]);
        assert!(attempts.pause(status(503, None)).is_err());
        attempts.progress();
        assert!(attempts.pause(status(503, None)).is_ok());
        assert!(attempts.pause(status(404, None)).is_err());
    }

    #[test]
    fn a_server_may_ask_for_a_longer_pause_but_not_for_any() {
        let retry = Retry::default();
        let mut attempts = Attempts::new(&retry);
        let pause = attempts.pause(status(429, Some(7))).unwrap();
        assert!(pause >= Duration::from_secs(7));
        let error = attempts.pause(status(429, Some(3600))).unwrap_err();
        assert!(matches!(error, RequestError::Busy { status: 429, .. }), "{error}");
    }
}
