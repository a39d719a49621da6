//! What can be wrong with a layout.

use std::io;

use storage_core::{BlobDigest, FsError};

use crate::TransportError;

/// A layout, or a file in it, that could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// An operation on one of its files failed.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// A file of it that is not a regular file.
    #[error("{0} is not a regular file")]
    NotAFile(String),
    /// A layout of another version.
    #[error("oci-layout says version {0:?}, which is not 1.0.0")]
    Version(String),
    /// One of its two files of JSON is broken.
    #[error("{file} is not valid")]
    Json {
        /// `oci-layout` or `index.json`.
        file: &'static str,
        /// Where and why.
        source: serde_json::Error,
    },
    /// A document that is too large to be read.
    #[error("{file} has {size} bytes, more than the limit of {limit}")]
    TooLarge {
        /// Name of the file.
        file: String,
        /// Its size.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// No image under the tag.
    #[error("no image is tagged {tag:?}; {}", there_are(.available))]
    NoSuchTag {
        /// What was asked for.
        tag: String,
        /// The tags that there are.
        available: Vec<String>,
    },
    /// The reference has no tag and there is not exactly one image.
    #[error("{count} images, so a tag must say which; {}", there_are(.available))]
    NotOneImage {
        /// How many there are.
        count: usize,
        /// The tags that there are.
        available: Vec<String>,
    },
    /// Several images under one tag, and none of them for the platform.
    #[error("choose among the images of one tag")]
    Choose(#[source] crate::ManifestError),
    /// A blob that is larger or smaller than its descriptor says.
    #[error("blob {digest} has {actual} bytes, expected {expected}")]
    BlobSize {
        /// The blob.
        digest: BlobDigest,
        /// What the descriptor says.
        expected: u64,
        /// What the file has.
        actual: u64,
    },
    /// A blob that could not be read, or whose content is not what its name says.
    #[error("read blob {digest}")]
    Blob {
        /// The blob.
        digest: BlobDigest,
        /// Why; a [`storage_core::VerifyError`] inside where the content is wrong.
        source: io::Error,
    },
    /// A file that could not be read to its end.
    #[error("read {file}")]
    Read {
        /// Name of the file.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// The content of a blob to be written could not be read.
    #[error("read the content of a new blob")]
    Content(#[source] io::Error),
    /// An archive that is compressed as a whole.
    #[error("the archive is compressed by {0}; unpack it first")]
    Compressed(&'static str),
    /// An archive that is not a well-formed tar.
    #[error("the archive is not a valid tar at byte {offset}")]
    Tar {
        /// Of the header in question.
        offset: u64,
        /// What is wrong with it.
        source: io::Error,
    },
    /// A file that the archive does not have.
    #[error("the archive has no {0}")]
    NotInArchive(String),
}

impl LayoutError {
    /// The same as the error of a whole image, which is at `place`.
    pub(crate) fn at(self, place: impl Into<String>) -> TransportError {
        TransportError::Layout { place: place.into(), source: self.into() }
    }

    /// Whether the layout, or the tag in it, does not exist.
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::NoSuchTag { .. } => true,
            Self::Fs(error) => error.kind() == io::ErrorKind::NotFound,
            _ => false,
        }
    }
}

fn there_are(tags: &[String]) -> String {
    if tags.is_empty() { "there are no tags".into() } else { format!("tags: {}", tags.join(", ")) }
}
