//! What can be wrong with a tar stream.

use std::io;

/// A tar stream that cannot be read, or is refused.
///
/// Offsets count the bytes of the stream from its start, and point at the block
/// of the header in question; for headers inside a tar-split they count the bytes
/// of its segments alone.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TarError {
    /// The stream itself failed.
    #[error("read the tar stream at byte {offset}")]
    Read {
        /// Where.
        offset: u64,
        /// What the reader said.
        source: io::Error,
    },
    /// Whoever was to hear of every part failed.
    #[error("record a part of the tar stream before byte {offset}")]
    Record {
        /// Where.
        offset: u64,
        /// What the sink said.
        source: io::Error,
    },
    /// The stream ends inside a header.
    #[error("the tar stream is cut inside a header, at byte {offset}")]
    CutHeader {
        /// Where it ends.
        offset: u64,
    },
    /// The stream ends inside a file.
    #[error(
        "the tar stream is cut inside a file, {missing} bytes before its end, at byte {offset}"
    )]
    CutContent {
        /// Where it ends.
        offset: u64,
        /// Bytes of content that should follow.
        missing: u64,
    },
    /// No tar header: its checksum is not that of its bytes.
    #[error("no tar header (wrong checksum) at byte {offset}")]
    Checksum {
        /// Where.
        offset: u64,
    },
    /// A zero block, which begins the end of a stream, with a header after it.
    #[error("a lone zero block at byte {offset}")]
    LoneZeroBlock {
        /// Where.
        offset: u64,
    },
    /// A field of a header is no number.
    #[error("{field} is no number in the tar header at byte {offset}")]
    Number {
        /// Where.
        offset: u64,
        /// Which.
        field: &'static str,
    },
    /// A number that the field cannot mean: negative, or too large to be used.
    #[error("{field} {value} is out of range in the tar header at byte {offset}")]
    OutOfRange {
        /// Where.
        offset: u64,
        /// Which.
        field: &'static str,
        /// What it says.
        value: i64,
    },
    /// A PAX header with a record that is not of the form `length key=value`, or
    /// with a zero byte where there must be none.
    #[error("a broken record in the PAX header before byte {offset}")]
    BadRecord {
        /// Where the header of its entry is.
        offset: u64,
    },
    /// Extension headers without an entry that they speak of.
    #[error("extension headers without an entry before byte {offset}")]
    Orphan {
        /// Where.
        offset: u64,
    },
    /// An entry without a name.
    #[error("an entry without a name at byte {offset}")]
    EmptyName {
        /// Where.
        offset: u64,
    },
    /// A link to nothing.
    #[error("link {:?} has no target", String::from_utf8_lossy(.name))]
    EmptyTarget {
        /// Which.
        name: Vec<u8>,
    },
    /// A type of entry that has no place in a layer.
    #[error("{:?} is of the unsupported tar type {:?}", String::from_utf8_lossy(.name), char::from(*.flag))]
    UnsupportedType {
        /// Which.
        name: Vec<u8>,
        /// The header's type byte.
        flag: u8,
    },
    /// A file with GNU tar's encoding of holes. Its bytes in the stream are not its
    /// content, which neither tar-split nor a TOC can say.
    #[error("{:?} is a GNU sparse file, which is not supported", String::from_utf8_lossy(.name))]
    Sparse {
        /// Which.
        name: Vec<u8>,
    },
    /// More extension headers than [`Limits`](crate::Limits) allow.
    #[error("more than {limit} bytes of extension headers at byte {offset}")]
    TooLong {
        /// Where.
        offset: u64,
        /// The bound.
        limit: usize,
    },
    /// More entries than [`Limits`](crate::Limits) allow.
    #[error("more than {limit} entries")]
    TooManyEntries {
        /// The bound.
        limit: u64,
    },
}
