//! Chunks that follow each other in a clone as they do in their new file.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::rc::Rc;

use reflink::{copy_range, reflink_range};

use super::local::Local;
use crate::plan::stretch::Stretch;

/// Verified chunks of one clone, to be brought into the target together.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) clone: Rc<Local>,
    /// Where they are in the clone, and are to be in the target.
    pub(super) stretch: Stretch,
    /// Their numbers.
    pub(super) chunks: Vec<u32>,
}

impl Run {
    /// Whether what is at `from` in `clone` and is to be at `to` goes on with this run.
    pub(super) fn goes_on_with(&self, clone: &Rc<Local>, from: u64, to: u64) -> bool {
        Rc::ptr_eq(clone, &self.clone) && self.stretch.goes_on(from, to)
    }

    /// Adds chunk number `chunk`, which goes on with this run.
    pub(super) fn push(&mut self, chunk: u32, length: u64) {
        self.stretch.length += length;
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
        let Stretch { from, to, length } = self.stretch;
        let Some(inside) = self.stretch.whole_blocks(block) else {
            self.copy(target, 0..length)?;
            return Ok(0);
        };
        let part = from + inside.start..from + inside.end;
        match reflink_range(&self.clone.file, part, target, to + inside.start) {
            Ok(()) => {
                self.copy(target, 0..inside.start)?;
                self.copy(target, inside.end..length)?;
                Ok(inside.end - inside.start)
            }
            Err(error) => {
                tracing::debug!(%error, "a range can't be shared");
                self.copy(target, 0..length)?;
                Ok(0)
            }
        }
    }

    fn copy(&self, target: &File, part: Range<u64>) -> io::Result<()> {
        let Stretch { from, to, .. } = self.stretch;
        let range = from + part.start..from + part.end;
        let copied = copy_range(&self.clone.file, range, target, to + part.start)?;
        if copied == part.end - part.start {
            Ok(())
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }
}
