//! Regular files.

use std::fs::File;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{Mode, OFlags, openat};
use storage_core::{Entry, EntryKind, LayerPath};

use crate::check::checked_path;
use crate::error::TreeError;
use crate::read::open_regular;
use crate::whiteout::Marker;
use crate::writer::TreeWriter;

/// A regular file of the tree that is being filled.
///
/// Opened for reading and writing. [`TreeWriter::complete`] gives it its
/// attributes; dropped before that it stays as it is.
#[derive(Debug)]
#[must_use = "a file is complete only after `TreeWriter::complete`"]
pub struct NewFile {
    file: File,
    path: LayerPath,
}

impl NewFile {
    /// The open file.
    pub fn as_file(&self) -> &File {
        &self.file
    }

    /// Where it is in the tree.
    pub fn path(&self) -> &LayerPath {
        &self.path
    }
}

impl Deref for NewFile {
    type Target = File;

    fn deref(&self) -> &File {
        &self.file
    }
}

impl AsFd for NewFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl TreeWriter<'_> {
    /// Creates a regular file, empty, to be filled by the caller.
    ///
    /// Until it is complete it belongs to this process, which may read and write it; what
    /// its entry allows to others they may do from now on, but for setuid and its like.
    ///
    /// What has its name is removed first, so nothing that is there, or that a
    /// link leads to, is ever written to. The file is given to
    /// [`complete`](Self::complete) in the end; one that was closed before that
    /// can be [reopened](Self::reopen).
    ///
    /// # Errors
    ///
    /// [`TreeError::NotRegular`] if the entry is of another kind or is a whiteout;
    /// else as for [`make`](Self::make).
    pub fn create(&mut self, entry: &Entry) -> Result<NewFile, TreeError> {
        let path = checked_path(entry)?;
        if entry.kind != EntryKind::Regular || Marker::of(&path)?.is_some() {
            return Err(TreeError::NotRegular(path));
        }
        self.create_at(path, entry.mode)
    }

    pub(crate) fn create_at(&mut self, path: LayerPath, mode: u32) -> Result<NewFile, TreeError> {
        let (parent, name) = path.split_last().ok_or(TreeError::Root)?;
        let parent = self.parent_of(&path, &parent)?;
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // Mostly the final mode, which then need not be set.
        let mode = Mode::from_raw_mode(mode & 0o777) | Mode::RUSR | Mode::WUSR;
        let file = self.place(parent.as_fd(), name, &path, "create file", || {
            openat(&parent, name, flags, mode)
        })?;
        Ok(NewFile { file: file.into(), path })
    }

    /// Opens a file again that was [created](Self::create) and closed before it was complete.
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open).
    pub fn reopen(&mut self, path: &LayerPath) -> Result<NewFile, TreeError> {
        let file = open_regular(&mut self.parents, path, OFlags::RDWR)?;
        Ok(NewFile { file, path: path.clone() })
    }

    /// Opens a regular file of the tree for reading.
    ///
    /// # Errors
    ///
    /// As for [`TreeReader::open`](crate::TreeReader::open).
    pub fn open(&mut self, path: &LayerPath) -> Result<File, TreeError> {
        open_regular(&mut self.parents, path, OFlags::RDONLY)
    }
}
