//! Bytes that came before their turn: a little in memory, the rest in scratch.

use std::collections::VecDeque;
use std::fs::File;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileExt;

use bytes::Bytes;
use rustix::fs::{AtFlags, Mode, OFlags, openat, unlinkat};
use storage_core::{FsError, FsResultExt};

/// What is kept in memory; beyond, it goes to a file.
const KEPT_IN_MEMORY: usize = 2 << 20;

/// Name of that file, for the moment between its making and its unlinking.
const SPILL: &str = "early";

/// Bytes that came before their turn, first in, first out.
#[derive(Debug, Default)]
pub(crate) struct Spill {
    memory: VecDeque<Bytes>,
    in_memory: usize,
    /// Once there is a file, all that follows goes there.
    file: Option<File>,
    written: u64,
    read: u64,
}

impl Spill {
    /// Keeps bytes that come after all that are kept.
    pub(crate) fn push(&mut self, bytes: Bytes, scratch: BorrowedFd<'_>) -> Result<(), FsError> {
        if self.file.is_none() && self.in_memory + bytes.len() <= KEPT_IN_MEMORY {
            self.in_memory += bytes.len();
            self.memory.push_back(bytes);
            return Ok(());
        }
        if self.file.is_none() {
            self.file = Some(unnamed(scratch)?);
        }
        let file = self.file.as_ref().expect("it was made just now");
        file.write_all_at(&bytes, self.written).during("write", SPILL)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// The next bytes.
    pub(crate) fn pop(&mut self) -> Result<Option<Bytes>, FsError> {
        if let Some(bytes) = self.memory.pop_front() {
            self.in_memory -= bytes.len();
            return Ok(Some(bytes));
        }
        let Some(file) = &self.file else { return Ok(None) };
        let left = usize::try_from(self.written - self.read).unwrap_or(usize::MAX);
        if left == 0 {
            return Ok(None);
        }
        let mut bytes = vec![0; left.min(256 << 10)];
        file.read_exact_at(&mut bytes, self.read).during("read", SPILL)?;
        self.read += bytes.len() as u64;
        Ok(Some(bytes.into()))
    }
}

/// A file in scratch that is gone when it is closed.
fn unnamed(scratch: BorrowedFd<'_>) -> Result<File, FsError> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = openat(scratch, SPILL, flags, Mode::RUSR | Mode::WUSR).during("create", SPILL)?;
    unlinkat(scratch, SPILL, AtFlags::empty()).during("unlink", SPILL)?;
    Ok(file.into())
}
