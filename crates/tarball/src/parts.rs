//! A stream taken apart.

use std::io::Read;

use storage_core::Entry;

use crate::header::{self, BLOCK, Header, HeaderParser};
use crate::input::Input;
use crate::{Limits, TarError};

/// Largest piece of the trailer.
const TRAILER_PIECE: usize = 1 << 20;

/// What is kept back of the trailer as long as more follows: in each segment there
/// Go's tar-split looks for two blocks of zeros, or else exactly one.
const TRAILER_REST: usize = 2 * BLOCK;

/// A piece of a tar stream, or what its headers say.
///
/// The bytes of all `Raw` and `Content` in order are the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Part<'a> {
    /// Bytes that are no content, never none, and just one segment of a tar-split:
    /// the padding of the previous file and all header blocks of the next entry,
    /// always whole; or a piece of the trailer, of at most about 1 MiB.
    Raw(&'a [u8]),
    /// What the headers in the `Raw` before say.
    Entry(Entry),
    /// The `Raw` before was a PAX global header of this name. Like Go's extraction
    /// nothing here obeys it, but tar-split lists it as if it were an empty file
    /// (and zstd:chunked has no place for it).
    Global(Vec<u8>),
    /// The next bytes of the entry's content, never none; only of regular files.
    Content(&'a [u8]),
}

/// Takes a tar stream apart without losing a byte.
///
/// Reads to the end of the stream, beyond the end of the archive in it. Memory is
/// bounded by the largest header that [`Limits`] allow, and a buffer of 256 KiB to
/// 1 MiB.
///
/// The end of the stream instead of the two zero blocks is accepted where a header
/// could begin, as Go's `archive/tar` does.
#[derive(Debug)]
pub struct Parts<R: Read> {
    input: Input<R>,
    parser: HeaderParser,
    limits: Limits,
    entries: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    /// A header comes, after the padding of the previous content.
    Header { padding: usize },
    /// The header's bytes are out, and this is what they say.
    Entry(Entry),
    /// The same for a global header's name.
    Global { name: Vec<u8>, padding: usize },
    /// Content, and the padding after it.
    Content { left: u64, padding: usize },
    /// Anything up to the end of the stream.
    Trailer,
    /// The end of the stream, or an error.
    Over,
}

impl<R: Read> Parts<R> {
    /// Of a stream; it need not be buffered.
    pub fn new(stream: R, limits: Limits) -> Self {
        Self {
            input: Input::new(stream),
            parser: HeaderParser::default(),
            limits,
            entries: 0,
            state: State::Header { padding: 0 },
        }
    }

    /// The next part; `None` at the end of the stream.
    ///
    /// # Errors
    ///
    /// As [`TarError`] says; there is nothing to be had from the stream afterwards.
    pub fn next_part(&mut self) -> Result<Option<Part<'_>>, TarError> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Header { padding } | State::Content { left: 0, padding } => self.header(padding),
            State::Entry(entry) => {
                let padding = header::padding(entry.size);
                self.state = State::Content { left: entry.size, padding };
                Ok(Some(Part::Entry(entry)))
            }
            State::Global { name, padding } => {
                self.state = State::Header { padding };
                Ok(Some(Part::Global(name)))
            }
            state @ State::Content { .. } => {
                self.state = state;
                let count = self.content()?.len();
                Ok(Some(Part::Content(self.take_content(count))))
            }
            State::Trailer => self.trailer(0),
            State::Over => Ok(None),
        }
    }

    /// The stream, wherever it stands.
    pub fn into_inner(self) -> R {
        self.input.into_stream()
    }

    /// Position in the stream of what comes next.
    pub fn offset(&self) -> u64 {
        self.input.offset()
    }

    /// The next bytes of the current content; none at its end.
    pub(crate) fn content(&mut self) -> Result<&[u8], TarError> {
        let State::Content { left, .. } = self.state else { return Ok(&[]) };
        if left == 0 {
            return Ok(&[]);
        }
        if self.input.fill(1)?.is_empty() {
            return Err(TarError::CutContent { offset: self.input.offset(), missing: left });
        }
        let available = self.input.available();
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        Ok(&available[..available.len().min(left)])
    }

    /// What was read of the stream and not yet taken.
    pub(crate) fn available(&self) -> &[u8] {
        self.input.available()
    }

    /// Takes bytes that [`Parts::content`] gave.
    pub(crate) fn take_content(&mut self, count: usize) -> &[u8] {
        if let State::Content { left, .. } = &mut self.state {
            *left -= count as u64;
        }
        self.input.take(count)
    }

    /// Reads the headers of the next entry, or the end of the entries.
    fn header(&mut self, padding: usize) -> Result<Option<Part<'_>>, TarError> {
        let offset = self.input.offset() + padding as u64;
        let mut wanted = padding + BLOCK;
        loop {
            let available = self.input.fill(wanted)?;
            let rest = available.get(padding..).unwrap_or_default();
            if available.len() < wanted {
                if header::may_end_with(rest) && self.parser.is_idle() {
                    let first = available.len();
                    return self.trailer(first);
                }
                return Err(TarError::CutHeader { offset: offset + rest.len() as u64 });
            }
            match self.parser.parse(rest, offset, self.limits.extension_bytes)? {
                Header::Need(count) => wanted = padding + count,
                Header::End => return self.trailer(padding + 2 * BLOCK),
                Header::Entry { length, entry } => {
                    self.count_entry()?;
                    self.state = State::Entry(entry);
                    return Ok(Some(Part::Raw(self.input.take(padding + length))));
                }
                Header::Global { length, padding: next, name } => {
                    self.count_entry()?;
                    self.state = State::Global { name, padding: next };
                    return Ok(Some(Part::Raw(self.input.take(padding + length))));
                }
            }
        }
    }

    fn count_entry(&mut self) -> Result<(), TarError> {
        if self.entries == self.limits.entries {
            return Err(TarError::TooManyEntries { limit: self.limits.entries });
        }
        self.entries += 1;
        Ok(())
    }

    /// Takes the next piece of the trailer, whose first piece begins with `first`
    /// bytes that end the entries. They come alone, as Go has it, unless Go could
    /// not read the rest alone.
    fn trailer(&mut self, first: usize) -> Result<Option<Part<'_>>, TarError> {
        let available = self.input.fill(TRAILER_PIECE + TRAILER_REST)?;
        let more = available.len() >= TRAILER_PIECE + TRAILER_REST;
        let all = if more { TRAILER_PIECE } else { available.len() };
        let count = if first > 0 && go_can_read(&available[first..]) { first } else { all };
        if count == 0 {
            return Ok(None);
        }
        self.state = State::Trailer;
        Ok(Some(Part::Raw(self.input.take(count))))
    }
}

/// Whether Go's tar-split takes a segment of this for blocks of zeros.
fn go_can_read(rest: &[u8]) -> bool {
    (rest.len() == BLOCK || rest.len() >= TRAILER_REST) && rest.iter().all(|&byte| byte == 0)
}
