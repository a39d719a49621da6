//! Makes one file share the extents of another, or copies it where that can't be.
//!
//! The crate knows two open files and nothing else: no paths, no permissions, no
//! attributes. It tells a filesystem that does not share extents (an answer, a
//! [`Refusal`]) from one that is full or broken (an error), and never takes the
//! second for the first.
//!
//! ```
//! use std::io::Read;
//!
//! use reflink::{Outcome, Refusal, reflink_or_copy};
//!
//! let dir = tempfile::tempdir()?;
//! std::fs::write(dir.path().join("old"), "some bytes")?;
//! let old = std::fs::File::open(dir.path().join("old"))?;
//! let new = std::fs::File::create_new(dir.path().join("new"))?;
//!
//! match reflink_or_copy(&old, &new)? {
//!     Outcome::Reflinked => {} // xfs, btrfs, bcachefs, …
//!     Outcome::Copied { bytes, refusal } => {
//!         assert_eq!((bytes, refusal), (10, Refusal::Unsupported)); // ext4, tmpfs, …
//!     }
//! }
//! assert_eq!(std::fs::read(dir.path().join("new"))?, b"some bytes");
//! # Ok::<(), std::io::Error>(())
//! ```

mod clone;
mod copy;
mod refusal;
mod shared;
mod sys;

pub use clone::{Outcome, ReflinkError, reflink, reflink_or_copy, reflink_range, shares_extents};
pub use copy::{copy, copy_range};
pub use refusal::Refusal;
pub use shared::shared_bytes;
