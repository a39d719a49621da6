//! The chunk index of a layer: which digests it has, and where.
//!
//! A file in version 3 of a format that other tools write and read, too. It is
//! written once, from digests that were verified; whoever reads one takes it for
//! hints. All numbers are little-endian.
//!
//! ```text
//! version = 3 │ length of a tag = 55 │ of a digest in it = 39        3 × u64
//! words of the bloom filter │ its hashes = 3 │ the words             u64, u32, u64 …
//! lengths of tags, vdata and names                                   3 × u64
//! tags    sorted: "sha256:" and 32 bytes │ place in vdata, length    39 + 2 × u64
//! vdata   place in names │ offset in the file │ length               3 × LEB128
//! names   length │ name as the TOC has it                            u32, bytes
//! ```
//!
//! A file has one item of vdata and two tags: its digest, and a fingerprint of
//! content and metadata. The first chunk of a file of several has an item and a
//! tag, and of all other chunks the first of each digest. Files without content are
//! left out. The file is never in memory whole, nor is it mapped: it may be cut
//! while it is read.

mod bloom;
mod builder;
mod error;
mod files;
mod find;
mod fingerprint;
mod format;
mod of_paths;
mod open;
mod plain;
#[cfg(test)]
mod tests;
mod window;
mod write;

pub use builder::{IndexBuilder, LayerIndex};
pub use error::IndexError;
pub use open::Index;
pub use write::write_index;
