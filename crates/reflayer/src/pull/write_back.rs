//! Flushes beside a durable pull, so that the one at its end finds little to write.

use std::panic::resume_unwind;
use std::thread;
use std::time::Duration;

use crossbeam::channel::{RecvTimeoutError, bounded};
use storage_core::FsError;

/// Between two flushes: a small pull has none but its last, and a disk is not kept busy by what
/// little comes over a slow line.
const PAUSE: Duration = Duration::from_secs(1);

/// Does `work`, and flushes beside it.
///
/// # Errors
///
/// If a flush failed: what reached the disk is then unknown, and the next one would not say so.
pub(super) fn flushing_beside<T>(
    flush: impl Fn() -> Result<(), FsError> + Send,
    work: impl FnOnce() -> T,
) -> Result<T, FsError> {
    let (end, ended) = bounded::<()>(0);
    thread::scope(|scope| {
        let flushes = scope.spawn(move || {
            while ended.recv_timeout(PAUSE) == Err(RecvTimeoutError::Timeout) {
                flush()?;
            }
            Ok(())
        });
        let done = work();
        drop(end);
        flushes.join().unwrap_or_else(|panic| resume_unwind(panic))?;
        Ok(done)
    })
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn a_failed_flush_is_no_success() {
        let (flushed, seen) = channel();
        let flush = || {
            flushed.send(()).unwrap();
            Err(FsError::new("flush", "disk", io::ErrorKind::Other))
        };
        assert!(flushing_beside(flush, || seen.recv().unwrap()).is_err());
    }

    #[test]
    fn what_is_short_is_not_flushed() {
        assert_eq!(flushing_beside(|| unreachable!("it is no long work"), || 5).unwrap(), 5);
    }
}
