//! The one error for operations on files.

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

/// A filesystem operation that failed, and where.
#[derive(Debug, thiserror::Error)]
#[error("{op} {}", path.display())]
pub struct FsError {
    /// The attempt, as a verb phrase: "create directory".
    pub op: &'static str,
    /// What it was tried on; relative to the directory that the caller works in.
    pub path: PathBuf,
    /// What the kernel said.
    pub source: io::Error,
}

impl FsError {
    /// An error of `op` on `path`.
    pub fn new(op: &'static str, path: impl AsRef<Path>, source: impl Into<io::Error>) -> Self {
        Self { op, path: path.as_ref().to_owned(), source: source.into() }
    }

    /// The same error, told from the directory above: `dir` stands before the path.
    #[must_use]
    pub fn within(mut self, dir: impl AsRef<Path>) -> Self {
        self.path = dir.as_ref().join(self.path);
        self
    }

    /// The kernel's reason, in the standard library's words.
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }

    /// Whether this process or the system lacked descriptors or memory, which tells nothing
    /// of what is on disk.
    pub fn is_for_want_of_room(&self) -> bool {
        is_for_want_of_room(&self.source)
    }
}

/// Whether this process or the system lacked descriptors or memory; see
/// [`FsError::is_for_want_of_room`].
pub fn is_for_want_of_room(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    errno.is_some_and(|errno| [Errno::MFILE, Errno::NFILE, Errno::NOMEM].contains(&errno))
}

/// Adds to an error what was tried, and on what.
pub trait FsResultExt<T> {
    /// Turns the error into an [`FsError`].
    ///
    /// # Errors
    ///
    /// Those of `self`.
    fn during(self, op: &'static str, path: impl AsRef<Path>) -> Result<T, FsError>;
}

impl<T, E: Into<io::Error>> FsResultExt<T> for Result<T, E> {
    fn during(self, op: &'static str, path: impl AsRef<Path>) -> Result<T, FsError> {
        self.map_err(|source| FsError::new(op, path, source))
    }
}
