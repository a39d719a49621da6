//! A staging directory, its lock, and the promise to remove it.

use std::io;
use std::sync::Arc;

use rustix::io::Errno;
use storage_core::{FsError, FsResultExt, Lock, TempDir};

use crate::dir::Dir;
use crate::driver::Home;
use crate::fault::before_change;
use crate::layout::{self, PRIVATE_MODE, SLOT_LAYER, SLOT_LOCK};
use crate::link::random_bytes;
use crate::lower;

/// A directory below `staging/` that is ours while its lock is held.
///
/// Drop removes it and is best effort and silent; [`Slot::discard`] reports
/// errors; what a killed process leaves is found by `recover`, which tells the
/// living from the dead by the lock.
///
/// The lock is all that stays open, since a pull may have hundreds of slots.
#[derive(Debug)]
pub(crate) struct Slot {
    home: Arc<Home>,
    name: String,
    lock: Option<Lock>,
}

impl Slot {
    /// Makes a slot; `fill` makes what is in it.
    ///
    /// It is built and locked as a temp dir's content and gets its name in
    /// `staging/` by a rename: there a slot without a lock is garbage to others,
    /// and anywhere else in `overlay/` a directory is a layer to them.
    pub(crate) fn create<T>(
        home: &Arc<Home>,
        fill: impl FnOnce(&Dir) -> Result<T, FsError>,
    ) -> Result<(Self, T), FsError> {
        const BUILDING: &str = "0-addition";
        let temp_dirs = home.temp_dirs()?;
        before_change();
        let temp = TempDir::create(&temp_dirs).map_err(|error| temp_dirs.below(error))?;
        let workshop = Dir::duplicate(temp.fd(), temp_dirs.shown("new"))?;
        let dir = workshop.make(BUILDING, PRIVATE_MODE)?;
        before_change();
        let Some(lock) = Lock::try_exclusive(&dir, SLOT_LOCK).map_err(|e| dir.below(e))? else {
            return Err(Errno::AGAIN).during("lock", dir.shown(SLOT_LOCK));
        };
        let content = fill(&dir)?;
        let name = layout::slot_name(u64::from_le_bytes(random_bytes()?));
        workshop.rename(BUILDING, &home.staging()?, &name)?;
        let slot = Self { home: Arc::clone(home), name, lock: Some(lock) };
        before_change();
        temp.delete().map_err(|error| temp_dirs.below(error))?;
        Ok((slot, content))
    }

    /// A slot that was found, with its lock taken.
    pub(crate) fn claimed(home: &Arc<Home>, name: &str, lock: Lock) -> Self {
        Self { home: Arc::clone(home), name: name.to_owned(), lock: Some(lock) }
    }

    pub(crate) fn dir(&self) -> Result<Dir, FsError> {
        self.home.staging()?.open(&self.name)
    }

    /// The directory that becomes the layer's.
    pub(crate) fn layer(&self) -> Result<Dir, FsError> {
        self.dir()?.open(SLOT_LAYER)
    }

    /// Removes the slot.
    pub(crate) fn discard(mut self) -> Result<(), FsError> {
        self.remove()
    }

    /// Removes a slot whose owner is dead, and which may be another tool's.
    ///
    /// By way of a temp dir, so that no slot is left without a lock when we are
    /// killed in turn: its name would not say whether somebody is about to lock it.
    pub(crate) fn discard_dead(mut self) -> Result<(), FsError> {
        match self.move_away() {
            Ok(temp) => {
                drop(self.lock.take());
                let shown = self.home.dir.shown(layout::TEMP_DIRS);
                temp.delete().map_err(|error| FsError { path: shown.join(&error.path), ..error })
            }
            // A full disk has no room for a temp dir. Room is what this is about to make.
            Err(_) => self.remove(),
        }
    }

    fn move_away(&self) -> Result<TempDir, FsError> {
        self.remove_dangling_link(&self.dir()?)?;
        before_change();
        let mut temp = TempDir::create(self.home.temp_dirs()?)?;
        before_change();
        temp.move_in(self.home.staging()?, &self.name)?;
        Ok(temp)
    }

    fn remove(&mut self) -> Result<(), FsError> {
        // Released at the end of this function, whatever happens.
        let Some(_lock) = self.lock.take() else { return Ok(()) };
        let staging = self.home.staging()?;
        let Some(dir) = staging.open_if_there(&self.name)? else { return Ok(()) };
        self.remove_dangling_link(&dir)?;
        for name in dir.names()? {
            if name != SLOT_LOCK {
                dir.remove_tree(&name)?;
            }
        }
        dir.unlink(SLOT_LOCK)?;
        match staging.remove_dir(&self.name) {
            // Somebody who cleans up took the lock's name in this instant, and will finish.
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
            removed => removed,
        }
    }

    /// A commit makes the short link before the layer has its place; while the layer is
    /// still here, that link leads nowhere.
    fn remove_dangling_link(&self, dir: &Dir) -> Result<(), FsError> {
        let Some(layer) = dir.open_if_there(SLOT_LAYER)? else { return Ok(()) };
        // A damaged name is no link of ours, and no reason to keep the slot.
        if let Ok(Some(link)) = lower::read_link_name(&layer)
            && self.home.links.has(link.as_str())?
        {
            self.home.links.unlink(link.as_str())?;
        }
        Ok(())
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // Best effort, as documented.
        drop(self.remove());
    }
}
