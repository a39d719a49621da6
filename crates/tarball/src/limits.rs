//! How much of a stream is believed.

/// Bounds on a tar stream.
///
/// ```
/// let mut limits = tarball::Limits::default();
/// limits.entries = 1000;
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Limits {
    /// Most entries in a stream; global headers count.
    pub entries: u64,
    /// Most bytes of extension headers (PAX, GNU long names) of one entry, their
    /// blocks included; this bounds names, links and attributes as well.
    pub extension_bytes: usize,
}

impl Default for Limits {
    /// 4 million entries, 1 MiB of extension headers for each.
    fn default() -> Self {
        Self { entries: 4_000_000, extension_bytes: 1 << 20 }
    }
}

/// Bounds on a tar-split.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SplitLimits {
    /// Longest line without its end; it holds one segment in base64.
    pub line_bytes: usize,
    /// Most bytes in all.
    pub total_bytes: u64,
    /// Most entries.
    pub entries: u64,
}

impl Default for SplitLimits {
    /// 8 MiB a line, which is twice what Go writes for the largest headers that it
    /// accepts; 4 GiB in all; 4 million entries.
    fn default() -> Self {
        Self { line_bytes: 8 << 20, total_bytes: 4 << 30, entries: 4_000_000 }
    }
}
