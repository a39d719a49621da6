//! A file that takes its name only when it is complete.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, Mode, OFlags};
use storage_core::{FsError, FsResultExt};

/// A file under a temporary name in a directory; removed on drop.
#[derive(Debug)]
pub(super) struct TempFile {
    dir: OwnedFd,
    name: String,
    file: File,
}

impl TempFile {
    /// Makes an empty file in `dir`.
    pub(super) fn new(dir: impl AsFd) -> Result<Self, FsError> {
        // Unique within the process; between processes creation is exclusive.
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let dir = dir.as_fd().try_clone_to_owned().during("keep open", ".")?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!(".tmp-{}-{number}", std::process::id());
            match rustix::fs::openat(&dir, &name, flags, Mode::from_raw_mode(0o644)) {
                Ok(file) => return Ok(Self { dir, name, file: file.into() }),
                // Of a killed process that had the same number.
                Err(rustix::io::Errno::EXIST) => {}
                Err(error) => return Err(FsError::new("create", name, error)),
            }
        }
    }

    pub(super) fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Brings the content to disk and gives it the name `path`, replacing what has it.
    ///
    /// The name is durable after a flush of its directory.
    pub(super) fn persist(self, path: &str) -> Result<(), FsError> {
        self.file.sync_data().during("flush", path)?;
        rustix::fs::renameat(&self.dir, &self.name, &self.dir, path).during("rename to", path)
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        // After `persist` there is nothing under this name.
        let _: Result<(), _> = rustix::fs::unlinkat(&self.dir, &self.name, AtFlags::empty());
    }
}
