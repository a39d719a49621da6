//! Why a blob was not written.

use std::io;

use tarball::TarError;

/// A tar stream that did not become a zstd:chunked blob.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The stream cannot be read, or is no tar that can be understood.
    #[error(transparent)]
    Tar(#[from] TarError),
    /// The output failed.
    #[error("write the blob")]
    Write(#[source] io::Error),
    /// Compressing failed, for want of memory or threads.
    #[error("compress the blob")]
    Compress(#[source] io::Error),
    /// Two entries have one name (when cleaned), which no tar-split may have.
    #[error("the tar has two entries named {:?}", String::from_utf8_lossy(.name))]
    DuplicateName {
        /// As the second entry has it.
        name: Vec<u8>,
    },
    /// A PAX header for all entries that follow, for which a TOC has no place.
    #[error("the tar has a global header, {:?}", String::from_utf8_lossy(.name))]
    GlobalHeader {
        /// The header's own name.
        name: Vec<u8>,
    },
    /// A TOC is JSON, so what it says must be UTF-8.
    #[error(
        "entry {:?} has {:?}, which is not UTF-8",
        String::from_utf8_lossy(.name),
        String::from_utf8_lossy(.bytes)
    )]
    NotText {
        /// Of the entry.
        name: Vec<u8>,
        /// Its name, its link target, or the key of an extended attribute.
        bytes: Vec<u8>,
    },
    /// A TOC can name times in the years 0 to 9999.
    #[error("entry {:?} has a time of {seconds} s", String::from_utf8_lossy(.name))]
    Time {
        /// Of the entry.
        name: Vec<u8>,
        /// Since 1970.
        seconds: i64,
    },
    /// A part of the stream for which a TOC has no place.
    #[error("the tar has something in it that this writer does not know")]
    UnknownPart,
}
