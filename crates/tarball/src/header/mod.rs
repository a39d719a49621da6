//! Tar headers to entries: the one place that reads header blocks.
//!
//! The layout of blocks is `tar_core`'s. Its parser is not used, since it reads
//! numbers so that they can wrap, stops silently at a broken PAX record, knows no
//! times before 1970 and refuses what Go's `archive/tar` accepts (one zero block
//! at the end, signed checksums, a second PAX header). What two readers of one
//! image understand differently is a hole in it; so this follows `archive/tar`,
//! which podman reads layers with, and is only ever stricter.

mod block;
mod build;
mod entry;
mod number;
mod pax;

use std::ops::Range;

pub(crate) use block::BLOCK;
pub(crate) use build::build;

use block::{Block, Kind};
use entry::Extensions;
use storage_core::Entry;

use crate::TarError;

/// What stands at the start of some bytes of a stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Header {
    /// Not enough to say: this many bytes are needed, from the same start.
    Need(usize),
    /// All header blocks of an entry, `length` bytes.
    Entry { length: usize, entry: Entry },
    /// A PAX global header of `length` bytes without the `padding` that follows, which
    /// Go counts among the bytes of the next header.
    Global { length: usize, padding: usize, name: Vec<u8> },
    /// Two zero blocks: the end of the entries.
    End,
}

/// Reads the headers of one entry, from bytes that may come bit by bit.
#[derive(Debug, Default)]
pub(crate) struct HeaderParser {
    /// Bytes of complete extension headers so far.
    done: usize,
    long_name: Option<Range<usize>>,
    long_link: Option<Range<usize>>,
    pax: Option<Range<usize>>,
}

impl HeaderParser {
    /// Reads the headers at the start of `input`, which is at `offset` of the stream.
    ///
    /// After [`Header::Need`] it is called again with more of the same bytes, and
    /// reads none of them twice.
    pub(crate) fn parse(
        &mut self,
        input: &[u8],
        offset: u64,
        extension_limit: usize,
    ) -> Result<Header, TarError> {
        loop {
            let at = offset + self.done as u64;
            let Some(block) = Block::at(input, self.done) else {
                return Ok(Header::Need(self.done + BLOCK));
            };
            if block.is_zero() {
                return self.end(input, at);
            }
            block.verify_checksum(at)?;
            let kind = block.kind();
            if kind == Kind::Entry {
                let entry = entry::read(&block, &self.extensions(input), at)?;
                let length = std::mem::take(self).done + BLOCK;
                return Ok(Header::Entry { length, entry });
            }
            let size = block.content_size(at)?;
            let budget = extension_limit.saturating_sub(self.done) as u64;
            if size.saturating_add(BLOCK as u64) > budget {
                return Err(TarError::TooLong { offset: at, limit: extension_limit });
            }
            // The bound above makes it small.
            let size = usize::try_from(size).expect("below the limit, which is a usize");
            let start = self.done + BLOCK;
            let next = start + size.next_multiple_of(BLOCK);
            let needed = if kind == Kind::Global { start + size } else { next };
            if input.len() < needed {
                return Ok(Header::Need(needed));
            }
            match kind {
                Kind::LongName => self.long_name = Some(start..start + size),
                Kind::LongLink => self.long_link = Some(start..start + size),
                Kind::Pax => self.pax = Some(start..start + size),
                Kind::Global if self.done > 0 => return Err(TarError::Orphan { offset: at }),
                Kind::Global => {
                    pax::check(&input[start..start + size], at)?;
                    let name = entry::name(&block, at)?;
                    return Ok(Header::Global { length: needed, padding: next - needed, name });
                }
                Kind::Entry => unreachable!("returned above"),
            }
            self.done = next;
        }
    }

    /// Whether no extension header waits for its entry.
    pub(crate) fn is_idle(&self) -> bool {
        self.done == 0
    }

    fn end(&self, input: &[u8], at: u64) -> Result<Header, TarError> {
        if self.done > 0 {
            return Err(TarError::Orphan { offset: at });
        }
        match Block::at(input, BLOCK) {
            None => Ok(Header::Need(2 * BLOCK)),
            Some(second) if second.is_zero() => Ok(Header::End),
            Some(_) => Err(TarError::LoneZeroBlock { offset: at }),
        }
    }

    fn extensions<'a>(&self, input: &'a [u8]) -> Extensions<'a> {
        let bytes = |range: &Option<Range<usize>>| range.clone().map(|range| &input[range]);
        Extensions {
            long_name: bytes(&self.long_name),
            long_link: bytes(&self.long_link),
            pax: bytes(&self.pax),
        }
    }
}

/// Whether a stream may end with these bytes where a header should begin.
///
/// Nothing at all, or one zero block instead of two, is a clean end for Go, too.
pub(crate) fn may_end_with(rest: &[u8]) -> bool {
    rest.is_empty() || (rest.len() == BLOCK && rest.iter().all(|&byte| byte == 0))
}

/// Bytes after a content of this size, up to the next block.
pub(crate) fn padding(size: u64) -> usize {
    let over = usize::try_from(size % BLOCK as u64).expect("less than a block");
    (BLOCK - over) % BLOCK
}
