//! A source that tells the pull's progress how many bytes it gave.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use storage_core::{Arriving, Link, Piece, Pieces, RangeSource, SourceError, Usage};

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

    fn link_for_many(&self) -> Link {
        self.inner.link_for_many()
    }

    fn usage(&self) -> Usage {
        self.inner.usage()
    }

    fn fetch(&self, ranges: Vec<Range<u64>>) -> Pieces {
        let length: u64 = ranges.iter().map(|range| range.end.saturating_sub(range.start)).sum();
        self.asked.fetch_add(length, Ordering::Relaxed);
        let (progress, index) = (self.progress.clone(), self.index);
        let (seen, asked) = (self.seen.clone(), self.asked.clone());
        let pieces = self.inner.fetch(ranges);
        Pieces::arriving(WatchedPieces { pieces, progress, index, seen, asked })
    }
}

struct WatchedPieces {
    pieces: Pieces,
    progress: Arc<dyn Progress + Send + Sync>,
    index: usize,
    seen: Arc<AtomicU64>,
    asked: Arc<AtomicU64>,
}

impl Iterator for WatchedPieces {
    type Item = Result<Piece, SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        let piece = self.pieces.next()?;
        if let Ok(piece) = &piece {
            let length = piece.bytes.len() as u64;
            let bytes = self.seen.fetch_add(length, Ordering::Relaxed) + length;
            self.progress.fetched(self.index, bytes, self.asked.load(Ordering::Relaxed));
        }
        Some(piece)
    }
}

impl Arriving for WatchedPieces {
    fn is_ready(&mut self) -> bool {
        self.pieces.is_ready()
    }
}
