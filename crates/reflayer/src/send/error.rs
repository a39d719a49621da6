//! Why an image was not written.

use std::io;
use std::path::PathBuf;

use chunked::write::WriteError;
use storage_core::{DiffId, ImageId, RecordError};
use transport::TransportError;

use crate::export::ExportError;
use crate::names::LookupError;

/// An image that was not written; its name there means what it meant before.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The image could not be found or understood where it comes from.
    #[error("find the image")]
    Source(#[source] TransportError),
    /// No single image of the store is meant.
    #[error("find the image")]
    Lookup(#[from] LookupError),
    /// The records of the store could not be read.
    #[error("read the records of the store")]
    Record(#[from] RecordError),
    /// A document of an image in the store is gone, or is not what it should be.
    #[error("the {what} of image {image} is missing or damaged")]
    Document {
        /// The image.
        image: ImageId,
        /// "config" or "manifest".
        what: &'static str,
        /// Where it is no JSON.
        source: Option<serde_json::Error>,
    },
    /// The layers that the store has for an image are not those of its config.
    #[error("the layers of image {0} are not those that its config names")]
    Layers(ImageId),
    /// A layer did not come to where it should be.
    #[error("send layer {diff_id}")]
    Layer {
        /// Digest of its tar stream.
        diff_id: DiffId,
        /// Why.
        source: Box<SendLayerError>,
    },
    /// The config could not be put where it can be sent from.
    #[error("make a temporary file in {}", dir.display())]
    Temporary {
        /// Where.
        dir: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The config or the manifest could not be written.
    #[error("write the image")]
    Target(#[source] TransportError),
}

/// A layer that was not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendLayerError {
    /// Its blob cannot be had.
    #[error("reach the blob")]
    Source(#[source] TransportError),
    /// Its blob did not come, or is not what the manifest promised.
    #[error("fetch the blob")]
    Fetch(#[source] io::Error),
    /// Its tar could not be rebuilt.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// Its tar could not be put into a blob.
    #[error("make a blob of the layer")]
    Blob(#[source] WriteError),
    /// Its tar is not the one that the image's config names.
    #[error("the layer's tar stream has digest {actual}, the image's config says {expected}")]
    DiffId {
        /// What the config says.
        expected: DiffId,
        /// What there is.
        actual: DiffId,
    },
    /// The blob could not be kept until it is sent.
    #[error("write a temporary file in {}", dir.display())]
    Temporary {
        /// Where.
        dir: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The blob could not be written to where it should be.
    #[error("write the blob")]
    Target(#[source] TransportError),
    /// There is no thread for reading the layer.
    #[error("start a thread")]
    Thread(#[source] io::Error),
}
