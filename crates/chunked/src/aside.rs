//! Names of the files that are kept beside a layer's tree, in `Dirs::aside`.

/// The decoded TOC: JSON, byte for byte as the blob has it.
pub const TOC: &str = "toc.json";

/// The tar-split as gzip, the form in which stores keep it.
pub const TAR_SPLIT: &str = "tar-split.gz";

/// The chunk index, by which later pulls find the layer's files and chunks; see
/// [`write_index`](crate::write_index).
pub const INDEX: &str = "index";
