//! Clones of sources that nobody else can change.

use std::fs::File;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use reflink::{ReflinkError, reflink};
use rustix::fs::{AtFlags, Mode, OFlags, fstat, mkdirat, openat, unlinkat};
use rustix::io::Errno;
use storage_core::{FsError, FsResultExt};

use super::refused::Refused;

/// Most clones that are kept.
const CLONES: u32 = 4096;

/// Clones in one directory.
const PER_DIRECTORY: u32 = 256;

/// Name of the directory of those directories.
const ROOM: &str = "clones";

/// Clones of sources, by number, in directories of their own below scratch:
///
/// ```text
/// scratch/clones/0/0 … 255
///                1/256 … 511
/// ```
///
/// What was cloned can't change any more, whatever becomes of the source, and
/// needs no open descriptor. All of it is removed at the end.
#[derive(Debug)]
pub(super) struct Scratch<'d> {
    dir: BorrowedFd<'d>,
    /// Device of scratch, and so of the layer's tree.
    device: u64,
    room: Option<OwnedFd>,
    clones: u32,
}

/// What became of an attempt to clone a source.
#[derive(Debug)]
pub(super) enum Cloned {
    /// There is a clone of this number.
    Yes(u32, File),
    /// The filesystem does not share extents of this file, or of any; a copy would do.
    Refused,
    /// It failed, for a reason that may not come again.
    Failed,
    /// There are as many clones as there may be.
    Full,
}

impl<'d> Scratch<'d> {
    pub(super) fn new(dir: BorrowedFd<'d>) -> Result<Self, FsError> {
        let device = fstat(dir).during("look at", "scratch")?.st_dev;
        Ok(Self { dir, device, room: None, clones: 0 })
    }

    /// Clones `source`, unless it is known that this can't be done.
    ///
    /// # Errors
    ///
    /// If there can be no room for clones at all; never because of one clone.
    pub(super) fn clone_of(&mut self, source: &File, refused: &Refused) -> Result<Cloned, FsError> {
        let Ok(from) = source.metadata().map(|metadata| metadata.dev()) else {
            return Ok(Cloned::Failed);
        };
        if refused.contains(from, self.device) {
            return Ok(Cloned::Refused);
        }
        if self.clones == CLONES {
            return Ok(Cloned::Full);
        }
        let (number, to) = (self.clones, self.device);
        let room = self.make_room()?;
        let name = path_of(number);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let clone = match openat(room, &name, flags, Mode::RUSR | Mode::WUSR) {
            Ok(clone) => File::from(clone),
            Err(error) => {
                tracing::debug!(%error, "a clone can't be made");
                return Ok(Cloned::Failed);
            }
        };
        let outcome = match reflink(source, &clone) {
            Ok(()) => {
                self.clones += 1;
                return Ok(Cloned::Yes(number, clone));
            }
            Err(ReflinkError::Refused(refusal)) => {
                refused.remember(from, to, refusal);
                Cloned::Refused
            }
            Err(error) => {
                tracing::debug!(%error, "a source can't be cloned");
                Cloned::Failed
            }
        };
        // The next clone takes its name.
        unlinkat(room, &name, AtFlags::empty()).during("unlink", &name)?;
        Ok(outcome)
    }

    /// The directory of clones, with the one that the next clone goes into.
    fn make_room(&mut self) -> Result<&OwnedFd, FsError> {
        let room = match self.room.take() {
            Some(room) => room,
            None => open_room(self.dir).during("create directory", ROOM)?,
        };
        if self.clones.is_multiple_of(PER_DIRECTORY) {
            let name = (self.clones / PER_DIRECTORY).to_string();
            match mkdirat(&room, &name, Mode::RWXU) {
                // The first clone in it failed.
                Ok(()) | Err(Errno::EXIST) => {}
                made => made.during("create directory", &name)?,
            }
        }
        Ok(self.room.insert(room))
    }

    /// Removes all clones.
    ///
    /// # Errors
    ///
    /// If they can't be removed.
    pub(super) fn clear(mut self) -> Result<(), FsError> {
        match self.room.take() {
            Some(_) => tree::remove_tree(self.dir, ROOM.as_bytes()),
            None => Ok(()),
        }
    }
    /// Opens clone number `number` again.
    pub(super) fn reopen(&self, number: u32) -> io::Result<File> {
        let room = self.room.as_ref().ok_or(io::ErrorKind::NotFound)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(openat(room, path_of(number), flags, Mode::empty())?.into())
    }
}

impl Drop for Scratch<'_> {
    fn drop(&mut self) {
        if self.room.take().is_some() {
            // On the way out with another error, which is the one to be told.
            drop(tree::remove_tree(self.dir, ROOM.as_bytes()));
        }
    }
}

fn open_room(dir: BorrowedFd<'_>) -> rustix::io::Result<OwnedFd> {
    mkdirat(dir, ROOM, Mode::RWXU)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(dir, ROOM, flags, Mode::empty())
}

fn path_of(number: u32) -> String {
    format!("{}/{number}", number / PER_DIRECTORY)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn no_clone_is_left_and_none_is_made_where_that_was_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("source"), "bytes").unwrap();
        let source = File::open(dir.path().join("source")).unwrap();
        std::fs::create_dir(dir.path().join("scratch")).unwrap();
        let scratch_dir = File::open(dir.path().join("scratch")).unwrap();
        let refused = Refused::default();
        let mut scratch = Scratch::new(scratch_dir.as_fd()).unwrap();
        let mut made = 0;
        for _ in 0..=CLONES {
            match scratch.clone_of(&source, &refused).unwrap() {
                Cloned::Yes(number, _) => {
                    assert_eq!(number, made);
                    made += 1;
                }
                Cloned::Full => assert_eq!(made, CLONES),
                Cloned::Refused => {
                    assert_eq!(made, 0);
                    let device = source.metadata().unwrap().dev();
                    assert!(refused.contains(device, device));
                }
                Cloned::Failed => panic!("it can be opened"),
            }
        }
        if made > 0 {
            assert_eq!(std::io::read_to_string(scratch.reopen(300).unwrap()).unwrap(), "bytes");
        }
        scratch.clear().unwrap();
        assert_eq!(std::fs::read_dir(dir.path().join("scratch")).unwrap().count(), 0);
    }
}
