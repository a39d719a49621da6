//! What servers say, understood as the client does, for fuzz targets alone.

use bytes::Bytes;

use super::content_range::ContentRange;
use super::multipart::{self, Event, Multipart};

/// Bytes `first` to `last`, of `size`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The first byte.
    pub first: u64,
    /// The last byte.
    pub last: u64,
    /// Of the whole, where it is told.
    pub size: Option<u64>,
}

impl From<ContentRange> for Range {
    fn from(ContentRange { first, last, size }: ContentRange) -> Self {
        Self { first, last, size }
    }
}

/// A `Content-Range` header.
pub fn content_range(header: &str) -> Option<Range> {
    ContentRange::parse(header).map(Range::from)
}

/// How many challenges a `WWW-Authenticate` header holds.
pub fn challenges(header: &str) -> usize {
    super::challenge::parse(header).len()
}

/// The boundary in a `Content-Type` header.
pub fn boundary(content_type: &str) -> Option<&str> {
    multipart::boundary(content_type)
}

/// The parts of a body that arrives `step` bytes at a time; `None` if it is broken.
pub fn multipart(boundary: &str, body: &[u8], step: usize) -> Option<Vec<(Range, Vec<u8>)>> {
    let mut reader = Multipart::new(boundary);
    let mut parts: Vec<(Range, Vec<u8>)> = Vec::new();
    for piece in body.chunks(step.max(1)) {
        reader.push(Bytes::copy_from_slice(piece));
        while let Some(event) = reader.next().ok()? {
            match event {
                Event::Part(range) => parts.push((range.into(), Vec::new())),
                Event::Content(bytes) => parts.last_mut()?.1.extend_from_slice(&bytes),
                Event::End => {}
            }
        }
    }
    Some(parts)
}
