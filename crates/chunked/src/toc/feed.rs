//! Two payloads out of one fetch, read one after the other.

use std::io::{self, Read};
use std::ops::Range;
use std::os::fd::BorrowedFd;

use bytes::Bytes;
use storage_core::{FsError, Piece, Pieces, RangeSource, SourceError};

use crate::spill::Spill;

/// Payloads closer than this are fetched as one range; between TOC and tar-split
/// is normally a header of eight bytes.
const NEAR: u64 = 4096;

/// A stream that failed for a reason of its own, inside an [`io::Error`].
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error(transparent)]
    Source(SourceError),
    #[error(transparent)]
    Fs(FsError),
    #[error("source gave bytes from {actual} on, expected those from {expected}")]
    Order { expected: u64, actual: u64 },
    #[error("source ended at byte {at}, expected more")]
    Short { at: u64 },
    #[error("more than {limit} bytes come out")]
    TooLarge { limit: u64 },
}

impl From<Fault> for io::Error {
    fn from(fault: Fault) -> Self {
        io::Error::other(fault)
    }
}

/// The bytes of several spans of a blob, in whatever order they arrive.
#[derive(Debug)]
pub(super) struct Feed<'d> {
    pieces: Pieces,
    /// Next expected offset and end of each requested range.
    ranges: Vec<Range<u64>>,
    spans: Vec<Span>,
    scratch: BorrowedFd<'d>,
    received: u64,
}

#[derive(Debug)]
struct Span {
    range: Range<u64>,
    /// Offset of the next byte to be read.
    at: u64,
    early: Spill,
}

impl<'d> Feed<'d> {
    /// Asks for `spans`, which are apart from each other, in one fetch.
    pub(super) fn new(
        source: &dyn RangeSource,
        spans: &[Range<u64>],
        scratch: BorrowedFd<'d>,
    ) -> Self {
        let ranges = merge(spans);
        let span = |range: &Range<u64>| Span {
            range: range.clone(),
            at: range.start,
            early: Spill::default(),
        };
        Self {
            pieces: source.fetch(ranges.clone()),
            ranges,
            spans: spans.iter().map(span).collect(),
            scratch,
            received: 0,
        }
    }

    /// A stream of span number `number`.
    pub(super) fn reader(&mut self, number: usize) -> SpanReader<'_, 'd> {
        SpanReader { feed: self, number, current: Bytes::new() }
    }

    /// Bytes received so far.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// Takes one piece; what belongs to `wanted` is returned, the rest is kept.
    fn take_piece(&mut self, wanted: usize) -> Result<Bytes, Fault> {
        let at = self.spans[wanted].at;
        let piece = self.pieces.next().ok_or(Fault::Short { at })?.map_err(Fault::Source)?;
        self.check(&piece)?;
        let mut found = Bytes::new();
        for (number, span) in self.spans.iter_mut().enumerate() {
            let part = part_of(&piece, &span.range);
            if number == wanted {
                found = part;
            } else if !part.is_empty() {
                span.early.push(part, self.scratch).map_err(Fault::Fs)?;
            }
        }
        Ok(found)
    }

    fn check(&mut self, piece: &Piece) -> Result<(), Fault> {
        let length = piece.bytes.len() as u64;
        self.received += length;
        let actual = piece.offset;
        let Some(range) = self.ranges.get_mut(piece.range) else {
            return Err(Fault::Order { expected: 0, actual });
        };
        let expected = range.start;
        if actual != expected || length > range.end - range.start {
            return Err(Fault::Order { expected, actual });
        }
        range.start += length;
        Ok(())
    }
}

/// Spans as ranges to ask for.
fn merge(spans: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut sorted = spans.to_vec();
    sorted.sort_by_key(|span| span.start);
    let mut merged: Vec<Range<u64>> = Vec::new();
    for span in sorted {
        match merged.last_mut() {
            Some(last) if span.start <= last.end.saturating_add(NEAR) => {
                last.end = last.end.max(span.end);
            }
            _ => merged.push(span),
        }
    }
    merged
}

/// The bytes of a piece that lie in `range`.
fn part_of(piece: &Piece, range: &Range<u64>) -> Bytes {
    let length = piece.bytes.len() as u64;
    let inside = |at: u64| at.saturating_sub(piece.offset).min(length);
    let to_usize = |n: u64| usize::try_from(n).expect("an offset in a slice fits");
    let (start, end) = (inside(range.start), inside(range.end));
    piece.bytes.slice(to_usize(start)..to_usize(end))
}

/// Reads one span of a [`Feed`].
#[derive(Debug)]
pub(super) struct SpanReader<'f, 'd> {
    feed: &'f mut Feed<'d>,
    number: usize,
    current: Bytes,
}

impl Read for SpanReader<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            let span = &mut self.feed.spans[self.number];
            if span.at == span.range.end {
                return Ok(0);
            }
            self.current = match span.early.pop().map_err(Fault::Fs)? {
                Some(bytes) => bytes,
                None => self.feed.take_piece(self.number)?,
            };
            self.feed.spans[self.number].at += self.current.len() as u64;
        }
        let n = buffer.len().min(self.current.len());
        buffer[..n].copy_from_slice(&self.current.split_to(n));
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;

    use storage_core::{BytesSource, Link, Usage};

    use super::*;

    /// Gives the pieces of the last range first.
    struct Backwards(Vec<u8>);

    impl RangeSource for Backwards {
        fn size(&self) -> u64 {
            self.0.len() as u64
        }

        fn link(&self) -> Link {
            BytesSource::default().link()
        }

        fn usage(&self) -> Usage {
            Usage::default()
        }

        fn fetch(&self, ranges: Vec<Range<u64>>) -> Pieces {
            let mut pieces: Vec<_> =
                BytesSource::new(self.0.clone()).fetch(ranges).collect::<Result<_, _>>().unwrap();
            pieces.sort_by_key(|piece| (std::cmp::Reverse(piece.range), piece.offset));
            Pieces::new(pieces.into_iter().map(Ok))
        }
    }

    fn read_both(source: &dyn RangeSource, spans: &[Range<u64>]) -> [Vec<u8>; 2] {
        let scratch = tempfile::tempdir().unwrap();
        let dir = File::open(scratch.path()).unwrap();
        let mut feed = Feed::new(source, spans, dir.as_fd());
        let both = [0, 1].map(|number| {
            let mut bytes = Vec::new();
            feed.reader(number).read_to_end(&mut bytes).unwrap();
            bytes
        });
        assert_eq!(scratch.path().read_dir().unwrap().count(), 0);
        both
    }

    #[test]
    fn spans_come_whole_in_any_order_of_arrival_however_large() {
        let end: u64 = 6 << 20;
        let blob: Vec<u8> = (0..end).map(|i| (i % 251).to_le_bytes()[0]).collect();
        for (first, second) in [
            (10..1000, 1008..end),
            (10..1000, 8000..end - 5),
            (8000..end, 10..1000),
            (10..1000, 1000..1001),
        ] {
            let slice = |range: &Range<u64>| {
                &blob[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()]
            };
            let spans = [first, second];
            for source in
                [&BytesSource::new(blob.clone()) as &dyn RangeSource, &Backwards(blob.clone())]
            {
                let [one, two] = read_both(source, &spans);
                assert!(one == slice(&spans[0]) && two == slice(&spans[1]), "{spans:?}");
            }
        }
    }

    #[test]
    fn near_spans_are_one_request() {
        for (spans, ranges) in [
            ([10..20, 28..40], vec![(10, 40)]),
            ([28..40, 10..20], vec![(10, 40)]),
            ([10..20, 9000..9001], vec![(10, 20), (9000, 9001)]),
        ] {
            let merged = merge(&spans).into_iter().map(|range| (range.start, range.end));
            assert_eq!(merged.collect::<Vec<_>>(), ranges);
        }
    }

    #[test]
    fn a_source_that_gives_other_bytes_is_refused() {
        let dir = File::open("/").unwrap();
        for (range, offset) in [(0, 11), (0, 9), (1, 10)] {
            let piece = Piece { range, offset, bytes: Bytes::from_static(b"abc") };
            let span = 10..20;
            let spans = std::slice::from_ref(&span);
            let mut feed = Feed::new(&BytesSource::new(vec![0; 100]), spans, dir.as_fd());
            feed.pieces = Pieces::new([Ok(piece)].into_iter());
            let error = feed.reader(0).read(&mut [0; 4]).unwrap_err();
            assert!(matches!(error.get_ref().unwrap().downcast_ref(), Some(Fault::Order { .. })));
        }
    }
}
