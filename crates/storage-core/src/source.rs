//! Where the bytes of a blob come from.

use std::error::Error;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;

/// A blob of which any part can be asked for.
///
/// Blocking on purpose: the rest of a pull is disks and hashes.
pub trait RangeSource: Send + Sync {
    /// Length of the blob in bytes.
    fn size(&self) -> u64;

    /// What is known of the way to it, from what was measured so far.
    fn link(&self) -> Link;

    /// The same, for a caller who is about to ask for many ranges: what can't be known
    /// without asking is found out first, by a few bytes.
    fn link_for_many(&self) -> Link {
        self.link()
    }

    /// What was received so far, over all calls.
    fn usage(&self) -> Usage;

    /// Asks for byte ranges of the blob, which should be ascending and may touch, but not overlap.
    ///
    /// The pieces come in order within a range and in any order across ranges;
    /// together they cover each range exactly. Dropping the iterator cancels.
    fn fetch(&self, ranges: Vec<Range<u64>>) -> Pieces;
}

/// The cost of asking a [`RangeSource`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Link {
    /// Time from a request to the first byte of its answer.
    pub round_trip: Duration,
    /// Throughput once bytes flow.
    pub bytes_per_second: f64,
    /// Requests that are worth having under way at once.
    pub parallel: usize,
    /// Ranges that one request can ask for, at least 1.
    ///
    /// 1 means a request of its own for each range. It is more only where the host has
    /// proved that it answers requests for several ranges exactly; each range then
    /// costs a header of about 100 bytes and its part of the round trip.
    pub ranges_per_request: usize,
}

/// What a source has delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Requests sent, repeated ones included.
    pub requests: u64,
    /// Bytes of bodies received. Where one answer brings several ranges, the headers
    /// between them count, too.
    pub bytes: u64,
}

/// Some bytes of a requested range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Which of the requested ranges, counted from zero.
    pub range: usize,
    /// Offset in the blob of the first byte.
    pub offset: u64,
    /// At least one byte.
    pub bytes: Bytes,
}

/// Why bytes did not come.
#[derive(Debug, thiserror::Error)]
#[error("{attempt}")]
pub struct SourceError {
    /// What was tried and on what: "fetch bytes 0-99 of sha256:… from host".
    pub attempt: String,
    /// The cause.
    pub source: Box<dyn Error + Send + Sync>,
}

/// Gives pieces as they arrive.
pub trait Arriving: Iterator<Item = Result<Piece, SourceError>> + Send {
    /// Whether the next call of `next` will return at once.
    fn is_ready(&mut self) -> bool;
}

/// The answer to [`RangeSource::fetch`]: pieces until all ranges are covered, or an error.
pub struct Pieces(Box<dyn Arriving>);

impl Pieces {
    /// Wraps an iterator that never waits for long.
    pub fn new(pieces: impl Iterator<Item = Result<Piece, SourceError>> + Send + 'static) -> Self {
        Self(Box::new(AtHand(pieces)))
    }

    /// Wraps what may have to wait for a piece.
    pub fn arriving(pieces: impl Arriving + 'static) -> Self {
        Self(Box::new(pieces))
    }

    /// Whether the next piece, or the end, is here: `next` will not wait for it.
    pub fn is_ready(&mut self) -> bool {
        self.0.is_ready()
    }
}

struct AtHand<I>(I);

impl<I: Iterator> Iterator for AtHand<I> {
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        self.0.next()
    }
}

impl<I: Iterator<Item = Result<Piece, SourceError>> + Send> Arriving for AtHand<I> {
    fn is_ready(&mut self) -> bool {
        true
    }
}

impl Iterator for Pieces {
    type Item = Result<Piece, SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}

impl std::fmt::Debug for Pieces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pieces")
    }
}

/// Reads one range of a blob as a stream.
///
/// Ends after the range; a source that gives less is an error, not an early end.
#[derive(Debug)]
pub struct RangeReader {
    pieces: Pieces,
    current: Bytes,
    left: u64,
}

impl RangeReader {
    /// Asks `source` for `range`.
    pub fn new(source: &dyn RangeSource, range: Range<u64>) -> Self {
        let left = range.end.saturating_sub(range.start);
        let ranges = if left == 0 { Vec::new() } else { vec![range] };
        Self { pieces: source.fetch(ranges), current: Bytes::new(), left }
    }
}

impl Read for RangeReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            if self.left == 0 {
                return Ok(0);
            }
            self.current = match self.pieces.next() {
                Some(Ok(piece)) => piece.bytes,
                Some(Err(error)) => return Err(io::Error::other(error)),
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            };
        }
        let n = buf.len().min(self.current.len());
        buf[..n].copy_from_slice(&self.current.split_to(n));
        self.left = self.left.checked_sub(n as u64).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, "source gave more than was asked for")
        })?;
        Ok(n)
    }
}

#[derive(Debug, Default)]
struct Counters {
    requests: AtomicU64,
    bytes: AtomicU64,
}

impl Counters {
    fn usage(&self) -> Usage {
        Usage {
            requests: self.requests.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }
}

const PIECE: u64 = 256 * 1024;

/// A blob in a local file: the best range server there is.
#[derive(Debug)]
pub struct FileSource {
    file: Arc<File>,
    size: u64,
    counters: Arc<Counters>,
}

impl FileSource {
    /// A source over the whole of `file`, whose cursor does not matter.
    ///
    /// # Errors
    ///
    /// If the file's length cannot be told.
    pub fn new(file: File) -> io::Result<Self> {
        let size = file.metadata()?.len();
        Ok(Self { file: Arc::new(file), size, counters: Arc::default() })
    }
}

impl RangeSource for FileSource {
    fn size(&self) -> u64 {
        self.size
    }

    fn link(&self) -> Link {
        Link {
            round_trip: Duration::from_micros(10),
            bytes_per_second: 1e9,
            parallel: 1,
            ranges_per_request: 1,
        }
    }

    fn usage(&self) -> Usage {
        self.counters.usage()
    }

    fn fetch(&self, ranges: Vec<Range<u64>>) -> Pieces {
        let (file, counters) = (self.file.clone(), self.counters.clone());
        counters.requests.fetch_add(ranges.len() as u64, Ordering::Relaxed);
        Pieces::new(split(ranges).map(move |(range, span)| {
            let mut bytes = vec![0; usize::try_from(span.end - span.start).unwrap_or(0)];
            file.read_exact_at(&mut bytes, span.start).map_err(|source| SourceError {
                attempt: format!("read bytes {}-{} of the blob", span.start, span.end),
                source: source.into(),
            })?;
            counters.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            Ok(Piece { range, offset: span.start, bytes: bytes.into() })
        }))
    }
}

/// A blob in memory.
#[derive(Debug, Default)]
pub struct BytesSource {
    bytes: Bytes,
    counters: Arc<Counters>,
}

impl BytesSource {
    /// A source over `bytes`.
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Self { bytes: bytes.into(), counters: Arc::default() }
    }
}

impl RangeSource for BytesSource {
    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn link(&self) -> Link {
        Link {
            round_trip: Duration::ZERO,
            bytes_per_second: 1e10,
            parallel: 1,
            ranges_per_request: 1,
        }
    }

    fn usage(&self) -> Usage {
        self.counters.usage()
    }

    fn fetch(&self, ranges: Vec<Range<u64>>) -> Pieces {
        let (blob, counters) = (self.bytes.clone(), self.counters.clone());
        counters.requests.fetch_add(ranges.len() as u64, Ordering::Relaxed);
        Pieces::new(split(ranges).map(move |(range, span)| {
            let part = |at: u64| usize::try_from(at).ok().filter(|&at| at <= blob.len());
            let (Some(start), Some(end)) = (part(span.start), part(span.end)) else {
                return Err(SourceError {
                    attempt: format!("read bytes {}-{} of the blob", span.start, span.end),
                    source: "the blob is shorter".into(),
                });
            };
            counters.bytes.fetch_add((end - start) as u64, Ordering::Relaxed);
            Ok(Piece { range, offset: span.start, bytes: blob.slice(start..end) })
        }))
    }
}

/// Cuts ranges into spans of at most [`PIECE`] bytes, each with the number of its range.
fn split(ranges: Vec<Range<u64>>) -> impl Iterator<Item = (usize, Range<u64>)> {
    ranges.into_iter().enumerate().flat_map(|(number, range)| {
        let end = range.end;
        (range.start..end)
            .step_by(usize::try_from(PIECE).unwrap_or(usize::MAX))
            .map(move |start| (number, start..end.min(start.saturating_add(PIECE))))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_each_range_in_order() {
        let blob: Vec<u8> = (0..600_000u32).map(|i| i.to_le_bytes()[0]).collect();
        let source = BytesSource::new(blob.clone());
        let ranges = vec![0..10, 100..400_100, 599_999..600_000];
        let mut got = vec![Vec::new(); ranges.len()];
        for piece in source.fetch(ranges.clone()) {
            let piece = piece.unwrap();
            assert_eq!(piece.offset, ranges[piece.range].start + got[piece.range].len() as u64);
            got[piece.range].extend_from_slice(&piece.bytes);
        }
        for (range, got) in ranges.iter().zip(&got) {
            assert!(
                got[..]
                    == blob[usize::try_from(range.start).unwrap()
                        ..usize::try_from(range.end).unwrap()]
            );
        }
        assert_eq!(source.usage(), Usage { requests: 3, bytes: 400_011 });
    }

    #[test]
    fn a_source_that_gives_less_is_an_error() {
        let mut out = Vec::new();
        let source = BytesSource::new(&b"abc"[..]);
        assert!(RangeReader::new(&source, 1..9).read_to_end(&mut out).is_err());
        out.clear();
        RangeReader::new(&source, 1..3).read_to_end(&mut out).unwrap();
        assert_eq!(out, b"bc");
    }
}
