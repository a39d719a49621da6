//! Why an image did not come, or go.

use storage_core::BlobDigest;

use crate::{LayoutError, ManifestError, RegistryError};

/// An image that could not be opened, resolved, read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// A reference into a local store, which is not a place to get blobs from.
    #[error("containers-storage:{0} is in a store, not at a registry or in a layout")]
    NotASource(String),
    /// A reference into a local store, which images get into by being pulled.
    #[error("containers-storage:{0} is in a store, not at a registry or in a layout")]
    NotATarget(String),
    /// An OCI layout, or a file in it, is not as it should be.
    #[error("OCI layout {place}")]
    Layout {
        /// The reference as it was opened.
        place: String,
        /// What is wrong.
        source: Box<LayoutError>,
    },
    /// The registry, and every mirror of it, failed.
    #[error("registry image {place}")]
    Registry {
        /// The reference as it was opened.
        place: String,
        /// What went wrong, at each place.
        source: Box<RegistryError>,
    },
    /// A document of the image is not what an image's should be.
    #[error("{what} {digest} of {place}")]
    Document {
        /// "manifest", "index" or "config".
        what: &'static str,
        /// Of the document.
        digest: BlobDigest,
        /// The reference as it was opened.
        place: String,
        /// What is wrong with it.
        source: Box<ManifestError>,
    },
}

impl TransportError {
    /// Whether every place that was asked says that there is no such image.
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::Layout { source, .. } => source.is_not_found(),
            Self::Registry { source, .. } => source.is_not_found(),
            _ => false,
        }
    }
}
