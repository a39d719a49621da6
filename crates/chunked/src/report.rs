//! Where the bytes of a layer came from.

/// Bytes of one layer by where they came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LayerBytes {
    /// Received from the source of the blob, TOC and tar-split included; compressed.
    pub fetched: u64,
    /// Of files taken whole from local files.
    pub reused_files: u64,
    /// Of chunks taken from local files, or from another place in the layer itself.
    pub reused_chunks: u64,
    /// Of the reused ones, those whose extents are shared with the older file.
    pub shared: u64,
    /// Of holes in files that were not reused whole.
    pub holes: u64,
    /// Written from what was fetched.
    pub written: u64,
}
