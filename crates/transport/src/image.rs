//! An image as its source describes it, with every byte checked.

use std::collections::BTreeMap;
use std::sync::Arc;

use storage_core::{BlobDigest, DiffId, RangeSource};

use crate::{Platform, TransportError};

/// One image at one place, and the blobs beside it.
pub trait ImageSource: Send + Sync + std::fmt::Debug {
    /// Finds the manifest for `platform` and what it names, and checks all of it.
    ///
    /// # Errors
    ///
    /// If the image is not there or not for this platform, a document is not what its
    /// digest or size says, or a layer is of a kind that no layer reader takes.
    fn resolve(&self, platform: &Platform) -> Result<ResolvedImage, TransportError>;

    /// A source for the blob with this digest and size.
    ///
    /// Its bytes are not checked against the digest: who reads all of them does that.
    ///
    /// # Errors
    ///
    /// If the blob is known to be missing or to have another size. A registry is asked
    /// only when bytes are fetched.
    fn blob(&self, digest: &BlobDigest, size: u64) -> Result<Arc<dyn RangeSource>, TransportError>;
}

/// What an image consists of; each document has the digest that its parent names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedImage {
    /// The outermost list that the manifest was chosen from, if there was one.
    pub index: Option<RawManifest>,
    /// The manifest of the chosen platform.
    pub manifest: RawManifest,
    /// The image's config.
    pub config: RawBlob,
    /// The layers from the lowest up; as many as the config has DiffIDs.
    pub layers: Vec<LayerDescriptor>,
    /// The whole `org.opencontainers.image.ref.name` of an image in a layout.
    pub ref_annotation: Option<String>,
}

/// A manifest or index, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawManifest {
    /// The document.
    pub bytes: Vec<u8>,
    /// Its digest, computed here.
    pub digest: BlobDigest,
    /// Its media type.
    pub media_type: String,
}

/// A small blob, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawBlob {
    /// The content.
    pub bytes: Vec<u8>,
    /// Its digest, computed here.
    pub digest: BlobDigest,
}

/// A layer as manifest and config describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerDescriptor {
    /// Of the blob.
    pub digest: BlobDigest,
    /// Of the blob, in bytes.
    pub size: u64,
    /// As the manifest has it.
    pub media_type: String,
    /// What `media_type` says of the blob's compression.
    pub compression: Compression,
    /// Everything the manifest says beside it.
    pub annotations: BTreeMap<String, String>,
    /// Of the uncompressed tar, as the config has it.
    pub diff_id: DiffId,
}

/// How a layer blob is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    /// A plain tar.
    None,
    /// One or more gzip members.
    Gzip,
    /// Zstandard frames; zstd:chunked is a kind of it.
    Zstd,
}
