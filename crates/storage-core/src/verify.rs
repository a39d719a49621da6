//! A reader that knows what it should have read.

use std::io::{self, Read};

use crate::{Digest, Hasher};

/// What came is not what was promised.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// Right length, other content.
    #[error("content has digest {actual}, expected {expected}")]
    Digest {
        /// What was promised.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// The stream ended early.
    #[error("content ended after {actual} bytes, expected {expected}")]
    Short {
        /// Bytes that were promised.
        expected: u64,
        /// Bytes that came.
        actual: u64,
    },
    /// The stream goes on after the promised length.
    #[error("content goes on after the expected {expected} bytes")]
    Long {
        /// Bytes that were promised.
        expected: u64,
    },
}

/// Reads exactly `size` bytes and ends well only if their digest is the expected one.
///
/// The end of the stream is reported only after the check, so whoever reads to
/// the end has verified content. A failure comes as an [`io::Error`] of kind
/// `InvalidData` with a [`VerifyError`] inside.
#[derive(Debug)]
pub struct Verified<R> {
    inner: R,
    expected: Digest,
    size: u64,
    seen: u64,
    hasher: Option<Hasher>,
}

impl<R: Read> Verified<R> {
    /// Wraps `inner`, which should give `size` bytes with digest `expected`.
    pub fn new(inner: R, expected: Digest, size: u64) -> Self {
        Self { inner, expected, size, seen: 0, hasher: Some(Hasher::new()) }
    }

    fn check_end(&mut self) -> Result<(), VerifyError> {
        if self.seen < self.size {
            return Err(VerifyError::Short { expected: self.size, actual: self.seen });
        }
        let Some(hasher) = self.hasher.take() else { return Ok(()) };
        let actual = hasher.finish();
        if actual == self.expected {
            Ok(())
        } else {
            Err(VerifyError::Digest { expected: self.expected, actual })
        }
    }
}

impl<R: Read> Read for Verified<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        let n = self.inner.read(buf)?;
        let invalid = |e| io::Error::new(io::ErrorKind::InvalidData, e);
        if n == 0 {
            self.check_end().map_err(invalid)?;
            return Ok(0);
        }
        self.seen += n as u64;
        if self.seen > self.size {
            return Err(invalid(VerifyError::Long { expected: self.size }));
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&buf[..n]);
        }
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &[u8], promised: &[u8]) -> Result<Vec<u8>, VerifyError> {
        let mut out = Vec::new();
        Verified::new(content, Digest::of(promised), promised.len() as u64)
            .read_to_end(&mut out)
            .map(|_| out)
            .map_err(|e| *e.into_inner().unwrap().downcast().unwrap())
    }

    #[test]
    fn only_the_promised_content_is_read_to_its_end() {
        assert_eq!(read(b"abc", b"abc").unwrap(), b"abc");
        assert_eq!(read(b"", b"").unwrap(), b"");
        assert_eq!(read(b"ab", b"abc"), Err(VerifyError::Short { expected: 3, actual: 2 }));
        assert_eq!(read(b"abcd", b"abc"), Err(VerifyError::Long { expected: 3 }));
        assert!(matches!(read(b"abd", b"abc"), Err(VerifyError::Digest { .. })));
    }
}
