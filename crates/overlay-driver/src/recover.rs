//! What a killed process left.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use storage_core::{FsError, Lock, recover_temp_dirs};

use crate::dir::Dir;
use crate::driver::Driver;
use crate::layout::{self, DIFF, SLOT_ASIDE, SLOT_FOREIGN_TREE, SLOT_LAYER, SLOT_LOCK};
use crate::slot::Slot;

/// How long another tool may take between making a slot and locking it.
///
/// It is three system calls; an hour also covers a machine that was asleep.
const LONGEST_GAP: Duration = Duration::from_hours(1);

/// What [`Driver::recover`] removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Recovered {
    /// Staging slots, of ours or of other tools.
    pub slots: usize,
    /// Half-done deletes, and slots that had not got their names.
    pub temp_dirs: usize,
}

/// A staging slot whose owner is dead; removed on drop.
///
/// It is locked: nobody else takes or removes it meanwhile. What is in it is
/// whatever its owner had done; nothing of it was verified.
#[derive(Debug)]
#[must_use = "dropping a dead slot deletes it"]
pub struct DeadSlot {
    slot: Option<Slot>,
}

impl DeadSlot {
    fn slot(&self) -> &Slot {
        self.slot.as_ref().expect("taken out only when the slot ends")
    }

    /// Opens the tree in it, if there is one.
    ///
    /// # Errors
    ///
    /// If it exists and cannot be opened.
    pub fn tree(&self) -> Result<Option<OwnedFd>, FsError> {
        let dir = self.slot().dir()?;
        let tree = match dir.open_if_there(SLOT_LAYER)? {
            Some(layer) => layer.open_if_there(DIFF)?,
            None => dir.open_if_there(SLOT_FOREIGN_TREE)?,
        };
        Ok(tree.map(Dir::into_fd))
    }

    /// Opens what was to be kept beside the tree, if there is such a directory.
    ///
    /// # Errors
    ///
    /// If it exists and cannot be opened.
    pub fn aside(&self) -> Result<Option<OwnedFd>, FsError> {
        Ok(self.slot().dir()?.open_if_there(SLOT_ASIDE)?.map(Dir::into_fd))
    }

    /// Removes the slot.
    ///
    /// # Errors
    ///
    /// If something of it cannot be removed; [`Driver::recover`] tries again.
    pub fn discard(mut self) -> Result<(), FsError> {
        self.slot.take().map_or(Ok(()), Slot::discard_dead)
    }
}

impl Drop for DeadSlot {
    fn drop(&mut self) {
        // Best effort, as documented.
        drop(self.slot.take().map(Slot::discard_dead));
    }
}

impl Driver {
    /// Removes what dead processes left: staging slots and half-done deletes.
    ///
    /// Needs no lock of the store. What belongs to the living, of this process or
    /// of any other, is not touched; their locks tell. A slot that has no lock is
    /// touched only if it is ours, since ours are never seen without, or has not
    /// changed for an hour.
    ///
    /// # Errors
    ///
    /// The first failure, after everything else has been tried.
    pub fn recover(&self) -> Result<Recovered, FsError> {
        let mut recovered = Recovered::default();
        let mut result = Ok(());
        for name in self.slot_names()? {
            match self.claim(&name).and_then(|dead| dead.map(DeadSlot::discard).transpose()) {
                Ok(removed) => recovered.slots += usize::from(removed.is_some()),
                Err(error) => result = result.and(Err(error)),
            }
        }
        if let Some(temp_dirs) = self.home.dir.open_if_there(layout::TEMP_DIRS)? {
            match recover_temp_dirs(&temp_dirs) {
                Ok(count) => recovered.temp_dirs += count,
                Err(error) => result = result.and(Err(temp_dirs.below(error))),
            }
        }
        if recovered != Recovered::default() {
            tracing::info!(
                recovered.slots,
                recovered.temp_dirs,
                "removed what dead processes left"
            );
        }
        result.map(|()| recovered)
    }

    /// The staging slots whose owners are dead, at most `limit` of them.
    ///
    /// Each holds a descriptor and is removed when it is dropped: what is in it
    /// may still serve as a source until then.
    ///
    /// # Errors
    ///
    /// If `overlay/staging/` cannot be listed, or a slot in it not be looked at.
    pub fn dead_slots(&self, limit: usize) -> Result<Vec<DeadSlot>, FsError> {
        let names = self.slot_names()?;
        let dead = names.iter().filter_map(|name| self.claim(name).transpose());
        dead.take(limit).collect()
    }

    fn slot_names(&self) -> Result<Vec<String>, FsError> {
        let staging = self.home.dir.open_if_there(layout::STAGING)?;
        staging.map_or_else(|| Ok(Vec::new()), |staging| staging.names())
    }

    /// Takes a slot's lock if its owner is dead.
    fn claim(&self, name: &str) -> Result<Option<DeadSlot>, FsError> {
        let staging = self.home.staging()?;
        let dir = match staging.open_if_there(name) {
            Ok(Some(dir)) => dir,
            Ok(None) => return Ok(None),
            // A file is no slot.
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(None),
            Err(error) => return Err(error),
        };
        if !dir.has(SLOT_LOCK)? && !layout::is_our_slot(name) && age(&dir)? < LONGEST_GAP {
            return Ok(None);
        }
        let lock = match Lock::try_exclusive(&dir, SLOT_LOCK) {
            Ok(Some(lock)) => lock,
            Ok(None) => return Ok(None),
            // The slot is being removed, by its owner or somebody like us.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(dir.below(error)),
        };
        if !staging.has(name)? {
            return Ok(None);
        }
        Ok(Some(DeadSlot { slot: Some(Slot::claimed(&self.home, name, lock)) }))
    }
}

/// Time since anything about the directory changed.
fn age(dir: &Dir) -> Result<Duration, FsError> {
    let changed = UNIX_EPOCH + Duration::from_secs(dir.changed()?);
    Ok(SystemTime::now().duration_since(changed).unwrap_or_default())
}
