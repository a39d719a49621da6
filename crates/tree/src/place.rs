//! Making an entry where something may be already.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, openat, statat, unlinkat};
use rustix::io::Errno;
use storage_core::{Entry, FsError, FsResultExt, LayerPath};

use crate::attributes::{Access, Node};
use crate::error::TreeError;
use crate::writer::TreeWriter;

/// Attempts to make an entry; more than two only if another process makes files
/// of that name as well.
const ATTEMPTS: u32 = 4;

impl TreeWriter<'_> {
    /// Calls `make` until it no longer finds something in its place, and removes that.
    pub(crate) fn place<T>(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        path: &LayerPath,
        op: &'static str,
        mut make: impl FnMut() -> Result<T, Errno>,
    ) -> Result<T, TreeError> {
        for _ in 1..ATTEMPTS {
            match make() {
                Err(Errno::EXIST) => self.clear(parent, name, path)?,
                Err(errno) if self.parents.makes_room_after(errno) => {}
                result => return Ok(result.during(op, path.as_path())?),
            }
        }
        Ok(make().during(op, path.as_path())?)
    }

    /// Removes what is in the place of an entry, a directory with all below it.
    pub(crate) fn clear(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        path: &LayerPath,
    ) -> Result<(), TreeError> {
        let replace = |errno| FsError::new("replace", path.as_path(), errno);
        let file_type = match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(()),
            stat => FileType::from_raw_mode(stat.map_err(replace)?.st_mode),
        };
        if matches!(file_type, FileType::Directory | FileType::Symlink) {
            // Paths that led here or through it now lead elsewhere.
            self.parents.forget();
        }
        if file_type == FileType::Directory {
            return Ok(storage_core::remove_tree(parent, name)?);
        }
        match unlinkat(parent, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(replace(errno).into()),
        }
    }

    /// Gives what was just made, and is never to be opened, its attributes.
    pub(crate) fn apply_to_name(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        path: &LayerPath,
        entry: &Entry,
        has_mode: bool,
    ) -> Result<(), TreeError> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = self.parents.with_room(|| openat(parent, name, flags, Mode::empty()));
        let fd = fd.during("look at", path.as_path())?;
        let node = Node { fd: fd.as_fd(), access: Access::PathOnly, path: path.as_path() };
        node.apply(entry, None, has_mode, self.options.privileges, &mut self.report)
    }
}
