//! What became of an image that was written somewhere.

use serde::Serialize;
use storage_core::{BlobDigest, DiffId, ImageId};

/// The outcome of one push or conversion.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct SendReport {
    /// Digest of the image's config: its id, here and there.
    pub image_id: ImageId,
    /// Digest of the manifest that was written.
    pub digest: BlobDigest,
    /// Wall time in milliseconds.
    pub duration_ms: u64,
    /// Bytes of the layers' blobs that had to be written, of all of them.
    pub sent: u64,
    /// Bytes of the layers' blobs.
    pub size: u64,
    /// The layers, base first.
    pub layers: Vec<SentLayer>,
}

/// How one layer came to where it should be.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct SentLayer {
    /// Digest of its tar stream.
    pub diff_id: DiffId,
    /// Digest of its blob.
    pub digest: BlobDigest,
    /// Length of its blob.
    pub size: u64,
    /// Length of its tar stream, where it is known.
    pub uncompressed: Option<u64>,
    /// What was done.
    pub action: SendAction,
    /// Why it is not a zstd:chunked layer there; empty where it is.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// What was done with a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum SendAction {
    /// Its blob was written as it was found.
    Copied,
    /// A new blob was made of it, and written.
    Written,
    /// Its blob was there already.
    Present,
    /// The registry took its blob over from another repository.
    Mounted,
}

impl SendAction {
    /// Whether bytes of the blob had to be written.
    pub fn sends(self) -> bool {
        matches!(self, Self::Copied | Self::Written)
    }
}

/// Is told of the steps of a push or conversion, from several threads.
///
/// Every method has an empty default, so that `()` follows nothing.
pub trait SendProgress: Send + Sync {
    /// The image is known: the `DiffID`s of its layers, and how many bytes of each are
    /// going to be read, base first.
    fn layers(&self, _layers: &[(DiffId, u64)]) {}

    /// Bytes of layer `index` read so far, of `expected`.
    fn read(&self, _index: usize, _bytes: u64, _expected: u64) {}

    /// Bytes of the blob of layer `index` written so far, of `size`.
    fn sent(&self, _index: usize, _bytes: u64, _size: u64) {}

    /// Layer `index` is where it should be.
    fn done(&self, _index: usize, _action: SendAction) {}
}

impl SendProgress for () {}
