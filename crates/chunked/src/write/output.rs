//! The blob on its way out.

use std::io::{self, Write};

use storage_core::{BlobDigest, Hasher};

/// Counts and hashes what is written.
#[derive(Debug)]
pub(super) struct Output<W: Write> {
    inner: W,
    position: u64,
    hasher: Hasher,
}

impl<W: Write> Output<W> {
    pub(super) fn new(inner: W) -> Self {
        Self { inner, position: 0, hasher: Hasher::new() }
    }

    /// Bytes written so far.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Flushes; digest and size of all that was written.
    pub(super) fn finish(mut self) -> io::Result<(BlobDigest, u64)> {
        self.inner.flush()?;
        Ok((self.hasher.finish().into(), self.position))
    }
}

impl<W: Write> Write for Output<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.inner.write_all(bytes)?;
        self.hasher.update(bytes);
        self.position += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
