//! Segments from a tar-split.

use std::io::{self, BufRead, Read};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::json::{Line, Text};
use super::names::Names;
use crate::{SplitLimits, TarError};

/// One line of a tar-split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// Bytes of the stream: headers, padding, trailer. May be empty.
    Raw(Vec<u8>),
    /// Here belongs the content of a file.
    File {
        /// The entry's name as it was written.
        name: Vec<u8>,
        /// Bytes of content.
        size: u64,
        /// CRC-64/GO-ISO of the content; 0 where there is none.
        crc64: u64,
    },
}

/// A tar-split that cannot be read, or is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TarSplitError {
    /// The input failed.
    #[error("read the tar-split")]
    Read(#[source] io::Error),
    /// A line is not the JSON of a segment.
    #[error("no segment in line {line} of the tar-split")]
    Json {
        /// Counted from 1.
        line: u64,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// A line is JSON, but says something that no segment can.
    #[error("line {line} of the tar-split has {problem}")]
    Segment {
        /// Counted from 1.
        line: u64,
        /// What is wrong.
        problem: SegmentProblem,
    },
    /// Two names that are the same when cleaned.
    #[error("{:?} comes twice in the tar-split", String::from_utf8_lossy(.name))]
    Duplicate {
        /// The second one.
        name: Vec<u8>,
    },
    /// A tar header in it is wrong.
    #[error("a tar header in the tar-split")]
    Header(#[source] TarError),
    /// A file is not the one that the header before it announces.
    #[error("{:?} in the tar-split is not what its header says", String::from_utf8_lossy(.name))]
    Disagrees {
        /// The file's name.
        name: Vec<u8>,
    },
    /// A header without the file that it announces.
    #[error("{:?} has a header but no file in the tar-split", String::from_utf8_lossy(.name))]
    NoFile {
        /// Its name.
        name: Vec<u8>,
    },
    /// More than [`SplitLimits`](crate::SplitLimits) allow.
    #[error("more than {limit} {what} in the tar-split")]
    TooMuch {
        /// Of what.
        what: &'static str,
        /// The bound.
        limit: u64,
    },
}

/// What a line says that no segment can.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SegmentProblem {
    /// Neither a file nor raw bytes.
    #[error("an unknown type")]
    Type,
    /// Not its number, counted from 0.
    #[error("a wrong position")]
    Position,
    /// Two names.
    #[error("two names")]
    Name,
    /// Not base64.
    #[error("broken base64")]
    Base64,
    /// A checksum that is not of 8 bytes.
    #[error("a checksum of wrong length")]
    Checksum,
    /// A negative size, or one that makes the tar larger than anything can be.
    #[error("an impossible size")]
    Size,
}

/// Reads segment after segment.
///
/// Memory is bounded by the longest line, plus 9 to 19 bytes for each entry. After an
/// error, or the end, nothing more comes.
#[derive(Debug)]
pub struct TarSplitReader<B: BufRead> {
    input: B,
    limits: SplitLimits,
    line: Vec<u8>,
    count: u64,
    entries: u64,
    bytes: u64,
    tar_size: u64,
    names: Names,
    over: bool,
}

impl<B: BufRead> TarSplitReader<B> {
    /// Of an uncompressed tar-split.
    pub fn new(input: B, limits: SplitLimits) -> Self {
        Self {
            input,
            limits,
            line: Vec::new(),
            count: 0,
            entries: 0,
            bytes: 0,
            tar_size: 0,
            names: Names::default(),
            over: false,
        }
    }

    /// Bytes of the tar stream that the segments so far stand for; of the whole
    /// stream at the end.
    pub fn tar_size(&self) -> u64 {
        self.tar_size
    }

    fn read(&mut self) -> Result<Option<Segment>, TarSplitError> {
        if !self.read_line()? {
            return Ok(None);
        }
        let number = self.count + 1;
        let text = std::mem::take(&mut self.line);
        let segment = match serde_json::from_slice(&text) {
            Ok(line) => self.segment(&line),
            Err(source) => return Err(TarSplitError::Json { line: number, source }),
        };
        self.line = text;
        let segment =
            segment.map_err(|problem| TarSplitError::Segment { line: number, problem })?;
        self.count = number;
        if let Segment::File { name, .. } = &segment {
            self.entries += 1;
            if self.entries > self.limits.entries {
                let limit = self.limits.entries;
                return Err(TarSplitError::TooMuch { what: "entries", limit });
            }
            if !self.names.add(name) {
                return Err(TarSplitError::Duplicate { name: name.clone() });
            }
        }
        Ok(Some(segment))
    }

    /// The next line that is not empty.
    fn read_line(&mut self) -> Result<bool, TarSplitError> {
        loop {
            self.line.clear();
            let most = self.limits.line_bytes as u64 + 1;
            let mut input = self.input.by_ref().take(most);
            let read = input.read_until(b'\n', &mut self.line).map_err(TarSplitError::Read)? as u64;
            if read == most && self.line.last() != Some(&b'\n') {
                return Err(TarSplitError::TooMuch { what: "bytes in a line", limit: most - 1 });
            }
            self.bytes += read;
            if self.bytes > self.limits.total_bytes {
                let limit = self.limits.total_bytes;
                return Err(TarSplitError::TooMuch { what: "bytes", limit });
            }
            if read == 0 || !self.line.trim_ascii().is_empty() {
                return Ok(read > 0);
            }
        }
    }

    fn segment(&mut self, line: &Line<'_>) -> Result<Segment, SegmentProblem> {
        if line.position != self.count {
            return Err(SegmentProblem::Position);
        }
        let size = u64::try_from(line.size).map_err(|_| SegmentProblem::Size)?;
        let (segment, length) = match line.r#type {
            1 => {
                let name = name(&line.name, &line.name_raw)?;
                let crc64 = if size > 0 { checksum(&line.payload)? } else { 0 };
                (Segment::File { name, size, crc64 }, size)
            }
            2 => {
                let bytes = decode(&line.payload)?;
                let length = bytes.len() as u64;
                (Segment::Raw(bytes), length)
            }
            _ => return Err(SegmentProblem::Type),
        };
        // Sizes are signed numbers wherever else they are written down.
        let sum = self.tar_size.checked_add(length);
        let sum = sum.filter(|&sum| i64::try_from(sum).is_ok());
        self.tar_size = sum.ok_or(SegmentProblem::Size)?;
        Ok(segment)
    }
}

impl<B: BufRead> Iterator for TarSplitReader<B> {
    type Item = Result<Segment, TarSplitError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let segment = self.read().transpose();
        self.over = !matches!(segment, Some(Ok(_)));
        segment
    }
}

fn name(text: &Text<'_>, raw: &Text<'_>) -> Result<Vec<u8>, SegmentProblem> {
    match (text.is_empty(), raw.is_empty()) {
        (false, true) => Ok(text.as_bytes().to_vec()),
        // Only a global header can be without, and is then found out by its header.
        (true, _) => decode(raw),
        (false, false) => Err(SegmentProblem::Name),
    }
}

fn checksum(payload: &str) -> Result<u64, SegmentProblem> {
    let bytes = decode(payload)?.try_into().map_err(|_| SegmentProblem::Checksum)?;
    Ok(u64::from_be_bytes(bytes))
}

fn decode(text: &str) -> Result<Vec<u8>, SegmentProblem> {
    STANDARD.decode(text).map_err(|_| SegmentProblem::Base64)
}
