//! The directory of a store, and its lock.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::Mode;

use super::RecordError;
use crate::dir::{make_dir, open_dir, sync};
use crate::{FsError, FsResultExt, Lock};

/// Mode of the directories of record stores.
pub(super) const DIR_MODE: Mode = Mode::RWXU;

/// Mode of record files and big data.
pub(super) const FILE_MODE: u32 = 0o600;

/// One directory of records below a root, with the lock that protects it.
#[derive(Debug)]
pub(super) struct Place {
    /// `None` in a read-only store that lacks it.
    dir: Option<OwnedFd>,
    name: &'static str,
    lock: &'static str,
    read_only: bool,
}

impl Place {
    /// Opens the directory; makes it first if it is missing.
    pub(super) fn open(
        root: impl AsFd,
        name: &'static str,
        lock: &'static str,
    ) -> Result<Self, RecordError> {
        let root = root.as_fd();
        let (dir, made) = make_dir(root, name, DIR_MODE)?;
        if made {
            sync(root).during("flush the directory of", name)?;
        }
        Ok(Self { dir: Some(dir), name, lock, read_only: false })
    }

    /// Opens the directory if it is there; nothing is ever created.
    pub(super) fn open_read_only(
        root: impl AsFd,
        name: &'static str,
        lock: &'static str,
    ) -> Result<Self, RecordError> {
        Ok(Self { dir: open_dir(root, name)?, name, lock, read_only: true })
    }

    /// One that is nowhere, for those who have their records in memory.
    #[cfg(fuzzing)]
    pub(super) fn nowhere() -> Self {
        Self { dir: None, name: "nowhere", lock: "none", read_only: true }
    }

    /// The directory; `None` if there is nothing to read.
    pub(super) fn dir(&self) -> Option<BorrowedFd<'_>> {
        self.dir.as_ref().map(AsFd::as_fd)
    }

    /// Whether nothing here is ever changed.
    pub(super) fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// The directory, for a change.
    pub(super) fn writable(&self) -> Result<BorrowedFd<'_>, RecordError> {
        match self.dir() {
            Some(dir) if !self.read_only => Ok(dir),
            _ => Err(RecordError::ReadOnly { directory: self.name.into() }),
        }
    }

    /// `None` where a read-only store has no lock file: whoever writes there
    /// would have made one.
    pub(super) fn lock_shared(&self) -> Result<Option<Lock>, RecordError> {
        let Some(dir) = self.dir() else { return Ok(None) };
        if self.read_only {
            return self.within(Lock::shared_existing(dir, self.lock));
        }
        self.within(Lock::shared(dir, self.lock)).map(Some)
    }

    pub(super) fn lock_exclusive(&self) -> Result<Lock, RecordError> {
        self.within(Lock::exclusive(self.writable()?, self.lock))
    }

    /// The path of a file here, relative to the root.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        [self.name, name].iter().collect()
    }

    /// Tells an error from the root.
    pub(super) fn within<T>(&self, result: Result<T, FsError>) -> Result<T, RecordError> {
        result.map_err(|error| error.within(self.name).into())
    }
}
