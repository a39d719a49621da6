//! Sources with manners of their own.

use std::ops::Range;

use bytes::Bytes;
use storage_core::{Arriving, BytesSource, Link, Piece, Pieces, RangeSource, SourceError, Usage};

/// A source whose pieces are rearranged before they are given out, and which says of
/// many a piece that it is not there yet. It is asked for several ranges side by side.
pub(crate) struct Odd<F> {
    pub(crate) inner: BytesSource,
    pub(crate) change: F,
}

pub(crate) type Given = Vec<Result<Piece, SourceError>>;

impl<F: Fn(Given) -> Given + Send + Sync> RangeSource for Odd<F> {
    fn size(&self) -> u64 {
        self.inner.size()
    }

    fn link(&self) -> Link {
        Link { parallel: 4, ..self.inner.link() }
    }

    fn usage(&self) -> Usage {
        self.inner.usage()
    }

    fn fetch(&self, ranges: Vec<Range<u64>>) -> Pieces {
        let given: Given = self.inner.fetch(ranges).collect();
        let given = (self.change)(given).into_iter();
        Pieces::arriving(Hesitant { given, asked: 0 })
    }
}

struct Hesitant {
    given: std::vec::IntoIter<Result<Piece, SourceError>>,
    asked: u32,
}

impl Iterator for Hesitant {
    type Item = Result<Piece, SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.given.next()
    }
}

impl Arriving for Hesitant {
    fn is_ready(&mut self) -> bool {
        self.asked += 1;
        self.asked.wrapping_mul(0x9e37_79b9) >> 30 != 0
    }
}

/// Cuts pieces into ones of at most `length` bytes.
pub(crate) fn cut(given: Given, length: usize) -> Given {
    let mut out = Given::new();
    for piece in given {
        let piece = piece.unwrap();
        let mut offset = piece.offset;
        for bytes in piece.bytes.chunks(length) {
            let range = piece.range;
            out.push(Ok(Piece { range, offset, bytes: Bytes::copy_from_slice(bytes) }));
            offset += bytes.len() as u64;
        }
    }
    out
}

/// Adds an empty piece at the end of each range.
pub(crate) fn end_with_nothing(given: Given) -> Given {
    let mut out = Given::new();
    let mut pieces = given.into_iter().map(Result::unwrap).peekable();
    while let Some(piece) = pieces.next() {
        let (range, end) = (piece.range, piece.offset + piece.bytes.len() as u64);
        out.push(Ok(piece));
        if pieces.peek().is_none_or(|next| next.range != range) {
            out.push(Ok(Piece { range, offset: end, bytes: Bytes::new() }));
        }
    }
    out
}

/// One piece of each range in turn.
pub(crate) fn interleave(given: Given) -> Given {
    let mut lanes: Vec<Vec<Piece>> = Vec::new();
    for piece in given {
        let piece = piece.unwrap();
        if lanes.len() <= piece.range {
            lanes.resize(piece.range + 1, Vec::new());
        }
        lanes[piece.range].push(piece);
    }
    let mut out = Given::new();
    let longest = lanes.iter().map(Vec::len).max().unwrap_or(0);
    for i in 0..longest {
        out.extend(lanes.iter().rev().filter_map(|lane| lane.get(i).cloned()).map(Ok));
    }
    out
}
