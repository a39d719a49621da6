//! Showing a layer, and all below it, as one tree.

mod classic;
mod error;
mod options;
mod stack;
pub(crate) mod table;
mod unmount;
mod with_context;

use std::io;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use storage_core::{FsResultExt, LayerId};

use crate::driver::Driver;

pub use error::MountError;
pub use options::{MountOptions, Writable};
pub use unmount::{UnmountError, unmount};

use options::Request;
use stack::Stack;
use with_context::Spelling;

/// How the kernel is told the layers of a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// One by one, each by its handle: since Linux 6.13.
    Handles,
    /// One by one, each by its path: since Linux 6.8.
    Paths,
    /// All in one page of text.
    Text,
}

impl How {
    /// From the best to the one that every kernel has.
    const ALL: [Self; 3] = [Self::Handles, Self::Paths, Self::Text];
}

/// What a kernel makes of a way to mount.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Mounted,
    Unsupported,
}

/// How often a mount is tried anew because podman changed the mount below it. That takes
/// podman's whole life, and we need a millisecond.
const PATIENCE: u32 = 20;

impl Driver {
    /// Mounts a layer with all that lies below it at the directory `target`.
    ///
    /// Without an upper directory in the options the mount is read-only. Layers
    /// are handed to the kernel one by one where it can take them so (since 6.8,
    /// by handle since 6.13), which has no limit but its own of 500 layers; an
    /// older kernel gets them in one page of text, which has room for about 140.
    ///
    /// In a user namespace the overlay keeps its notes in `user.overlay.*`
    /// attributes. Hold the store's layers lock, lest a layer goes away before it
    /// is mounted; afterwards the mount itself keeps [`Driver::remove`] off.
    ///
    /// # Errors
    ///
    /// If a layer is missing, or one that plain overlayfs cannot show, or the
    /// kernel refuses the mount; the error then has the kernel's own words.
    pub fn mount(
        &self,
        top: &LayerId,
        target: &Path,
        options: &MountOptions,
    ) -> Result<(), MountError> {
        let mut patience = PATIENCE;
        loop {
            let current = self.reopened()?;
            match current.mount_by(&How::ALL, top, target, options) {
                Err(MountError::Refused { source, .. })
                    if source.kind() == io::ErrorKind::InvalidInput
                        && patience > 0
                        && !current.is_current()? =>
                {
                    tracing::debug!("the driver's directory was mounted or unmounted meanwhile");
                    patience -= 1;
                }
                done => return done,
            }
        }
    }

    /// Mounts in the first of these ways that the kernel supports.
    pub(crate) fn mount_by(
        &self,
        ways: &[How],
        top: &LayerId,
        target: &Path,
        options: &MountOptions,
    ) -> Result<(), MountError> {
        let stack = Stack::of(self, top, options.writable.is_none())?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let at = rustix::fs::openat(CWD, target, flags, Mode::empty())
            .during("open mount point", target)?;
        let request = Request::new(&self.home, &stack, &at, target, options)?;
        for how in ways {
            let answer = match how {
                How::Handles => with_context::mount(&request, Spelling::Handle)?,
                How::Paths => with_context::mount(&request, Spelling::Path)?,
                How::Text => classic::mount(&request).map(|()| Answer::Mounted)?,
            };
            if answer == Answer::Mounted {
                return Ok(());
            }
            tracing::debug!(?how, "this kernel cannot be told the layers so");
        }
        Err(MountError::refused(target, String::new(), Errno::NOSYS))
    }
}
