//! How a pull shows to other processes that it moves.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chunked::{Candidate, Sources};
use rustix::fs::{AtFlags, Timespec, Timestamps, UTIME_NOW, utimensat};
use storage_core::BlobDigest;

use crate::progress::Progress;
use crate::report::LayerWay;

/// The least time between two beats that others can see.
const INTERVAL: Duration = Duration::from_millis(250);

/// Beats when something of a pull moved: bytes came, or a file was reused.
///
/// A beat is a new modification time of the pull's mark, set by the thread that
/// moved something. A pull that hangs has no thread that would beat for it.
#[derive(Debug, Clone)]
pub(crate) struct Pulse(Arc<Mark>);

#[derive(Debug)]
struct Mark {
    directory: OwnedFd,
    name: String,
    started: Instant,
    /// When others last saw a beat, in milliseconds since `started`.
    shown: AtomicU64,
}

impl Pulse {
    /// The pulse of the pull whose mark `name` in `directory` was just made.
    pub(super) fn new(directory: OwnedFd, name: String) -> Self {
        let shown = AtomicU64::new(0);
        Self(Arc::new(Mark { directory, name, started: Instant::now(), shown }))
    }

    /// Something moved.
    pub(crate) fn beat(&self) {
        let mark = &*self.0;
        let now = u64::try_from(mark.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let shown = mark.shown.load(Ordering::Relaxed);
        if u128::from(now.saturating_sub(shown)) < INTERVAL.as_millis() {
            return;
        }
        let ours =
            mark.shown.compare_exchange(shown, now, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if ours {
            let at_once = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
            let times = Timestamps { last_access: at_once, last_modification: at_once };
            // Lost beats cost others a download, not their success.
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            let _lost = utimensat(&mark.directory, &*mark.name, &times, flags);
        }
    }

    /// Beats whenever something is told to `inner`.
    pub(super) fn over(
        &self,
        inner: Arc<dyn Progress + Send + Sync>,
    ) -> Arc<dyn Progress + Send + Sync> {
        Arc::new(Beating { inner, pulse: self.clone() })
    }

    /// Beats whenever a file of `sources` is opened to be reused.
    pub(super) fn over_sources<S: Sources>(&self, sources: S) -> impl Sources {
        Beating { inner: sources, pulse: self.clone() }
    }
}

/// Something that makes a pulse beat when it is used.
struct Beating<T> {
    inner: T,
    pulse: Pulse,
}

impl Progress for Beating<Arc<dyn Progress + Send + Sync>> {
    fn layers(&self, layers: &[(BlobDigest, u64)]) {
        self.inner.layers(layers);
    }

    fn waiting(&self, index: usize) {
        self.inner.waiting(index);
    }

    fn fetched(&self, index: usize, bytes: u64, expected: u64) {
        self.pulse.beat();
        self.inner.fetched(index, bytes, expected);
    }

    fn done(&self, index: usize, way: LayerWay) {
        self.pulse.beat();
        self.inner.done(index, way);
    }
}

impl<S: Sources> Sources for Beating<S> {
    fn open(&self, candidate: &Candidate) -> io::Result<File> {
        self.pulse.beat();
        self.inner.open(candidate)
    }
}
