//! Fixtures, judges and faults for the tests of reflayer.
//!
//! Builds inputs in the test's own words ([`tree`], [`layout`], [`tar`], and layers that
//! lie: [`forged`]), asks programs that others wrote what they make of them ([`judge`],
//! [`peer`], [`registry`]), compares directory trees in every attribute ([`compare`]),
//! counts what an update has to fetch ([`exact`]) and what it takes of the disk
//! ([`disk`], [`extents`]), stops a program at any of its system calls ([`kill`]), slows
//! its network down ([`proxy`]), rebuilds its disk as a power cut may have left it
//! ([`recorder`]), and plays a server ([`http`]). With the feature `tls` it plays servers
//! of HTTPS (`tls`), and a registry that does one thing wrong (`odd_registry`).
//!
//! It shares no code with what it judges: no crate of reflayer is used here,
//! so that a mistake of theirs cannot be a mistake of the judge.
//!
//! ```
//! use testkit::compare::{Options, trees};
//! use testkit::tree::{Tree, file, symlink};
//!
//! let dir = tempfile::tempdir()?;
//! let here = Tree::new().with("etc/name", file("one")).with("link", symlink("etc/name"));
//! here.write(&dir.path().join("a"))?;
//! here.with("etc/name", file("two")).write(&dir.path().join("b"))?;
//!
//! let found = trees(&dir.path().join("a"), &dir.path().join("b"), &Options::default())?;
//! assert_eq!(found.len(), 1);
//! assert_eq!(found[0].to_string(), "etc/name: content differs at byte 0");
//! # anyhow::Ok(())
//! ```

pub mod causes;
pub mod compare;
pub mod dice;
pub mod digest;
pub mod disk;
pub mod exact;
pub mod extents;
pub mod forged;
pub mod fs_role;
pub mod http;
pub mod judge;
pub mod kill;
pub mod layout;
pub mod locks;
pub mod loop_fs;
#[cfg(feature = "tls")]
pub mod odd_registry;
pub mod odd_tail;
pub mod peer;
pub mod proxy;
pub mod recorder;
pub mod registry;
pub mod tar;
#[cfg(feature = "tls")]
pub mod tls;
pub mod tree;
pub mod tried;
pub mod versions;
pub mod xattr;
