//! What can be wrong with a TOC.

use std::io;

use storage_core::{DigestError, LayerPathError};

/// A TOC that can't be read, or that contradicts itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TocError {
    /// The stream it was read from failed.
    #[error("read the TOC")]
    Read(#[source] io::Error),
    /// Not an object with a list of entries.
    #[error("the TOC is no JSON object of entries: expected {expected} at byte {at}")]
    Syntax {
        /// Offset in the decoded TOC.
        at: u64,
        /// What should have stood there.
        expected: &'static str,
    },
    /// A value with another form than a TOC has.
    #[error("value {number} of the TOC")]
    Json {
        /// Counted from zero, fields of the outermost object included.
        number: u64,
        /// The parser's reason.
        source: serde_json::Error,
    },
    /// One value of more than 4 MiB.
    #[error("the TOC has a value too long to be an entry at byte {at}")]
    TooLong {
        /// Offset in the decoded TOC.
        at: u64,
    },
    /// More entries than the limit.
    #[error("the TOC has more than {limit} entries")]
    TooMany {
        /// The limit.
        limit: u64,
    },
    /// More names, links and xattrs than the limit.
    #[error("the names, links and extended attributes of the TOC are too long")]
    TooMuchText,
    /// The digest of tar-split is none.
    #[error("digest of tar-split in the TOC")]
    TarSplitDigest(#[source] DigestError),
    /// An entry that says what can't be.
    #[error("entry {name:?} of the TOC")]
    Entry {
        /// Its name, as far as it is text.
        name: String,
        /// What is wrong with it.
        #[source]
        problem: EntryProblem,
    },
}

impl TocError {
    /// Whether nothing is wrong but that there is more than the [`Limits`](crate::Limits) allow.
    pub fn is_limit(&self) -> bool {
        matches!(self, Self::TooMany { .. } | Self::TooMuchText)
    }
}

/// What is wrong with one entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EntryProblem {
    /// Its name, or that of a hard link's target, is no path below the root.
    #[error(transparent)]
    Name(#[from] LayerPathError),
    /// A type that is not known.
    #[error("has the unknown type {0:?}")]
    Type(String),
    /// More than permission bits and type bits.
    #[error("has the impossible mode {0:o}")]
    Mode(u64),
    /// An owner or group that the kernel can't hold.
    #[error("has the impossible owner or group {0}")]
    Id(u64),
    /// A device number of more than 32 bits.
    #[error("has the impossible device number {0}")]
    Device(u64),
    /// A time that is not RFC 3339.
    #[error("has the impossible time {0:?}")]
    Time(String),
    /// An xattr without a name, with a value that is not base64, or one that stands twice.
    #[error("has a malformed xattr {0:?}")]
    Xattr(String),
    /// A digest that is none.
    #[error(transparent)]
    Digest(#[from] DigestError),
    /// Content without a digest.
    #[error("has content and no digest")]
    NoDigest,
    /// No content, and the digest of some.
    #[error("is empty and has the digest of something else")]
    NotEmpty,
    /// A chunk type that is not known.
    #[error("has the unknown chunk type {0:?}")]
    ChunkType(String),
    /// A chunk that does not follow its file.
    #[error("is a chunk that does not follow its file")]
    Stray,
    /// Chunks that leave a gap, overlap, or do not fill their file.
    #[error("has chunks that do not tile it")]
    Tiling,
    /// Places in the blob that do not ascend, or are outside of its data.
    #[error("has content at an impossible place of the blob")]
    Place,
    /// With it the layer has more content than its blob could hold, however compressed.
    #[error("makes the layer larger than its blob could ever become")]
    Expansion,
    /// Content of a whiteout, which is never stored.
    #[error("is a whiteout with content")]
    Whiteout,
    /// Its cleaned name, or what it hides as a whiteout, is that of another entry.
    #[error("has the name of another entry")]
    Duplicate,
    /// A directory above it is something else according to its own entry.
    #[error("is below something that is no directory")]
    BelowNoDirectory,
    /// A hard link to nothing before it.
    #[error("is a hard link to no file that comes before it")]
    LinkTarget,
}

impl TocError {
    /// Whether the TOC, and not the tar in the blob, is at fault, so that a full
    /// pull may succeed.
    pub fn is_lie_of_the_toc(&self) -> bool {
        !matches!(self, Self::Read(_))
    }
}
