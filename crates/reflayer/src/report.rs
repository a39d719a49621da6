//! What a pull did, layer by layer, and where each byte came from.

use serde::Serialize;
use storage_core::{BlobDigest, DiffId, ImageId, LayerId};

use crate::repair::RepairReport;

/// The outcome of one pull.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct PullReport {
    /// What was asked for.
    pub reference: String,
    /// The name that the image has in the store.
    pub name: String,
    /// The image's id in the store.
    pub image_id: ImageId,
    /// Digest of the image's manifest.
    pub digest: BlobDigest,
    /// Wall time in milliseconds.
    pub duration_ms: u64,
    /// Sums over all layers.
    pub bytes: ByteCounts,
    /// The layers, base first.
    pub layers: Vec<LayerReport>,
    /// What was found damaged in layers that were there, and what became of it.
    pub mended: RepairReport,
}

/// How one layer came.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct LayerReport {
    /// Digest of the layer's blob.
    pub digest: BlobDigest,
    /// Digest of its tar stream.
    pub diff_id: DiffId,
    /// Its id in the store.
    pub layer_id: LayerId,
    /// The way it took.
    pub path: LayerWay,
    /// Why it took that way, or how its missing bytes were asked for; empty where
    /// nothing needs saying.
    pub reason: String,
    /// Requests sent for its blob.
    pub requests: u64,
    /// Where its bytes came from.
    pub bytes: LayerCounts,
    /// What could not be kept, such as devices in a user namespace; and of a layer that
    /// was there, whether damaged files were mended.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// The three ways in which a layer becomes part of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum LayerWay {
    /// The store had it.
    Present,
    /// By its TOC: local files and the missing ranges of the blob.
    Partial,
    /// The whole blob.
    Full,
}

/// Counts of bytes; all but `fetched` count uncompressed bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ByteCounts {
    /// Body bytes received from the network or the layout, TOC and tar-split included.
    pub fetched: u64,
    /// In files that another layer had: of the store, or of the image itself.
    pub reused_files: u64,
    /// In chunks that another layer had, or that the layer itself has at another place.
    pub reused_chunks: u64,
    /// Whose extents are shared with a file that was there before.
    pub shared: u64,
    /// In holes, which need no disk.
    pub holes: u64,
    /// Written to the disk.
    pub written: u64,
}

/// The counts of one layer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LayerCounts {
    /// Length of the blob.
    pub blob: u64,
    /// Length of the tar stream; zero where the store had the layer.
    pub uncompressed: u64,
    /// The rest, as for the whole image.
    #[serde(flatten)]
    pub bytes: ByteCounts,
}

impl From<chunked::LayerBytes> for ByteCounts {
    fn from(bytes: chunked::LayerBytes) -> Self {
        let chunked::LayerBytes { fetched, reused_files, reused_chunks, shared, holes, written } =
            bytes;
        Self { fetched, reused_files, reused_chunks, shared, holes, written }
    }
}

impl ByteCounts {
    /// Adds the counts of another layer.
    pub(crate) fn add(&mut self, other: &Self) {
        self.fetched += other.fetched;
        self.reused_files += other.reused_files;
        self.reused_chunks += other.reused_chunks;
        self.shared += other.shared;
        self.holes += other.holes;
        self.written += other.written;
    }
}
