//! Finding the directory that an entry stands in.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use storage_core::{FsError, LayerPath};

use crate::error::TreeError;

/// Directories that are kept open: the entries of a tar come directory by directory.
const KEPT: usize = 16;

/// Attempts before a directory that is renamed all the time is given up; a guess.
const ATTEMPTS: u32 = 64;

/// Directories below a root, found by path and kept open for the next entry.
///
/// A link in the middle of a path leads below the root as in a `chroot`, never
/// out of it.
#[derive(Debug)]
pub(crate) struct Parents<'d> {
    root: BorrowedFd<'d>,
    /// The latest last.
    kept: Vec<(LayerPath, Arc<OwnedFd>)>,
}

impl<'d> Parents<'d> {
    pub(crate) fn new(root: BorrowedFd<'d>) -> Self {
        Self { root, kept: Vec::new() }
    }

    /// The directory at `path`.
    pub(crate) fn find(&mut self, path: &LayerPath) -> Result<Arc<OwnedFd>, Errno> {
        if let Some(index) = self.kept.iter().rposition(|(kept, _)| kept == path) {
            self.kept[index..].rotate_left(1);
            return Ok(Arc::clone(&self.kept[self.kept.len() - 1].1));
        }
        let directory = match self.resolve(path) {
            Err(errno) if self.makes_room_after(errno) => self.resolve(path)?,
            directory => directory?,
        };
        Ok(self.keep(path.clone(), directory))
    }

    /// The path, or what is nearest above it, of those that are open.
    pub(crate) fn nearest(&self, path: &LayerPath) -> LayerPath {
        let above = self.kept.iter().map(|(kept, _)| kept).filter(|kept| kept.holds(path));
        above.max_by_key(|kept| kept.as_bytes().len()).cloned().unwrap_or_default()
    }

    /// Remembers a directory that was just opened.
    pub(crate) fn keep(&mut self, path: LayerPath, directory: OwnedFd) -> Arc<OwnedFd> {
        self.kept.retain(|(kept, _)| *kept != path);
        if self.kept.len() == KEPT {
            self.kept.remove(0);
        }
        let directory = Arc::new(directory);
        self.kept.push((path, Arc::clone(&directory)));
        directory
    }

    /// Gives up what is open only to save time, if the process may open no more files;
    /// whether that left room for another try.
    pub(crate) fn makes_room_after(&mut self, errno: Errno) -> bool {
        let room = matches!(errno, Errno::MFILE | Errno::NFILE) && !self.kept.is_empty();
        if room {
            self.forget();
        }
        room
    }

    /// Opens something; tries again where giving up what is kept has made room for it.
    pub(crate) fn with_room<T>(
        &mut self,
        mut open: impl FnMut() -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        match open() {
            Err(errno) if self.makes_room_after(errno) => open(),
            opened => opened,
        }
    }

    /// Forgets all: a directory or a link on some path was removed.
    pub(crate) fn forget(&mut self) {
        self.kept.clear();
    }

    fn resolve(&self, path: &LayerPath) -> Result<OwnedFd, Errno> {
        let path = if path.is_root() { b"." } else { path.as_bytes() };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        for _ in 0..ATTEMPTS {
            match openat2(self.root, path, flags, Mode::empty(), resolve) {
                // Something was renamed meanwhile, and the kernel can't vouch for the path.
                Err(Errno::AGAIN) => {}
                result => return result,
            }
        }
        Err(Errno::AGAIN)
    }
}

/// What it means that the parent of `path` could not be opened.
pub(crate) fn parent_error(path: &LayerPath, errno: Errno) -> TreeError {
    match errno {
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG => {
            TreeError::Parent { path: path.clone(), source: errno.into() }
        }
        errno => FsError::new("open the parent directory of", path.as_path(), errno).into(),
    }
}
