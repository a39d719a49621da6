//! Sharing extents.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsFd;

use rustix::fs::{Mode, OFlags, ioctl_ficlone, openat};
use rustix::io::{Errno, retry_on_intr};

use crate::copy::copy;
use crate::refusal::{Refusal, refusal};
use crate::sys;

/// What [`reflink_or_copy`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// The files share their extents; no data was written.
    Reflinked,
    /// The bytes were copied, and why.
    Copied {
        /// How many.
        bytes: u64,
        /// Why they are not shared.
        refusal: Refusal,
    },
}

/// Why extents are not shared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReflinkError {
    /// They can't be. The destination is as it was, and a copy would do.
    #[error("extents can't be shared")]
    Refused(#[source] Refusal),
    /// The filesystem failed: it is full, broken, or the files are not open as needed.
    #[error("share extents")]
    Failed(#[source] io::Error),
}

impl ReflinkError {
    /// The refusal, if it is one.
    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Refused(refusal) => Some(*refusal),
            Self::Failed(_) => None,
        }
    }
}

impl From<Errno> for ReflinkError {
    fn from(errno: Errno) -> Self {
        refusal(errno).map_or_else(|| Self::Failed(errno.into()), Self::Refused)
    }
}

/// Makes all of `src` the content of `dst`, without copying.
///
/// `src` is open for reading, `dst` for writing and meant to be empty: what it
/// has behind the length of `src` stays. Neither cursor matters or moves.
///
/// # Errors
///
/// [`ReflinkError::Refused`] if the files can't share extents;
/// [`ReflinkError::Failed`] for everything else.
pub fn reflink(src: impl AsFd, dst: impl AsFd) -> Result<(), ReflinkError> {
    Ok(retry_on_intr(|| ioctl_ficlone(dst.as_fd(), src.as_fd()))?)
}

/// Whether the filesystem of a directory shares extents between its files: it is tried with
/// two that are empty and have no name.
///
/// # Errors
///
/// If files without a name can't be made there, or the filesystem fails.
pub fn shares_extents(dir: impl AsFd) -> io::Result<bool> {
    let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
    let file = || openat(dir.as_fd(), ".", flags, Mode::RUSR | Mode::WUSR);
    match reflink(file()?, file()?) {
        Ok(()) => Ok(true),
        Err(ReflinkError::Refused(_)) => Ok(false),
        Err(ReflinkError::Failed(error)) => Err(error),
    }
}

/// Makes a range of `src` the content of `dst` from `dst_offset` on, without copying.
///
/// Both offsets are multiples of the filesystem's block size, and so is the
/// length, unless the range ends with `src`. `dst` grows as needed. A range
/// without bytes is always shared. Neither cursor matters or moves.
///
/// # Errors
///
/// As for [`reflink`]. A range that is not aligned, or reaches beyond the end of
/// `src`, is a [`Refusal::ThisFile`].
pub fn reflink_range(
    src: impl AsFd,
    src_range: Range<u64>,
    dst: impl AsFd,
    dst_offset: u64,
) -> Result<(), ReflinkError> {
    // To the kernel, a length of zero is "all the rest".
    if src_range.is_empty() {
        return Ok(());
    }
    let length = src_range.end - src_range.start;
    let clone = || sys::clone_range(src.as_fd(), src_range.start, length, dst.as_fd(), dst_offset);
    Ok(retry_on_intr(clone)?)
}

/// Makes all of `src` the content of `dst`: shared if possible, else copied.
///
/// `src` is open for reading, `dst` for writing and meant to be empty. Neither
/// cursor matters or moves. A copy writes zeros where `src` has holes.
///
/// # Errors
///
/// If the filesystem fails, also while sharing: a full disk is no reason to copy.
pub fn reflink_or_copy(src: &File, dst: &File) -> io::Result<Outcome> {
    match reflink(src, dst) {
        Ok(()) => Ok(Outcome::Reflinked),
        Err(ReflinkError::Refused(refusal)) => {
            Ok(Outcome::Copied { bytes: copy(src, dst)?, refusal })
        }
        Err(ReflinkError::Failed(error)) => Err(error),
    }
}
