//! Tar streams taken apart without losing a byte, and put together again.
//!
//! [`Parts`] gives the pieces of a stream and what its headers say, as
//! `storage_core` entries; [`TarReader`] is the same for unpacking. A
//! [`TarSplitWriter`] records all but the contents of files, in the format of the Go
//! library tar-split; [`TarSplitEntries`] reads that, and [`rebuild`] makes the very
//! same stream of it and the files. [`TarWriter`] makes new streams.
//!
//! This crate does not know where files are: it neither opens nor makes any, and
//! gives names as they were written, `../` and all. Nor does it know compression,
//! digests or layers.
//!
//! # What is read
//!
//! Archives as GNU tar, Go, Python, git and older tools write them: V7, ustar, PAX,
//! GNU and star headers. It is read as Go's `archive/tar` does, which podman uses,
//! since two meanings of one layer would be a hole; and stricter in that owners are
//! numbers a file can have, links have targets, entries have names, and every extension
//! header has an entry. GNU sparse files and types that no layer has (volumes,
//! incremental dumps) are refused by name.
//!
//! Memory is bounded by [`Limits`] and [`SplitLimits`], whatever a stream says.
//!
//! # A tar-split
//!
//! One JSON object a line, in the order of the stream:
//!
//! ```text
//! stream      header   content  padding header   padding? zero blocks, rest
//!             ──────── ──────── ─────────────────────────────────────────────
//! tar-split   segment  file     segment          file   segment
//!
//! {"type":2,"payload":"bW90ZAAA…","position":0}                       raw bytes
//! {"type":1,"name":"motd","size":6,"payload":"…","position":1}        CRC-64 of the content
//! {"type":2,"payload":"AAAAAAAA…","position":2}
//! {"type":1,"name":"dir/","payload":null,"position":3}                no content
//! {"type":2,"payload":"AAAAAAAA…","position":4}
//! ```
//!
//! A name that is not UTF-8 stands in `name_raw`, in base64.
//!
//! # Example
//!
//! ```
//! use std::io::empty;
//! use storage_core::{Entry, EntryKind, Time};
//! use tarball::{Limits, Part, Parts, Sink, SplitLimits, TarSplitReader, TarSplitWriter,
//!     TarWriter, WriterOptions, rebuild};
//!
//! let entry = |name: &str, kind, size| Entry {
//!     name: name.into(), kind, mode: 0o755, uid: 0, gid: 0, size, mtime: Time::EPOCH,
//!     atime: None, ctime: None, xattrs: vec![],
//! };
//! let mut tar = TarWriter::new(Vec::new(), WriterOptions::default());
//! tar.entry(&entry("etc/", EntryKind::Directory, 0), empty())?;
//! tar.entry(&entry("etc/motd", EntryKind::Regular, 6), &b"hello\n"[..])?;
//! let stream = tar.finish()?;
//!
//! let mut parts = Parts::new(&stream[..], Limits::default());
//! let mut tar_split = TarSplitWriter::new(Vec::new());
//! let mut names = Vec::new();
//! while let Some(part) = parts.next_part()? {
//!     tar_split.part(&part)?;
//!     if let Part::Entry(entry) = part {
//!         names.push(entry.name);
//!     }
//! }
//! assert_eq!(names, [&b"etc/"[..], b"etc/motd"]);
//!
//! let tar_split = tar_split.finish()?;
//! let segments = TarSplitReader::new(&tar_split[..], SplitLimits::default());
//! let mut again = Vec::new();
//! rebuild(segments, |_name, _size| Ok(&b"hello\n"[..]), &mut again)?;
//! assert_eq!(again, stream);
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

mod crc64;
mod error;
mod header;
mod input;
mod limits;
mod parts;
mod read;
mod sink;
mod tar_split;
mod write;

pub use crc64::Crc64;
pub use error::TarError;
pub use limits::{Limits, SplitLimits};
pub use parts::{Part, Parts};
pub use read::{Content, TarReader};
pub use sink::Sink;
pub use tar_split::{
    RebuildError, Segment, SegmentProblem, SplitPart, TarSplitEntries, TarSplitError,
    TarSplitReader, TarSplitWriter, rebuild, tar_size,
};
pub use write::{TarWriteError, TarWriter, Unwritable, WriterOptions};
