//! The open directories above us.
//!
//! A tree can be deeper than a process may have open files, and its paths longer
//! than the kernel takes. So only the deepest directories of the current chain
//! stay open, and one that was closed is opened again as the parent of its child,
//! and must then be the same directory as before.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags, Stat, fstat, openat};
use rustix::io::Errno;
use storage_core::FsError;

use crate::names::Names;

/// Directories of one chain that are open at once.
const OPEN: usize = 16;

/// How directories are opened for reading: by this very name, never through a link.
pub(crate) const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A chain of directories, from the root of a walk to where it is now.
#[derive(Debug, Default)]
pub(crate) struct Descent {
    levels: Vec<Level>,
    /// Levels before this one are closed, the others are open.
    closed: usize,
    /// Of the deepest level, relative to the root.
    path: Vec<u8>,
}

/// One directory of the chain.
#[derive(Debug)]
struct Level {
    fd: Option<OwnedFd>,
    id: Id,
    /// What is still to be visited.
    names: Names,
    /// Length of the path of the directory above.
    above: usize,
}

/// A directory that is done with.
#[derive(Debug)]
pub(crate) struct Left {
    pub(crate) directory: OwnedFd,
    pub(crate) id: Id,
    /// For messages, relative to the root.
    pub(crate) path: PathBuf,
}

/// Identity of an inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Id {
    device: u64,
    pub(crate) inode: u64,
}

impl Id {
    pub(crate) fn of(stat: &Stat) -> Self {
        Self { device: stat.st_dev, inode: stat.st_ino }
    }
}

impl Descent {
    /// Goes down into `directory`, which is `name` in the present one.
    pub(crate) fn enter(&mut self, directory: OwnedFd, id: Id, name: &[u8], names: Names) {
        let above = self.path.len();
        if !self.levels.is_empty() {
            self.path = self.join(name);
        }
        self.levels.push(Level { fd: Some(directory), id, names, above });
        if self.levels.len() - self.closed > OPEN {
            self.levels[self.closed].fd = None;
            self.closed += 1;
        }
    }

    /// Goes up, and gives the directory that was left and its path.
    ///
    /// The directory above is open by then, so the one that was left may be
    /// removed or locked up.
    pub(crate) fn leave(&mut self) -> Result<Option<Left>, FsError> {
        let Some(level) = self.levels.pop() else { return Ok(None) };
        let directory = level.fd.expect("the deepest level is open");
        let path = self.path_of(b"");
        self.path.truncate(level.above);
        if let Some(above) = self.levels.last_mut()
            && above.fd.is_none()
        {
            match open_above(&directory, above.id) {
                Ok(directory) => above.fd = Some(directory),
                Err(error) => {
                    // There is no way back, so this is the end.
                    self.levels.clear();
                    return Err(FsError::new("reopen the parent of", path, error));
                }
            }
            self.closed = self.levels.len() - 1;
        }
        Ok(Some(Left { directory, id: level.id, path }))
    }

    /// The directory that the last name came from, until it is left.
    pub(crate) fn current(&self) -> BorrowedFd<'_> {
        self.here().expect("a directory is left after its names")
    }

    /// The present directory; `None` once the root was left.
    pub(crate) fn here(&self) -> Option<BorrowedFd<'_>> {
        self.levels
            .last()
            .map(|level| level.fd.as_ref().expect("the deepest level is open").as_fd())
    }

    /// The next name in the present directory.
    pub(crate) fn next_name(&mut self) -> Option<Vec<u8>> {
        self.levels.last_mut()?.names.pop()
    }

    /// The path of `name` in the present directory, relative to the root.
    pub(crate) fn join(&self, name: &[u8]) -> Vec<u8> {
        let slash: &[u8] = if self.path.is_empty() || name.is_empty() { b"" } else { b"/" };
        [&self.path, slash, name].concat()
    }

    /// The same for messages.
    pub(crate) fn path_of(&self, name: &[u8]) -> PathBuf {
        let path = self.join(name);
        PathBuf::from(OsStr::from_bytes(if path.is_empty() { b"." } else { &path }))
    }
}

fn open_above(child: &OwnedFd, expected: Id) -> io::Result<OwnedFd> {
    let above = openat(child, "..", DIRECTORY, Mode::empty())?;
    if Id::of(&fstat(&above)?) != expected {
        return Err(io::Error::other("the directory was moved meanwhile"));
    }
    Ok(above)
}

/// Opens the directory `name` in `parent`, never through a link.
pub(crate) fn open_directory(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    openat(parent, name, DIRECTORY, Mode::empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, mkdirat};

    const DEPTH: usize = 300;

    /// A chain of directories whose path is longer than any system call takes.
    fn deep_chain() -> (tempfile::TempDir, Descent) {
        let root = tempfile::tempdir().unwrap();
        let mut descent = Descent::default();
        let mut fd = openat(CWD, root.path(), DIRECTORY, Mode::empty()).unwrap();
        for _ in 0..DEPTH {
            let id = Id::of(&fstat(&fd).unwrap());
            mkdirat(&fd, NAME, Mode::RWXU).unwrap();
            let child = open_directory(fd.as_fd(), NAME).unwrap();
            descent.enter(std::mem::replace(&mut fd, child), id, NAME, Names::default());
        }
        (root, descent)
    }

    const NAME: &[u8] = b"directory-with-a-longish-name";

    #[test]
    fn a_chain_of_any_depth_is_climbed_with_few_open_files() {
        let (root, mut descent) = deep_chain();
        assert_eq!(descent.levels.iter().filter(|level| level.fd.is_some()).count(), OPEN);
        let mut left = 0;
        while let Some(Left { directory, path, .. }) = descent.leave().unwrap() {
            left += 1;
            assert_eq!(path.components().count(), (DEPTH - left).max(1));
            drop(directory);
            assert!(descent.levels.iter().filter(|level| level.fd.is_some()).count() <= OPEN);
        }
        assert_eq!(left, DEPTH);
        crate::remove_tree(
            openat(CWD, root.path(), DIRECTORY, Mode::empty()).unwrap().as_fd(),
            NAME,
        )
        .unwrap();
    }

    #[test]
    fn a_directory_that_was_moved_is_noticed() {
        let (root, mut descent) = deep_chain();
        let away = tempfile::tempdir().unwrap();
        // Levels 0 to 283 are closed; 284's parent is not 283 any more.
        let mut path = root.path().to_owned();
        path.extend(std::iter::repeat_n(OsStr::from_bytes(NAME), 100));
        std::fs::rename(&path, away.path().join("x")).unwrap();
        let error = loop {
            match descent.leave() {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the move was not noticed"),
                Err(error) => break error,
            }
        };
        assert_eq!(error.op, "reopen the parent of");
    }
}
