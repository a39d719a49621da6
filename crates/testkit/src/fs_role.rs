//! Filesystems by what they can do.
//!
//! `cargo xtask integration` makes and mounts them, and tells by variables
//! where they are. A test asks for a role; where there is none it has to be
//! shown as ignored, with the reason that [`missing`] gives.

use std::path::{Path, PathBuf};

/// A filesystem that tests may fill and empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filesystem {
    /// Its kind: `xfs`, `btrfs`, `ext4`, `tiny`.
    pub name: &'static str,
    /// Where it is mounted.
    pub path: PathBuf,
}

/// What a test wants of a filesystem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Files can share extents.
    Reflink,
    /// Files cannot share extents.
    NoReflink,
    /// A large filesystem that is not the one given.
    OtherDevice(&'static str),
    /// One that a small image fills: 24 MiB.
    Tiny,
}

/// The large filesystems, in the order in which tests should go through them.
pub const LARGE: [&str; 3] = ["xfs", "btrfs", "ext4"];

/// The variable that tells where a kind of filesystem is mounted.
pub fn variable(name: &str) -> String {
    format!("REFLAYER_FS_{}", name.to_uppercase())
}

/// The filesystem of this kind, if there is one.
pub fn named(name: &'static str) -> Option<Filesystem> {
    let path = std::env::var_os(variable(name)).map(PathBuf::from)?;
    path.is_dir().then_some(Filesystem { name, path })
}

/// All filesystems that can play a role.
pub fn with(role: Role) -> Vec<Filesystem> {
    let names: Vec<&'static str> = match role {
        Role::Reflink => vec!["xfs", "btrfs"],
        Role::NoReflink => vec!["ext4"],
        Role::OtherDevice(not) => LARGE.into_iter().filter(|name| *name != not).collect(),
        Role::Tiny => vec!["tiny"],
    };
    names.into_iter().filter_map(named).collect()
}

/// Why a test that needs this kind of filesystem cannot run, if so.
pub fn missing(name: &'static str) -> Option<String> {
    let variable = variable(name);
    named(name)
        .is_none()
        .then(|| format!("{variable} names no directory; run `cargo xtask integration`"))
}

impl Filesystem {
    /// An empty directory on it that goes when the value is dropped.
    ///
    /// # Errors
    ///
    /// If it cannot be made.
    pub fn room(&self) -> std::io::Result<tempfile::TempDir> {
        tempfile::Builder::new().prefix("room").tempdir_in(&self.path)
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.path
    }
}
