//! One range from one registry, however often the connection breaks.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;
use reqwest::Response;
use reqwest::header::{HeaderMap, HeaderValue, RANGE};

use super::answer::{Answer, answer};
use super::blob::Blob;
use super::body::Body;
use super::endpoint::{Endpoint, Ranges};
use super::error::RequestError;
use super::pieces::Outlet;
use super::retry::Attempts;

/// Odd answers in a row after which a registry is taken not to know ranges.
const ODD: u32 = 2;

/// A range that is to be fetched, and how far it has come.
#[derive(Debug)]
pub(super) struct Job {
    /// Number of the range among those asked for.
    number: usize,
    at: AtomicU64,
    end: u64,
}

impl Job {
    pub(super) fn new(number: usize, range: &Range<u64>) -> Self {
        Self { number, at: AtomicU64::new(range.start), end: range.end }
    }

    /// Offset of the first byte that has not come.
    pub(super) fn at(&self) -> u64 {
        self.at.load(Ordering::Acquire)
    }

    pub(super) fn end(&self) -> u64 {
        self.end
    }

    pub(super) fn is_done(&self) -> bool {
        self.at() >= self.end
    }

    /// Hands the next bytes of a body over, at most up to `end`.
    pub(super) async fn advance(
        &self,
        body: &mut Body<'_>,
        end: u64,
        out: &Outlet,
    ) -> Result<(), RequestError> {
        let bytes = body.read(end - self.at()).await?;
        self.take(bytes, out).await;
        Ok(())
    }

    /// Hands the next bytes over.
    ///
    /// A task that is stopped has either sent a piece and counted it, or neither.
    pub(super) async fn take(&self, bytes: Bytes, out: &Outlet) {
        let at = self.at();
        let permit = out.room(bytes.len()).await;
        let next = at + bytes.len() as u64;
        out.send(self.number, at, bytes, permit);
        self.at.store(next, Ordering::Release);
    }
}

/// How fetching one range ended.
#[derive(Debug)]
pub(super) enum Ended {
    Done,
    /// The registry gives whole blobs only; perhaps this is one.
    WholeOnly(Option<Response>),
}

/// Fetches what is left of a range.
pub(super) async fn fetch(
    blob: &Blob,
    endpoint: &Endpoint,
    job: &Job,
    out: &Outlet,
) -> Result<Ended, RequestError> {
    let mut attempts = Attempts::new(blob.retry());
    let mut odd = 0;
    while !job.is_done() {
        let before = job.at();
        let error = match attempt(blob, endpoint, job, out).await {
            Ok(ended @ Ended::WholeOnly(_)) => return Ok(ended),
            Ok(Ended::Done) => continue,
            Err(error) => error,
        };
        if job.at() > before {
            attempts.progress();
            odd = 0;
        }
        if matches!(error, RequestError::OddRange { .. }) {
            odd += 1;
            tracing::debug!(%error, "odd answer to a range");
            if odd == ODD {
                return Ok(Ended::WholeOnly(None));
            }
            continue;
        }
        attempts.again_after(error).await?;
    }
    Ok(Ended::Done)
}

/// One request; well if all that it announced has come.
async fn attempt(
    blob: &Blob,
    endpoint: &Endpoint,
    job: &Job,
    out: &Outlet,
) -> Result<Ended, RequestError> {
    let (at, last) = (job.at(), job.end - 1);
    let whole = at == 0 && job.end == blob.size();
    let mut headers = HeaderMap::new();
    if !whole {
        let range = HeaderValue::try_from(format!("bytes={at}-{last}"));
        headers.insert(RANGE, range.expect("digits"));
    }
    let asked = Instant::now();
    let response = match blob.request(endpoint, &headers).await {
        // Refused because of the range, or not there at all: the whole blob will show.
        Err(error) if !whole && is_refusal(&error) => {
            let answer = format!("is status {}", error.status().unwrap_or_default());
            return Err(RequestError::OddRange { first: at, last, answer });
        }
        other => other?,
    };
    endpoint.meter.answered(asked.elapsed());
    match answer(&response, at, last, blob.size())? {
        Answer::Whole if !whole => {
            endpoint.set_ranges(Ranges::Ignored);
            Ok(Ended::WholeOnly(Some(response)))
        }
        Answer::Whole => part(blob, endpoint, response, job, job.end, out).await,
        Answer::Part { end } => {
            endpoint.set_ranges(Ranges::Honoured);
            part(blob, endpoint, response, job, end, out).await
        }
    }
}

async fn part(
    blob: &Blob,
    endpoint: &Endpoint,
    response: Response,
    job: &Job,
    end: u64,
    out: &Outlet,
) -> Result<Ended, RequestError> {
    let mut body = Body::new(endpoint, blob.counters(), response, job.at(), end);
    while job.at() < end {
        job.advance(&mut body, end, out).await?;
    }
    Ok(Ended::Done)
}

/// Statuses with which servers turn down ranges that are right.
fn is_refusal(error: &RequestError) -> bool {
    matches!(error.status(), Some(400 | 405 | 416 | 501))
}
