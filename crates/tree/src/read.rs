//! Reading regular files of a tree back.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, fstat, openat, statat};
use rustix::io::Errno;
use storage_core::{FsError, LayerPath};

use crate::error::TreeError;
use crate::parents::{Parents, parent_error};

/// Opens regular files of a tree for reading, below its root.
///
/// Keeps the directories of the last files open, so neighbours cost no path
/// resolution. One may read while a [`TreeWriter`](crate::TreeWriter) on another
/// thread writes the same tree.
#[derive(Debug)]
pub struct TreeReader<'d> {
    parents: Parents<'d>,
}

impl<'d> TreeReader<'d> {
    /// A reader of the tree whose root is `root`.
    pub fn new(root: BorrowedFd<'d>) -> Self {
        Self { parents: Parents::new(root) }
    }

    /// Opens the regular file at `path`.
    ///
    /// Links in the middle of the path are followed below the root; the last part
    /// is not followed. Reading leaves the time of last access as it is where this
    /// process is allowed to.
    ///
    /// # Errors
    ///
    /// [`TreeError::NotRegular`] for all that is no regular file, which is not
    /// opened then; [`TreeError::Parent`] or [`TreeError::Fs`] if there is none.
    pub fn open(&mut self, path: &LayerPath) -> Result<File, TreeError> {
        match open_regular(&mut self.parents, path, OFlags::RDONLY) {
            // A directory on the path was replaced since it was opened.
            Err(TreeError::Fs(error)) if error.kind() == std::io::ErrorKind::NotFound => {
                self.parents.forget();
                open_regular(&mut self.parents, path, OFlags::RDONLY)
            }
            result => result,
        }
    }
}

/// Opens a regular file and nothing else.
///
/// Looks before it opens, since opening alone moves tapes and wakes drivers, and
/// looks again after, since the name may have been given to something else.
pub(crate) fn open_regular(
    parents: &mut Parents<'_>,
    path: &LayerPath,
    access: OFlags,
) -> Result<File, TreeError> {
    let not_regular = || TreeError::NotRegular(path.clone());
    let (parent, name) = path.split_last().ok_or_else(not_regular)?;
    let parent = parents.find(&parent).map_err(|errno| parent_error(path, errno))?;
    match parents.with_room(|| open_if_regular(parent.as_fd(), name, access)) {
        Ok(Some((file, _))) => Ok(file.into()),
        Ok(None) => Err(not_regular()),
        Err(errno) => Err(FsError::new("open", path.as_path(), errno).into()),
    }
}

/// The file and what is known of it; `None` if it is no regular file.
pub(crate) fn open_if_regular(
    parent: BorrowedFd<'_>,
    name: &[u8],
    access: OFlags,
) -> Result<Option<(OwnedFd, rustix::fs::Stat)>, Errno> {
    let is_regular =
        |stat: &rustix::fs::Stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    if !is_regular(&statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?) {
        return Ok(None);
    }
    // Without NONBLOCK, a pipe that was put in its place would hold us.
    let flags = access | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match openat(parent, name, flags | OFlags::NOATIME, Mode::empty()) {
        // NOATIME is for owners.
        Err(Errno::PERM) => openat(parent, name, flags, Mode::empty()),
        file => file,
    };
    match file {
        Err(Errno::LOOP | Errno::ISDIR | Errno::NXIO) => Ok(None),
        Err(errno) => Err(errno),
        Ok(file) => {
            let stat = fstat(&file)?;
            Ok(is_regular(&stat).then_some((file, stat)))
        }
    }
}
