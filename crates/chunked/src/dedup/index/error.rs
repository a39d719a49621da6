//! Why an index can't be used.

use std::io;

/// Why the index of a layer can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// A part of it could not be read.
    #[error("read the {part} of the index")]
    Read {
        /// Which part.
        part: &'static str,
        /// The kernel's reason, or that the file ends before.
        source: io::Error,
    },
    /// It is of another version.
    #[error("the index has version {0}, not 3")]
    Version(u64),
    /// Its digests are none of sha256.
    #[error("the index has other digests than sha256")]
    Algorithm,
    /// A part is larger than any tool would make it.
    #[error("the {0} of the index are too large")]
    TooLarge(&'static str),
    /// Its parts are longer than the file, or shorter.
    #[error("the parts of the index have {expected} bytes, the file has {actual}")]
    Length {
        /// Length of all parts, as the index says.
        expected: u128,
        /// Length of the file.
        actual: u64,
    },
    /// A part contradicts the format.
    #[error("the {0} of the index are damaged")]
    Damaged(&'static str),
}
