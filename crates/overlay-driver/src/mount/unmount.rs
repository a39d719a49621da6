//! Undoing a mount.

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::mount::UnmountFlags;

/// Why something was not unmounted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnmountError {
    /// Somebody works in it: an open file, a working directory, another mount inside.
    #[error("{} is in use", .0.display())]
    Busy(PathBuf),
    /// Nothing is mounted there.
    #[error("{} is not a mount point", .0.display())]
    NotMounted(PathBuf),
    /// The kernel refused.
    #[error("unmount {}", target.display())]
    Refused {
        /// The mount point.
        target: PathBuf,
        /// The reason.
        source: io::Error,
    },
}

/// Unmounts what is mounted at `target`.
///
/// # Errors
///
/// If nothing is mounted there, somebody uses it, or the kernel refuses.
pub fn unmount(target: &Path) -> Result<(), UnmountError> {
    match rustix::mount::unmount(target, UnmountFlags::NOFOLLOW) {
        Ok(()) => Ok(()),
        Err(Errno::BUSY) => Err(UnmountError::Busy(target.into())),
        Err(Errno::INVAL) => Err(UnmountError::NotMounted(target.into())),
        Err(errno) => Err(UnmountError::Refused { target: target.into(), source: errno.into() }),
    }
}
