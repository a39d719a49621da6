//! A part of a file as a blob.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use storage_core::{FileSource, Link, Piece, Pieces, RangeSource, SourceError, Usage};

/// A source over one range of another.
#[derive(Debug)]
pub(super) struct Slice {
    file: Arc<FileSource>,
    range: Range<u64>,
    requests: AtomicU64,
    bytes: Arc<AtomicU64>,
}

impl Slice {
    /// The bytes of `file` in `range`, which should lie within it.
    pub(super) fn new(file: Arc<FileSource>, range: Range<u64>) -> Self {
        Self { file, range, requests: AtomicU64::new(0), bytes: Arc::default() }
    }

    /// Where ranges of the slice are in the file; the first that leaves it is the error.
    fn shifted(&self, ranges: &[Range<u64>]) -> Result<Vec<Range<u64>>, SourceError> {
        let shift = |range: &Range<u64>| {
            let end = self.range.start.checked_add(range.end);
            let end = end.filter(|end| *end <= self.range.end && range.start <= range.end);
            end.map(|end| self.range.start + range.start..end).ok_or_else(|| SourceError {
                attempt: format!("read bytes {}-{} of the blob", range.start, range.end),
                source: "the blob is shorter".into(),
            })
        };
        ranges.iter().map(shift).collect()
    }
}

impl RangeSource for Slice {
    fn size(&self) -> u64 {
        self.range.end - self.range.start
    }

    fn link(&self) -> Link {
        self.file.link()
    }

    fn usage(&self) -> Usage {
        Usage {
            requests: self.requests.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }

    fn fetch(&self, ranges: Vec<Range<u64>>) -> Pieces {
        self.requests.fetch_add(ranges.len() as u64, Ordering::Relaxed);
        let (start, counted) = (self.range.start, self.bytes.clone());
        match self.shifted(&ranges) {
            Err(error) => Pieces::new(std::iter::once(Err(error))),
            Ok(ranges) => Pieces::new(self.file.fetch(ranges).map(move |piece| {
                let piece = piece?;
                counted.fetch_add(piece.bytes.len() as u64, Ordering::Relaxed);
                Ok(Piece { offset: piece.offset - start, ..piece })
            })),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use storage_core::RangeReader;

    use super::*;

    #[test]
    fn a_slice_gives_its_own_bytes_and_no_others() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"before|inside|behind").unwrap();
        let slice = Slice::new(Arc::new(FileSource::new(file).unwrap()), 7..13);
        assert_eq!(slice.size(), 6);
        let mut content = Vec::new();
        RangeReader::new(&slice, 1..6).read_to_end(&mut content).unwrap();
        assert_eq!(content, b"nside");
        let pieces: Vec<_> = slice.fetch(vec![0..2, 4..6]).map(Result::unwrap).collect();
        assert_eq!((pieces[1].range, pieces[1].offset), (1, 4));
        assert_eq!(slice.usage(), Usage { requests: 3, bytes: 9 });
        for outside in [0..7, 6..7, u64::MAX - 1..u64::MAX] {
            assert!(slice.fetch(vec![outside]).next().unwrap().is_err());
        }
    }
}
