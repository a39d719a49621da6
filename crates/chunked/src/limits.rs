//! How much a layer's metadata may take.

/// Bounds on what a blob may make its reader do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Entries of a TOC, those of chunks included.
    pub entries: u64,
    /// Bytes of the decoded TOC.
    pub toc: u64,
    /// Bytes of the decoded tar-split.
    pub tar_split: u64,
    /// How many bytes of TOC or tar-split one compressed byte may become, on
    /// average, once [`Limits::EXPANSION_FREE`] bytes came out.
    pub expansion: u64,
    /// Bytes that names, texts of links and extended attributes may have in memory, beside
    /// 24 for each entry.
    pub text: u64,
    /// The longest zstd window of TOC and tar-split, as a power of two of bytes; one of more
    /// than 8 MiB is waited for, as [`ZstdReader`](crate::ZstdReader) tells.
    pub window_log: u32,
}

impl Limits {
    /// Decoded bytes that count for nothing: the padding at the end of a tar is
    /// megabytes of zeros at times, which compress to next to nothing.
    pub const EXPANSION_FREE: u64 = 64 << 20;

    /// Longest zstd window that is allocated for a chunk: 32 MiB. A layer with a chunk that
    /// wants more is taken whole. Four layers may have one at once.
    pub(crate) const CHUNK_WINDOW_LOG: u32 = 25;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: 4_000_000,
            toc: 1 << 30,
            tar_split: 4 << 30,
            expansion: 1000,
            text: 16 << 20,
            window_log: crate::ZstdReader::<&[u8]>::LONGEST_WINDOW_LOG,
        }
    }
}
