//! Pieces of a file that lie near each other, read in few calls.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::IndexError;

/// Bytes that are read at once, where less is asked for.
const SIZE: usize = 16 << 10;

/// A part of the index's file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub(super) name: &'static str,
    pub(super) at: u64,
    pub(super) length: u64,
}

impl Part {
    /// Reads what is there at `at` of it.
    pub(super) fn read(&self, file: &File, at: u64, buffer: &mut [u8]) -> Result<(), IndexError> {
        file.read_exact_at(buffer, self.at + at)
            .map_err(|source| IndexError::Read { part: self.name, source })
    }
}

/// Reads pieces of a part, best in ascending order.
#[derive(Debug)]
pub(super) struct Window<'f> {
    file: &'f File,
    part: Part,
    /// Where in the part the buffer starts.
    start: u64,
    buffer: Vec<u8>,
}

impl<'f> Window<'f> {
    pub(super) fn new(file: &'f File, part: Part) -> Self {
        Self { file, part, start: 0, buffer: Vec::new() }
    }

    /// The bytes at `at`, of which there should be few.
    ///
    /// # Errors
    ///
    /// If the part does not have them, or they can't be read.
    pub(super) fn get(&mut self, at: u64, length: usize) -> Result<&[u8], IndexError> {
        let rest = self.part.length.checked_sub(at);
        let rest = rest.and_then(|rest| usize::try_from(rest).ok()).unwrap_or(0);
        if rest < length {
            return Err(IndexError::Damaged(self.part.name));
        }
        let within = at.checked_sub(self.start).and_then(|skip| usize::try_from(skip).ok());
        if let Some(skip) = within
            && skip.checked_add(length).is_some_and(|end| end <= self.buffer.len())
        {
            return Ok(&self.buffer[skip..][..length]);
        }
        self.start = at;
        self.buffer.resize(length.max(SIZE).min(rest), 0);
        let outcome = self.part.read(self.file, at, &mut self.buffer);
        if outcome.is_err() {
            self.buffer.clear();
        }
        outcome.map(|()| &self.buffer[..length])
    }
}
