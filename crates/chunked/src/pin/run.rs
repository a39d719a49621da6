//! Chunks that follow each other in a clone as they do in their new file.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::rc::Rc;

use reflink::{copy_range, reflink_range};

use super::local::Local;

/// Verified chunks of one clone, to be brought into the target together.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) clone: Rc<Local>,
    /// Where they begin in the clone, and in the target.
    from: u64,
    to: u64,
    length: u64,
    /// Their numbers.
    pub(super) chunks: Vec<u32>,
}

impl Run {
    /// A run of chunk number `chunk`, which is to be at `to` in the target.
    pub(super) fn new(clone: Rc<Local>, chunk: u32, from: u64, to: u64, length: u64) -> Self {
        Self { clone, from, to, length, chunks: vec![chunk] }
    }

    /// Whether what is at `from` in `clone` and is to be at `to` goes on with this run.
    pub(super) fn goes_on_with(&self, clone: &Rc<Local>, from: u64, to: u64) -> bool {
        Rc::ptr_eq(clone, &self.clone)
            && from == self.from + self.length
            && to == self.to + self.length
    }

    /// Adds chunk number `chunk`, which goes on with this run.
    pub(super) fn push(&mut self, chunk: u32, length: u64) {
        self.length += length;
        self.chunks.push(chunk);
    }

    /// Brings the bytes into `target`: whole blocks of `block` bytes share the
    /// clone's extents if they can, the rest is copied. Gives the number of bytes
    /// that are shared.
    ///
    /// # Errors
    ///
    /// If a byte could not be brought there, for whatever reason. Nothing but the
    /// run's own bytes of the target was touched.
    pub(super) fn bring(&self, target: &File, block: u64) -> io::Result<u64> {
        let Some(inside) = self.inside(block) else {
            self.copy(target, 0..self.length)?;
            return Ok(0);
        };
        let from = self.from + inside.start..self.from + inside.end;
        match reflink_range(&self.clone.file, from, target, self.to + inside.start) {
            Ok(()) => {
                self.copy(target, 0..inside.start)?;
                self.copy(target, inside.end..self.length)?;
                Ok(inside.end - inside.start)
            }
            Err(error) => {
                tracing::debug!(%error, "a range can't be shared");
                self.copy(target, 0..self.length)?;
                Ok(0)
            }
        }
    }

    /// The part of the run that consists of whole blocks on both sides.
    fn inside(&self, block: u64) -> Option<Range<u64>> {
        if self.from % block != self.to % block {
            return None;
        }
        let start = self.to.next_multiple_of(block) - self.to;
        let end = (self.to + self.length) / block * block;
        let end = end.checked_sub(self.to).filter(|&end| end > start)?;
        Some(start..end)
    }

    fn copy(&self, target: &File, part: Range<u64>) -> io::Result<()> {
        let (from, to) = (self.from + part.start..self.from + part.end, self.to + part.start);
        let copied = copy_range(&self.clone.file, from, target, to)?;
        if copied == part.end - part.start {
            Ok(())
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }
}
