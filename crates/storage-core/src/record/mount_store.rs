//! Which layers are mounted where.

use std::ops::Deref;
use std::os::fd::AsFd;

use super::file::{check_ids, load, save};
use super::place::Place;
use super::rescue::{Rescued, rescue};
use super::{Layers, LayersWrite, MountRecord, RecordError};
use crate::{Durability, LayerId, Lock, remove_stale_temporaries};

/// The records in `overlay-layers/mountpoints.json` below a run root.
#[derive(Debug)]
pub struct MountStore {
    place: Place,
}

const FILE: &str = "mountpoints.json";

impl MountStore {
    /// Opens the store; makes its directory if it is missing.
    ///
    /// # Errors
    ///
    /// If the directory can be neither opened nor made.
    pub fn open(run: impl AsFd) -> Result<Self, RecordError> {
        Place::open(run, "overlay-layers", "mountpoints.lock").map(|place| Self { place })
    }

    /// Reads the records under a shared lock, inside the lock of the layers.
    ///
    /// # Errors
    ///
    /// If the lock cannot be had, or the record file is damaged.
    pub fn read(&self, _locked: &Layers<'_>) -> Result<Mounts, RecordError> {
        self.load(self.place.lock_shared()?)
    }

    /// Reads the records under the exclusive lock, inside that of the layers.
    ///
    /// # Errors
    ///
    /// As for [`MountStore::read`].
    pub fn write(&self, _locked: &LayersWrite<'_>) -> Result<MountsWrite<'_>, RecordError> {
        let mounts = self.load(Some(self.place.lock_exclusive()?))?;
        let saved = mounts.records.clone();
        Ok(MountsWrite { place: &self.place, saved, mounts, damaged: false })
    }

    /// Like [`MountStore::write`], for a file that is damaged; as
    /// [`LayerStore::rescue`](crate::LayerStore::rescue) does for layers.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn rescue(
        &self,
        _locked: &LayersWrite<'_>,
    ) -> Result<(MountsWrite<'_>, Rescued), RecordError> {
        let lock = Some(self.place.lock_exclusive()?);
        let mut rescued = Rescued::default();
        let (records, damaged) = rescue(&self.place, FILE, &mut rescued)?;
        let mounts = Mounts { records, lock };
        let saved = mounts.records.clone();
        Ok((MountsWrite { place: &self.place, saved, mounts, damaged }, rescued))
    }

    fn load(&self, lock: Option<Lock>) -> Result<Mounts, RecordError> {
        let records = load(&self.place, FILE)?;
        check_ids(&self.place, FILE, &records)?;
        Ok(Mounts { records, lock })
    }
}

/// The mounts as they are while the lock is held.
///
/// A reboot unmounts without telling: a mount that is not in the kernel's mount
/// table is none.
#[derive(Debug)]
pub struct Mounts {
    records: Vec<MountRecord>,
    lock: Option<Lock>,
}

impl Mounts {
    /// All of them.
    pub fn records(&self) -> &[MountRecord] {
        &self.records
    }

    /// The mount of a layer.
    pub fn get(&self, id: &LayerId) -> Option<&MountRecord> {
        self.records.iter().find(|record| record.id == *id)
    }
}

/// The mounts, to be changed.
#[derive(Debug)]
pub struct MountsWrite<'s> {
    place: &'s Place,
    mounts: Mounts,
    saved: Vec<MountRecord>,
    /// Whether the file is to be written whatever changed.
    damaged: bool,
}

impl Deref for MountsWrite<'_> {
    type Target = Mounts;

    fn deref(&self) -> &Mounts {
        &self.mounts
    }
}

impl MountsWrite<'_> {
    /// All of them; nothing is written before [`MountsWrite::save`].
    pub fn records_mut(&mut self) -> &mut Vec<MountRecord> {
        &mut self.mounts.records
    }

    /// Removes temporary files that killed writers of the records left; tells how many.
    ///
    /// # Errors
    ///
    /// If the directory cannot be read, or a file in it not be removed.
    pub fn sweep(&self) -> Result<usize, RecordError> {
        self.place.within(remove_stale_temporaries(self.place.writable()?, FILE))
    }

    /// Writes the records if they changed, durably: the run root may be on a disk,
    /// where a file that was not flushed could come back empty.
    ///
    /// # Errors
    ///
    /// If two records have one id, or a file cannot be written.
    pub fn save(&mut self) -> Result<(), RecordError> {
        if self.mounts.records == self.saved && !self.damaged {
            return Ok(());
        }
        check_ids(self.place, FILE, &self.mounts.records)?;
        if let Some(lock) = &mut self.mounts.lock {
            self.place.within(lock.write_token())?;
        }
        save(self.place, FILE, &self.mounts.records, Durability::Durable)?;
        self.saved.clone_from(&self.mounts.records);
        self.damaged = false;
        Ok(())
    }
}
