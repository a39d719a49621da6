//! Entries from a tar-split.

use std::io::BufRead;

use storage_core::Entry;

use crate::header::{self, Header, HeaderParser};
use crate::{Limits, Segment, SplitLimits, TarError, TarSplitError, TarSplitReader};

/// A segment, with the tar headers inside read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SplitPart {
    /// Bytes of the stream.
    Raw(Vec<u8>),
    /// Here belongs the content of this entry: `entry.size` bytes, none for all but
    /// regular files.
    File {
        /// What its headers, in the `Raw` before, say.
        entry: Entry,
        /// CRC-64/GO-ISO of the content; 0 where there is none.
        crc64: u64,
    },
    /// The `Raw` before is a PAX global header of this name: no entry, no bytes.
    Global(Vec<u8>),
}

/// Reads segment after segment, and the headers in them.
///
/// Each file must have the name and size of the header before it, and each header
/// a file after it. So the entries are those that any reader of the rebuilt stream
/// sees, if its contents are right.
#[derive(Debug)]
pub struct TarSplitEntries<B: BufRead> {
    segments: TarSplitReader<B>,
    headers: Headers,
    over: bool,
}

impl<B: BufRead> TarSplitEntries<B> {
    /// Of an uncompressed tar-split.
    pub fn new(input: B, split_limits: SplitLimits, limits: Limits) -> Self {
        Self {
            segments: TarSplitReader::new(input, split_limits),
            headers: Headers {
                limits,
                parser: HeaderParser::default(),
                rest: Vec::new(),
                offset: 0,
                padding: 0,
                said: Said::Nothing,
                count: 0,
            },
            over: false,
        }
    }

    /// Bytes of the tar stream that the segments so far stand for; of the whole
    /// stream at the end.
    pub fn tar_size(&self) -> u64 {
        self.segments.tar_size()
    }

    fn read(&mut self) -> Result<Option<SplitPart>, TarSplitError> {
        match self.segments.next().transpose()? {
            None => self.headers.end().map(|()| None),
            Some(Segment::Raw(bytes)) => {
                self.headers.raw(&bytes)?;
                Ok(Some(SplitPart::Raw(bytes)))
            }
            Some(Segment::File { name, size, crc64 }) => {
                self.headers.file(name, size, crc64).map(Some)
            }
        }
    }
}

impl<B: BufRead> Iterator for TarSplitEntries<B> {
    type Item = Result<SplitPart, TarSplitError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let part = self.read().transpose();
        self.over = !matches!(part, Some(Ok(_)));
        part
    }
}

/// The headers in raw segments.
#[derive(Debug)]
struct Headers {
    limits: Limits,
    parser: HeaderParser,
    /// The beginning of a header that is not complete.
    rest: Vec<u8>,
    /// Where that is in all the raw bytes.
    offset: u64,
    /// Bytes to come before the next header.
    padding: usize,
    said: Said,
    /// How many there were.
    count: u64,
}

/// What the raw bytes so far have told.
#[derive(Debug)]
enum Said {
    /// Nothing that has no file.
    Nothing,
    /// This entry comes.
    Entry(Entry),
    /// This global header came; it may have no file.
    Global(Vec<u8>),
    /// No more entries come.
    End,
}

impl Headers {
    fn raw(&mut self, bytes: &[u8]) -> Result<(), TarSplitError> {
        if matches!(self.said, Said::End) {
            return Ok(());
        }
        let mut rest = std::mem::take(&mut self.rest);
        rest.extend_from_slice(bytes);
        // At once: a segment may hold thousands of global headers.
        let read = self.read(&rest)?;
        rest.drain(..read);
        self.rest = rest;
        Ok(())
    }

    /// Reads all that is complete, and tells how much that is.
    fn read(&mut self, bytes: &[u8]) -> Result<usize, TarSplitError> {
        let mut at = 0;
        loop {
            let padding = self.padding.min(bytes.len() - at);
            self.padding -= padding;
            at += padding;
            if at == bytes.len() {
                break;
            }
            if let Said::Entry(entry) = &self.said {
                return Err(TarSplitError::NoFile { name: entry.name.clone() });
            }
            let (offset, limit) = (self.offset + at as u64, self.limits.extension_bytes);
            let header = self.parser.parse(&bytes[at..], offset, limit);
            match header.map_err(TarSplitError::Header)? {
                Header::Need(_) => break,
                Header::End => {
                    self.said = Said::End;
                    at = bytes.len();
                    break;
                }
                Header::Entry { length, entry } => {
                    self.said = Said::Entry(entry);
                    at += length;
                }
                // Go's tar-split before 2018 has no file for these.
                Header::Global { length, padding, name } => {
                    self.said = Said::Global(name);
                    self.padding = padding;
                    at += length;
                }
            }
            self.count()?;
        }
        self.offset += at as u64;
        Ok(at)
    }

    /// One more header: entries, and what has no file.
    fn count(&mut self) -> Result<(), TarSplitError> {
        let limit = self.limits.entries;
        self.count += 1;
        if self.count > limit {
            return Err(TarSplitError::TooMuch { what: "headers", limit });
        }
        Ok(())
    }

    fn file(&mut self, name: Vec<u8>, size: u64, crc64: u64) -> Result<SplitPart, TarSplitError> {
        match std::mem::replace(&mut self.said, Said::Nothing) {
            Said::Entry(entry) if entry.name == name && entry.size == size => {
                self.padding = header::padding(size);
                Ok(SplitPart::File { entry, crc64 })
            }
            Said::Global(global) if global == name && size == 0 => Ok(SplitPart::Global(name)),
            _ => Err(TarSplitError::Disagrees { name }),
        }
    }

    fn end(&self) -> Result<(), TarSplitError> {
        match &self.said {
            Said::Entry(entry) => Err(TarSplitError::NoFile { name: entry.name.clone() }),
            Said::End => Ok(()),
            _ if header::may_end_with(&self.rest) && self.parser.is_idle() => Ok(()),
            _ => Err(TarSplitError::Header(TarError::CutHeader {
                offset: self.offset + self.rest.len() as u64,
            })),
        }
    }
}
