//! Manifests, indexes and configs: what is read of them, and what must hold.
//!
//! The documents are read with types of our own that hold only what is needed, so
//! that a document with unusual but harmless fields is still an image.

mod choose;
mod document;
mod layers;
pub mod media_type;
mod resolve;

pub(crate) use choose::choose;
pub(crate) use document::{Descriptor, Index};
pub(crate) use resolve::{Documents, MANIFEST_LIMIT, resolve};

use crate::Platform;

/// What is wrong with a document of an image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// Not the JSON of such a document.
    #[error("not valid")]
    Json(#[source] serde_json::Error),
    /// A media type that is neither a manifest's nor an index's.
    #[error("media type {0:?} is neither an image manifest nor an index")]
    MediaType(String),
    /// The document calls itself something else than what it was asked for as.
    #[error("says it is {inside:?}, but was referred to as {outside:?}")]
    OtherMediaType {
        /// Its own `mediaType`.
        inside: String,
        /// That of its descriptor.
        outside: String,
    },
    /// Both manifests and layers in one document, which tools may read differently.
    #[error("has the fields of a manifest and of an index")]
    Ambiguous,
    /// The list has nothing for the platform.
    #[error("has no image for {wanted}; there are {}", list(.available))]
    Platform {
        /// What was wanted.
        wanted: Platform,
        /// What there is.
        available: Vec<Platform>,
    },
    /// Lists within lists, deeper than anybody needs.
    #[error("lists of lists of images are nested too deep")]
    TooDeep,
    /// More layers, or annotations of them, than can be used.
    #[error("has {layers} layers with {annotations} annotations, more than can be used")]
    TooMuch {
        /// How many layers.
        layers: usize,
        /// How many annotations they have together.
        annotations: usize,
    },
    /// A document larger than the limit for such documents.
    #[error("has {size} bytes, more than the limit of {limit}")]
    TooLarge {
        /// Its size.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// The layers of manifest and config do not pair up.
    #[error("the manifest has {layers} layers, but the config has {diff_ids} DiffIDs")]
    LayerCount {
        /// In the manifest.
        layers: usize,
        /// In the config.
        diff_ids: usize,
    },
    /// A layer that is not distributed with its image.
    #[error("layer {index} is foreign ({media_type}): registries do not hold it")]
    ForeignLayer {
        /// Counted from zero, from the lowest.
        index: usize,
        /// As the manifest has it.
        media_type: String,
    },
    /// A layer that marks the image as one for other readers only.
    #[error("layer {index} is a sentinel ({media_type}), not a tar")]
    NotATar {
        /// Counted from zero, from the lowest.
        index: usize,
        /// As the manifest has it.
        media_type: String,
    },
    /// A layer of an unknown kind.
    #[error("layer {index} has the unknown media type {media_type:?}")]
    LayerMediaType {
        /// Counted from zero, from the lowest.
        index: usize,
        /// As the manifest has it.
        media_type: String,
    },
}

fn list(platforms: &[Platform]) -> String {
    if platforms.is_empty() {
        return "none for any platform".into();
    }
    platforms.iter().map(Platform::to_string).collect::<Vec<_>>().join(", ")
}
