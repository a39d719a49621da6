//! What the fuzz targets share: counted memory, readers that give little at a time,
//! files without names.

mod memory;
mod sys;

use std::fs::File;
use std::io::{BufRead, Read};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileExt as _;

use rustix::fs::{MemfdFlags, memfd_create};

pub use memory::bounded;

/// Gives at most `step` bytes at a time, as networks do.
#[derive(Debug)]
pub struct Trickle<'a> {
    rest: &'a [u8],
    step: usize,
}

impl<'a> Trickle<'a> {
    /// Of some bytes; a `step` of zero counts as one.
    pub fn new(bytes: &'a [u8], step: usize) -> Self {
        Self { rest: bytes, step: step.max(1) }
    }
}

impl Read for Trickle<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let count = self.fill_buf()?.read(out)?;
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Trickle<'_> {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        Ok(&self.rest[..self.rest.len().min(self.step)])
    }

    fn consume(&mut self, amount: usize) {
        self.rest = &self.rest[amount..];
    }
}

/// A file in memory that holds just these bytes, and its path as long as it is open.
///
/// # Panics
///
/// If the kernel gives none.
pub fn file(bytes: &[u8]) -> (File, String) {
    let file = File::from(memfd_create("fuzz", MemfdFlags::CLOEXEC).expect("a file in memory"));
    file.write_all_at(bytes, 0).expect("room in memory");
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    (file, path)
}
