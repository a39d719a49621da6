//! The body of an answer with several ranges: `multipart/byteranges`, RFC 9110 §14.6.
//!
//! ```text
//! --boundary
//! Content-Type: application/octet-stream
//! Content-Range: bytes 10-19/300000
//!
//! …ten bytes…
//! --boundary
//! …
//! --boundary--
//! ```
//!
//! Where the content of a part ends is known from its `Content-Range`: the boundary is
//! never searched for, and may stand in the content. At most one line of
//! [`LONGEST_LINE`] bytes is kept between two reads; content is passed on as it is.

use bytes::Bytes;

use super::content_range::ContentRange;

/// Longest line around a part, in bytes.
const LONGEST_LINE: usize = 1024;

/// Most header lines of a part.
const MOST_LINES: u32 = 32;

/// Longest boundary that RFC 2046 allows.
const LONGEST_BOUNDARY: usize = 70;

/// What stands next in a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    /// A part begins.
    Part(ContentRange),
    /// At least one byte of the content of the part.
    Content(Bytes),
    /// No more parts. What may follow does not matter.
    End,
}

/// Why a body is not what its type says.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum MultipartError {
    #[error("a line is longer than {LONGEST_LINE} bytes")]
    LongLine,
    #[error("a line does not end in CR LF")]
    LineEnd,
    #[error("a part has more than {MOST_LINES} header lines")]
    ManyLines,
    #[error("a part is not between boundaries")]
    NoBoundary,
    #[error("a part does not have one possible content range")]
    NoRange,
}

/// Takes a body apart that comes in pieces.
#[derive(Debug)]
pub(super) struct Multipart {
    /// The last line: two dashes, the boundary, two dashes.
    closing: Vec<u8>,
    /// Given, and not looked at yet.
    input: Bytes,
    /// The start of a line whose end has not come.
    line: Vec<u8>,
    expect: Expect,
}

#[derive(Debug, Clone, Copy)]
enum Expect {
    /// A boundary, before which one empty line is allowed or even demanded.
    Boundary {
        after: Before,
    },
    Header {
        lines: u32,
        range: Option<ContentRange>,
    },
    Content {
        left: u64,
    },
    Nothing,
}

/// What stands before a boundary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    /// The start of the body.
    Start,
    /// The end of a part.
    Content,
    /// An empty line.
    Line,
}

impl Multipart {
    /// A parser for a body with this boundary.
    pub(super) fn new(boundary: &str) -> Self {
        let expect = Expect::Boundary { after: Before::Start };
        let closing = format!("--{boundary}--").into_bytes();
        Self { closing, input: Bytes::new(), line: Vec::new(), expect }
    }

    /// Gives the next bytes of the body: allowed when [`Multipart::next`] has nothing left.
    pub(super) fn push(&mut self, input: Bytes) {
        debug_assert!(self.input.is_empty(), "the input before it is used up");
        self.input = input;
    }

    /// What comes next, or none if more input is needed.
    pub(super) fn next(&mut self) -> Result<Option<Event>, MultipartError> {
        while !self.input.is_empty() {
            let event = match self.expect {
                Expect::Nothing => {
                    self.input.clear();
                    return Ok(None);
                }
                Expect::Content { left } => Some(self.content(left)),
                Expect::Boundary { after } => self.boundary(after)?,
                Expect::Header { lines, range } => self.header(lines, range)?,
            };
            if event.is_some() {
                return Ok(event);
            }
        }
        Ok(None)
    }

    fn content(&mut self, left: u64) -> Event {
        let n = usize::try_from(left).unwrap_or(usize::MAX).min(self.input.len());
        let left = left - n as u64;
        self.expect = match left {
            0 => Expect::Boundary { after: Before::Content },
            left => Expect::Content { left },
        };
        Event::Content(self.input.split_to(n))
    }

    fn boundary(&mut self, after: Before) -> Result<Option<Event>, MultipartError> {
        if !self.take_line(true)? {
            return Ok(None);
        }
        let line = std::mem::take(&mut self.line);
        match line.strip_prefix(&self.closing[..self.closing.len() - 2]) {
            Some(b"--") if after != Before::Content => {
                self.expect = Expect::Nothing;
                return Ok(Some(Event::End));
            }
            Some(padding)
                if after != Before::Content && padding.iter().all(|b| b" \t".contains(b)) =>
            {
                self.expect = Expect::Header { lines: 0, range: None };
            }
            None if line.is_empty() && after != Before::Line => {
                self.expect = Expect::Boundary { after: Before::Line };
            }
            _ => return Err(MultipartError::NoBoundary),
        }
        Ok(None)
    }

    fn header(
        &mut self,
        lines: u32,
        range: Option<ContentRange>,
    ) -> Result<Option<Event>, MultipartError> {
        if !self.take_line(false)? {
            return Ok(None);
        }
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            let range = range.ok_or(MultipartError::NoRange)?;
            self.expect = Expect::Content { left: (range.last - range.first).saturating_add(1) };
            return Ok(Some(Event::Part(range)));
        }
        if lines == MOST_LINES {
            return Err(MultipartError::ManyLines);
        }
        let range = match (content_range(&line)?, range) {
            (None, range) => range,
            (new, None) => new,
            _ => return Err(MultipartError::NoRange),
        };
        self.expect = Expect::Header { lines: lines + 1, range };
        Ok(None)
    }

    /// Moves input to `self.line` until that is a line, which is kept without its end.
    ///
    /// Where it may be the closing one, it needs no end: nothing need follow that.
    fn take_line(&mut self, may_close: bool) -> Result<bool, MultipartError> {
        while !self.input.is_empty() {
            let byte = self.input.split_to(1)[0];
            if byte == b'\n' {
                return match self.line.pop() {
                    Some(b'\r') => Ok(true),
                    _ => Err(MultipartError::LineEnd),
                };
            }
            if self.line.len() == LONGEST_LINE {
                return Err(MultipartError::LongLine);
            }
            self.line.push(byte);
            if may_close && self.line == self.closing {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The value of a `Content-Range` line, if it is one.
fn content_range(line: &[u8]) -> Result<Option<ContentRange>, MultipartError> {
    let Some(colon) = line.iter().position(|b| *b == b':') else { return Ok(None) };
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    if !name.eq_ignore_ascii_case(b"content-range") {
        return Ok(None);
    }
    let range = std::str::from_utf8(value).ok().and_then(ContentRange::parse);
    range.map(Some).ok_or(MultipartError::NoRange)
}

/// The boundary that a content type names, if it is `multipart/byteranges`.
pub(super) fn boundary(content_type: &str) -> Option<&str> {
    let mut parameters = content_type.split(';');
    if !parameters.next()?.trim().eq_ignore_ascii_case("multipart/byteranges") {
        return None;
    }
    let boundary = parameters.find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then_some(value.trim())
    })?;
    let boundary = match boundary.strip_prefix('"') {
        Some(quoted) => quoted.strip_suffix('"')?,
        None => boundary,
    };
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&b);
    let possible = (1..=LONGEST_BOUNDARY).contains(&boundary.len())
        && boundary.bytes().all(plain)
        && !boundary.ends_with(' ');
    possible.then_some(boundary)
}

#[cfg(test)]
mod tests;
