//! Writes zstd:chunked blobs: a tar stream in, a blob and its annotations out.
//!
//! Knows the format and nothing of where tar streams come from or blobs go to. Files
//! are cut where the tools in use cut them, so chunks are shared with their images.
//!
//! ```
//! use chunked::write::{WriteOptions, write_blob};
//!
//! let tar = [0; 1024]; // an archive without entries
//! let mut blob = Vec::new();
//! let written = write_blob(&tar[..], &mut blob, &WriteOptions::default())?;
//!
//! assert_eq!(zstd::decode_all(&blob[..])?, tar);
//! assert_eq!(written.size, blob.len() as u64);
//! assert_eq!(written.annotations.len(), 3); // for the layer's descriptor
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # How a blob comes about
//!
//! ```text
//! tar ── Parts ─┬─ headers, padding ───────────────┐
//!               ├─ content ── holes ── rolling sum ┴ frames ─ pool ─┐ in order
//!               ├─ entries ────────────────────────────── notes ────┤
//!               └─ all ── tar-split ── compressed ──────────────┐   ├─► blob: frames
//!                                                               │   └─► TOC, compressed
//! blob: TOC, tar-split, footer ◄── at the end ──────────────────┴───────────┘
//! ```
//!
//! A frame's bytes depend on its content alone: neither threads nor the pieces in
//! which the tar arrives can be seen in the blob.

mod blob;
mod chunker;
mod digests;
mod error;
mod frame;
mod frames;
mod holes;
mod metadata;
mod options;
mod output;
mod pool;
mod rollsum;
#[cfg(test)]
mod tests;
mod toc;
mod trailer;

pub use blob::{WrittenBlob, write_blob};
pub use digests::{ContentDigests, FileChunk, FileDigests};
pub use error::WriteError;
pub(crate) use frame::SKIPPABLE_HEADER;
pub use options::WriteOptions;
