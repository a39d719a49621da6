//! Makes the entries of an image layer below a directory handle, reads them back,
//! and tells and mends what has changed since.
//!
//! The crate knows one entry at a time: its type, owner, mode, times, extended
//! attributes, links, devices and whiteouts. It does not know archives, digests,
//! or where the directory is. Whatever entries say, nothing outside of the
//! directory is created, changed, linked or read.
//!
//! ```
//! use std::io::{Read, Write};
//! use std::os::fd::AsFd;
//!
//! use storage_core::{Entry, EntryKind, Time};
//! use tree::{Privileges, TreeOptions, TreeWriter, Walk, WalkOptions};
//!
//! let dir = tempfile::tempdir()?;
//! let dest = std::fs::File::open(dir.path())?;
//! let file = Entry {
//!     name: b"usr/share/greeting".to_vec(),
//!     kind: EntryKind::Regular,
//!     mode: 0o644,
//!     uid: 0,
//!     gid: 0,
//!     size: 6,
//!     mtime: Time { seconds: 1_700_000_000, nanoseconds: 0 },
//!     atime: None,
//!     ctime: None,
//!     xattrs: Vec::new(),
//! };
//! let link = EntryKind::Symlink { target: b"usr/share".to_vec() };
//! let link = Entry { name: b"share".to_vec(), kind: link, size: 0, ..file.clone() };
//!
//! let mut writer = TreeWriter::new(dest.as_fd(), TreeOptions::new(Privileges::Unprivileged));
//! let mut new = writer.create(&file)?;
//! new.as_file().write_all(b"hello\n")?;
//! writer.complete(new, &file)?;
//! writer.make(&link)?;
//! writer.finish()?;
//!
//! let mut names = Vec::new();
//! for found in Walk::new(dest.as_fd(), WalkOptions::default())? {
//!     let found = found?;
//!     if let Some(mut file) = found.file {
//!         let mut content = String::new();
//!         file.read_to_string(&mut content)?;
//!         assert_eq!(content, "hello\n");
//!     }
//!     names.push(found.path.to_string());
//! }
//! assert_eq!(names, ["share", "usr", "usr/share", "usr/share/greeting"]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What becomes of special names
//!
//! ```text
//! in the layer       on disk
//! a/.wh.b            a/b, a character device 0:0
//! a/.wh..wh..opq     a with trusted.overlay.opaque=y (user.overlay.opaque=y
//!                    without the privileges of root)
//! a/.wh..wh.*        nothing: bookkeeping of AUFS
//! ```
//!
//! A whiteout speaks of lower layers only. So a directory that stands in the same
//! layer as its own whiteout, before or behind it, is made opaque.

mod attributes;
mod check;
mod complete;
mod create;
mod descent;
mod describe;
mod directory;
mod error;
mod link;
mod list;
mod mend;
mod model;
mod names;
mod node;
mod options;
mod parents;
mod place;
mod read;
mod settle;
mod walk;
mod whiteout;
mod writer;
mod xattr;

pub use complete::Completer;
pub use create::NewFile;
pub use error::{LinkProblem, TreeError};
pub use mend::Mender;
pub use model::{Aspect, Difference, Expected, Maker, Model};
pub use options::{Privileges, TreeOptions, TreeReport};
pub use read::TreeReader;
pub use storage_core::remove_tree;
pub use walk::{Found, Walk, WalkError, WalkOptions};
pub use whiteout::has_content;
pub use writer::TreeWriter;
pub use xattr::is_private_xattr;
