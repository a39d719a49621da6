//! What a mount is asked to be.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use storage_core::{FsError, FsResultExt};

use super::MountError;
use super::stack::Stack;
use crate::driver::Home;
use crate::mounts::path_of_fd;

/// What a mount is asked to be.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct MountOptions {
    /// Where changes go; without it the mount is read-only.
    pub writable: Option<Writable>,
}

/// The two directories of a writable mount, which must be on one filesystem.
#[derive(Debug, Clone)]
pub struct Writable {
    /// Holds what is changed.
    pub upper: PathBuf,
    /// For overlayfs's own use; must be empty at first.
    pub work: PathBuf,
}

impl MountOptions {
    /// A mount that cannot be changed.
    pub fn read_only() -> Self {
        Self::default()
    }

    /// A mount whose changes go to `writable.upper`.
    pub fn writable(writable: Writable) -> Self {
        Self { writable: Some(writable) }
    }
}

/// Everything about one mount, opened.
pub(super) struct Request<'a> {
    pub(super) home: &'a Home,
    pub(super) stack: &'a Stack,
    /// The mount point.
    pub(super) at: BorrowedFd<'a>,
    /// What to call it in errors.
    pub(super) target: &'a Path,
    pub(super) upper: Option<Upper>,
    /// Whether the overlay's own attributes are `user.overlay.*`.
    pub(super) user_xattr: bool,
}

/// [`Writable`], opened, with paths that do not depend on the working directory.
pub(super) struct Upper {
    pub(super) upper: OpenedPath,
    pub(super) work: OpenedPath,
}

pub(super) struct OpenedPath {
    pub(super) fd: OwnedFd,
    pub(super) path: PathBuf,
}

impl<'a> Request<'a> {
    pub(super) fn new(
        home: &'a Home,
        stack: &'a Stack,
        at: &'a OwnedFd,
        target: &'a Path,
        options: &MountOptions,
    ) -> Result<Self, MountError> {
        let upper = options.writable.as_ref().map(Upper::open).transpose()?;
        Ok(Self { home, stack, at: at.as_fd(), target, upper, user_xattr: is_nested()? })
    }
}

impl Upper {
    /// Opens both, and checks what overlayfs would refuse without a word to us.
    fn open(writable: &Writable) -> Result<Self, MountError> {
        let this = Self {
            upper: OpenedPath::open(&writable.upper)?,
            work: OpenedPath::open(&writable.work)?,
        };
        let unfit = |why| {
            let Writable { upper, work } = writable.clone();
            MountError::UnfitWork { upper, work, why }
        };
        if this.upper.device()? != this.work.device()? {
            return Err(unfit("both must be on one filesystem"));
        }
        let (upper, work) = (path_of_fd(&this.upper.fd)?, path_of_fd(&this.work.fd)?);
        if upper.starts_with(&work) || work.starts_with(&upper) {
            return Err(unfit("neither may be inside the other"));
        }
        Ok(this)
    }
}

impl OpenedPath {
    fn open(path: &Path) -> Result<Self, FsError> {
        let absolute = std::path::absolute(path).during("find", path)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd =
            rustix::fs::openat(CWD, path, flags, Mode::empty()).during("open directory", path)?;
        Ok(Self { fd, path: absolute })
    }

    fn device(&self) -> Result<u64, FsError> {
        Ok(rustix::fs::fstat(&self.fd).during("look at", &self.path)?.st_dev)
    }
}

/// Whether this process is in another user namespace than the machine's first one.
///
/// Only the first one has a map of all ids to themselves; root of any other may
/// not set `trusted.*` attributes.
fn is_nested() -> Result<bool, FsError> {
    const MAP: &str = "/proc/self/uid_map";
    let fd = rustix::fs::openat(CWD, MAP, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .during("open", MAP)?;
    let map = std::io::read_to_string(std::fs::File::from(fd)).during("read", MAP)?;
    Ok(!map.split_whitespace().eq(["0", "0", "4294967295"]))
}

/// A path with a backslash before each byte that overlayfs would take for its own.
pub(super) fn escaped(path: &Path, special: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    for &byte in path.as_os_str().as_bytes() {
        if special.contains(&byte) {
            text.push(b'\\');
        }
        text.push(byte);
    }
    text
}
