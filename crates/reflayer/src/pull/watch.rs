//! A source that tells the pull's progress how many bytes it gave.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use storage_core::{Link, Pieces, RangeSource, Usage};

use crate::progress::Progress;

/// Passes everything on, and reports what passes.
pub(super) struct Watched {
    inner: Arc<dyn RangeSource>,
    progress: Arc<dyn Progress + Send + Sync>,
    index: usize,
    seen: Arc<AtomicU64>,
    asked: Arc<AtomicU64>,
}

impl Watched {
    pub(super) fn new(
        inner: Arc<dyn RangeSource>,
        progress: Arc<dyn Progress + Send + Sync>,
        index: usize,
    ) -> Self {
        Self { inner, progress, index, seen: Arc::default(), asked: Arc::default() }
    }
}

impl RangeSource for Watched {
    fn size(&self) -> u64 {
        self.inner.size()
    }

    fn link(&self) -> Link {
        self.inner.link()
    }

    fn usage(&self) -> Usage {
        self.inner.usage()
    }

    fn fetch(&self, ranges: Vec<Range<u64>>) -> Pieces {
        let length: u64 = ranges.iter().map(|range| range.end.saturating_sub(range.start)).sum();
        self.asked.fetch_add(length, Ordering::Relaxed);
        let (progress, index) = (self.progress.clone(), self.index);
        let (seen, asked) = (self.seen.clone(), self.asked.clone());
        Pieces::new(self.inner.fetch(ranges).inspect(move |piece| {
            if let Ok(piece) = piece {
                let length = piece.bytes.len() as u64;
                let bytes = seen.fetch_add(length, Ordering::Relaxed) + length;
                progress.fetched(index, bytes, asked.load(Ordering::Relaxed));
            }
        }))
    }
}
