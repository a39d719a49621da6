//! Unpacks zstd:chunked layers into a directory, taking from local files what they
//! already hold; and writes such layers.
//!
//! The crate knows tables of contents, chunks, a source of bytes, and the
//! directory handles it is given. It does not know where the directories are,
//! layer ids, locks, or HTTP; it neither creates nor removes a directory that it
//! was handed, and writes nowhere else.
//!
//! [`unpack`] does all in one call. Its steps are types, for callers who plan
//! ahead, share a source between layers, or report what would happen:
//!
//! ```text
//! TocLocation ─► scan ─► Toc ─► Plan ─► pin ─► PinnedPlan ─► apply ─► Applied
//!                         │              │         │            │        │
//!                      Prover ◄── what is whole ───┴────────────┘     finish
//!                         └───────────────────────────────────────────► Proved
//! ```
//!
//! A layer is [`Proved`] when TOC and tar-split agree entry by entry and the tar,
//! rebuilt from tar-split and the files as they were made, has the DiffID that the
//! image's config names. Every error tells whether only the TOC is at fault
//! (`is_lie_of_the_toc`): then the whole blob, read as a tar, may still be fine.
//!
//! ```
//! use std::fs::File;
//! use std::os::fd::AsFd;
//!
//! use chunked::write::{WriteOptions, write_blob};
//! use chunked::{LocalLayer, TocLocation, UnpackOptions, unpack};
//! use storage_core::{BytesSource, Dirs, Entry, EntryKind, Time};
//! use tree::Privileges;
//!
//! // A layer with one file, as a blob.
//! # let uid = rustix::process::geteuid().as_raw();
//! # let gid = rustix::process::getegid().as_raw();
//! let motd = Entry {
//!     name: b"etc/motd".into(), kind: EntryKind::Regular, mode: 0o644, uid, gid,
//!     size: 6, mtime: Time::EPOCH, atime: None, ctime: None, xattrs: vec![],
//! };
//! let mut tar = tarball::TarWriter::new(Vec::new(), tarball::WriterOptions::default());
//! tar.entry(&motd, &b"hello\n"[..])?;
//! let (tar, mut blob) = (tar.finish()?, Vec::new());
//! let written = write_blob(&tar[..], &mut blob, &WriteOptions::default())?;
//!
//! // Its annotations, as they would stand in a manifest, say where the TOC is.
//! let annotations = written.annotations.iter().map(|(key, value)| (&**key, &**value));
//! let location = TocLocation::from_annotations(annotations)?.ok_or("no TOC")?;
//!
//! // Unpacked twice: the second time nothing but TOC and tar-split is fetched.
//! let dir = tempfile::tempdir()?;
//! let make = |name: &str| -> std::io::Result<File> {
//!     std::fs::create_dir_all(dir.path().join(name))?;
//!     File::open(dir.path().join(name))
//! };
//! let (old, old_aside, scratch) = (make("old")?, make("old-aside")?, make("scratch")?);
//! let (new, new_aside) = (make("new")?, make("new-aside")?);
//! let scratch = scratch.as_fd();
//!
//! let source = BytesSource::new(blob);
//! let mut options = UnpackOptions::new(Privileges::Unprivileged);
//! let dirs = Dirs { dest: old.as_fd(), aside: old_aside.as_fd(), scratch };
//! let first = unpack(&source, &location, dirs, written.diff_id, &options)?;
//! assert_eq!(first.report.written, 6);
//!
//! options.local.push(LocalLayer { dest: old.as_fd(), aside: old_aside.as_fd() });
//! let dirs = Dirs { dest: new.as_fd(), aside: new_aside.as_fd(), scratch };
//! let second = unpack(&source, &location, dirs, written.diff_id, &options)?;
//! assert_eq!((second.report.written, second.report.reused_files), (0, 6));
//! assert_eq!(std::fs::read(dir.path().join("new/etc/motd"))?, b"hello\n");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The format
//!
//! A blob is a zstd stream of many frames that decodes to the layer's tar. Each
//! chunk of a file has frames of its own, so it can be fetched alone.
//!
//! ```text
//! ├ frames: tar headers │ chunk │ chunk │ headers │ chunk │ … │ padding, trailer
//! ├ skippable frame     │ 50 2a 4d 18 │ length │ TOC: JSON, one zstd frame
//! ├ skippable frame     │ 50 2a 4d 18 │ length │ tar-split: all but the contents
//! └ skippable frame     │ 50 2a 4d 18 │ 64     │ footer: where the two are
//! ```
//!
//! Annotations in the manifest say where TOC and tar-split are, and name the
//! digest of the compressed TOC; the TOC names that of the compressed tar-split.
//! The footer is for those who have only the blob, and proves nothing.
//!
//! # Bounds
//!
//! Whatever a blob says: 120 bytes of memory for each entry of its TOC, and texts (names,
//! links, attributes) of 16 MiB and 24 bytes for each; 24 for
//! each chunk to be fetched, or 12 where it is a copy; 200 for each file that is begun
//! and not whole; 52 for each digest that is wanted, and for places of local files that may
//! have them 8 MiB and 32 for each; for a while, 74
//! for each file of an index that is written; some megabytes of buffers, and one for
//! each range that is under way; one zstd window of up to 32 MiB for
//! a chunk, and one of up to 128 MiB in the process for TOC, tar-split or a layer taken whole. At most 16 files that are
//! being filled are open at once, and 9 that chunks are taken from; of the latter,
//! 4,096 at most are cloned to `Dirs::scratch`. What comes before its turn goes to
//! `Dirs::scratch`, in files that have no name.

mod annotation;
mod apply;
pub mod aside;
mod assemble;
mod dedup;
mod extract;
mod footer;
mod frames;
mod limits;
mod making;
mod outputs;
mod pin;
mod plan;
mod prove;
mod report;
mod sparse;
mod spill;
#[cfg(test)]
mod test_blob;
mod toc;
mod unpack;
pub mod write;
mod zstd_reader;

pub use annotation::{AnnotationError, Span, TocLocation, is_toc_annotation};
pub use apply::{Applied, ApplyError};
pub use dedup::{
    Candidate, DedupMap, Index, IndexBuilder, IndexError, LayerIndex, LocalTrees, Wanted,
    open_below, read_candidates, read_candidates_of, write_index,
};
pub use extract::{ExtractError, extract};
pub use footer::FooterError;
pub use frames::{Frame, FrameKind, frames};
pub use limits::Limits;
pub use pin::PinnedPlan;
pub use plan::{Choice, DiskUse, FromSource, Plan, PlanSummary, Ranges, Reuse, Sources, Tally};
pub use prove::{ProveError, Proved, Prover};
pub use report::LayerBytes;
pub use toc::{
    Agreement, Chunk, Disagreement, EntryProblem, Field, ScanError, Scanned, Toc, TocError,
    TocFile, scan,
};
pub use unpack::{LocalLayer, UnpackError, UnpackOptions, unpack};
pub use zstd_reader::ZstdReader;
