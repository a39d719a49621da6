//! Owner, extended attributes, times and mode of what exists.
//!
//! In that order: a change of owner clears setuid and file capabilities, and a
//! mode may take our own right to the rest.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, Gid, Mode, Stat, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags, chmod, chownat,
    fchmod, fchown, fsetxattr, futimens, setxattr, utimensat,
};
use rustix::io::Errno;
use storage_core::{Entry, FsError, FsResultExt, Time};

use crate::error::TreeError;
use crate::options::{Privileges, TreeReport};
use crate::xattr::{is_out_of_reach, is_private_xattr};

/// An inode that attributes are set on, whatever has its name by now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Node<'a> {
    pub(crate) fd: BorrowedFd<'a>,
    pub(crate) access: Access,
    /// For messages.
    pub(crate) path: &'a Path,
}

/// How an inode is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Opened for reading or writing.
    Open,
    /// `O_PATH`: devices, pipes and links are never opened.
    PathOnly,
}

/// A path that leads to exactly the inode of `fd`, a symbolic link included.
///
/// Of this thread, since a thread may have a descriptor table of its own.
pub(crate) fn magic_path(fd: impl AsFd) -> String {
    format!("/proc/thread-self/fd/{}", fd.as_fd().as_raw_fd())
}

impl<'a> Node<'a> {
    /// What was opened for reading or writing.
    pub(crate) fn open(fd: BorrowedFd<'a>, path: &'a Path) -> Self {
        Self { fd, access: Access::Open, path }
    }

    pub(crate) fn set_owner(&self, uid: u32, gid: u32) -> Result<(), FsError> {
        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        match self.access {
            Access::Open => fchown(self.fd, uid, gid),
            Access::PathOnly => chownat(self.fd, "", uid, gid, AtFlags::EMPTY_PATH),
        }
        .during("change owner of", self.path)
    }

    pub(crate) fn set_times(&self, mtime: Time, atime: Option<Time>) -> Result<(), FsError> {
        let times = Timestamps {
            last_access: atime.map_or(Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT }, timespec),
            last_modification: timespec(mtime),
        };
        match self.access {
            Access::Open => futimens(self.fd, &times),
            Access::PathOnly => utimensat(self.fd, "", &times, AtFlags::EMPTY_PATH),
        }
        .during("set times of", self.path)
    }

    /// Not for symbolic links, which have no mode.
    pub(crate) fn set_mode(&self, mode: u32) -> Result<(), FsError> {
        let mode = Mode::from_raw_mode(mode);
        match self.access {
            Access::Open => fchmod(self.fd, mode),
            Access::PathOnly => chmod(magic_path(self.fd), mode),
        }
        .during("change mode of", self.path)
    }

    pub(crate) fn set_xattr(&self, key: &[u8], value: &[u8]) -> Result<(), Errno> {
        match self.access {
            Access::Open => fsetxattr(self.fd, key, value, XattrFlags::empty()),
            Access::PathOnly => setxattr(magic_path(self.fd), key, value, XattrFlags::empty()),
        }
    }

    /// Stores an extended attribute of a layer, or counts it where it may not or can't be stored.
    pub(crate) fn store_xattr(
        &self,
        key: &[u8],
        value: &[u8],
        privileges: Privileges,
        report: &mut TreeReport,
    ) -> Result<(), TreeError> {
        if is_private_xattr(key) {
            report.dropped_xattrs += 1;
            return Ok(());
        }
        match self.set_xattr(key, value) {
            Ok(()) => Ok(()),
            Err(errno) if is_out_of_reach(key, errno, privileges) => {
                report.dropped_xattrs += 1;
                Ok(())
            }
            Err(errno) => Err(TreeError::Xattr {
                path: self.path.to_owned(),
                key: key.into(),
                source: errno.into(),
            }),
        }
    }

    /// Gives the node all that `entry` says of it; owner and mode that it has `now` stay.
    pub(crate) fn apply(
        &self,
        entry: &Entry,
        now: Option<&Stat>,
        has_mode: bool,
        privileges: Privileges,
        report: &mut TreeReport,
    ) -> Result<(), TreeError> {
        let is_owner = now.is_some_and(|now| (now.st_uid, now.st_gid) == (entry.uid, entry.gid));
        if privileges != Privileges::Unprivileged && !is_owner {
            self.set_owner(entry.uid, entry.gid)?;
        }
        for (key, value) in &entry.xattrs {
            self.store_xattr(key, value, privileges, report)?;
        }
        self.set_times(entry.mtime, entry.atime)?;
        // An access list among the attributes may have changed the mode, and a new owner
        // may have cleared a part of it.
        let same = now.is_some_and(|now| now.st_mode & 0o7777 == entry.mode & 0o7777);
        if has_mode && !(same && is_owner && entry.xattrs.is_empty()) {
            self.set_mode(entry.mode)?;
        }
        Ok(())
    }
}

fn timespec(time: Time) -> Timespec {
    Timespec { tv_sec: time.seconds, tv_nsec: time.nanoseconds.into() }
}
