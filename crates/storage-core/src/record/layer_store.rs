//! The layers of a store.

use std::collections::{HashMap, HashSet};
use std::ops::Deref;
use std::os::fd::AsFd;
use std::path::PathBuf;

use rustix::fs::syncfs;
use rustix::io::retry_on_intr;

use super::file::{check_ids, load, save};
use super::place::Place;
use super::rescue::{Rescued, rescue};
use super::{LayerFile, LayerRecord, RecordError, big_data, names};
use crate::{Durability, FsResultExt as _, LayerId, Lock, Token, remove_stale_temporaries};

/// The records in `overlay-layers` below a graph root, and what is kept beside them.
#[derive(Debug)]
pub struct LayerStore {
    place: Place,
    /// Where the records of images' layers are, if not here.
    image_store: Option<Place>,
}

const DIR: &str = "overlay-layers";
const LOCK: &str = "layers.lock";

impl LayerStore {
    /// Opens the store; makes its directory if it is missing.
    ///
    /// # Errors
    ///
    /// If the directory can be neither opened nor made.
    pub fn open(root: impl AsFd) -> Result<Self, RecordError> {
        Ok(Self { place: Place::open(root, DIR, LOCK)?, image_store: None })
    }

    /// Opens the store with the records of its images' layers below another root.
    ///
    /// All else is below the first: the records of containers' layers, and tar-split and
    /// big data of all layers. Both have a lock, and both are taken, the first root's first.
    ///
    /// # Errors
    ///
    /// If a directory can be neither opened nor made.
    pub fn open_with_image_store(
        root: impl AsFd,
        image_store: impl AsFd,
    ) -> Result<Self, RecordError> {
        let image_store = Some(Place::open(image_store, DIR, LOCK)?);
        Ok(Self { place: Place::open(root, DIR, LOCK)?, image_store })
    }

    /// Opens an additional store, perhaps on a read-only filesystem.
    ///
    /// Nothing is ever created, and what is missing counts as empty. Without a
    /// lock file it is read without a lock.
    ///
    /// # Errors
    ///
    /// If the directory exists and cannot be opened.
    pub fn open_read_only(root: impl AsFd) -> Result<Self, RecordError> {
        Ok(Self { place: Place::open_read_only(root, DIR, LOCK)?, image_store: None })
    }

    /// Reads the records under a shared lock.
    ///
    /// # Errors
    ///
    /// If the lock cannot be had, or a record file is damaged.
    pub fn read(&self) -> Result<LayersRead<'_>, RecordError> {
        let lock = self.place.lock_shared()?;
        let images = self.image_store.as_ref().map(Place::lock_shared).transpose()?;
        Layers::load(self, lock, images.flatten()).map(LayersRead)
    }

    /// Reads the records under the exclusive lock, to change them.
    ///
    /// # Errors
    ///
    /// If the store was opened read-only, or as for [`LayerStore::read`].
    pub fn write(&self) -> Result<LayersWrite<'_>, RecordError> {
        let lock = self.place.lock_exclusive()?;
        let images = self.image_store.as_ref().map(Place::lock_exclusive).transpose()?;
        let layers = Layers::load(self, Some(lock), images)?;
        let saved = layers.records.clone();
        Ok(LayersWrite { layers, saved, damaged: Vec::new() })
    }

    /// Like [`LayerStore::write`], for files that are damaged: their records are those
    /// that can still be read one by one, up to where a file is cut.
    ///
    /// A damaged file gets another name first, under which it stays. It keeps its own
    /// until the records are saved, which replaces it in any case: so it is never taken
    /// for an empty one in between.
    ///
    /// # Errors
    ///
    /// If the store was opened read-only, or a file cannot be read at all or linked.
    pub fn rescue(&self) -> Result<(LayersWrite<'_>, Rescued), RecordError> {
        let lock = self.place.lock_exclusive()?;
        let image_store = self.image_store.as_ref();
        let image_lock = image_store.map(Place::lock_exclusive).transpose()?;
        let (mut rescued, mut damaged, mut all) = (Rescued::default(), Vec::new(), Vec::new());
        for file in LayerFile::ALL {
            let Some(place) = place_of(file, &self.place, image_store) else { continue };
            let (records, is_damaged) = rescue(place, file.name(), &mut rescued)?;
            damaged.extend(is_damaged.then_some(file));
            all.push((file, records));
        }
        let records = merged(all);
        let lock = Some(lock);
        let layers = Layers { place: &self.place, image_store, records, lock, image_lock };
        let saved = layers.records.clone();
        Ok((LayersWrite { layers, saved, damaged }, rescued))
    }

    /// Flushes the filesystem of tar-splits and big data, if it may be another one than
    /// that of the trees, as with an image store.
    ///
    /// # Errors
    ///
    /// If the store was opened read-only, or the flush fails.
    pub fn flush_beside_image_store(&self) -> Result<(), RecordError> {
        if self.image_store.is_none() {
            return Ok(());
        }
        let dir = self.place.writable()?;
        let flushed = retry_on_intr(|| syncfs(dir));
        Ok(flushed.during("flush the filesystem of", self.place.path(""))?)
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }
}

/// The layers as they are while a lock is held.
#[derive(Debug)]
pub struct Layers<'s> {
    pub(super) place: &'s Place,
    image_store: Option<&'s Place>,
    pub(super) records: Vec<LayerRecord>,
    lock: Option<Lock>,
    /// That of the image store.
    image_lock: Option<Lock>,
}

/// The directory that a file is in, if there is such a file.
fn place_of<'s>(
    file: LayerFile,
    place: &'s Place,
    image_store: Option<&'s Place>,
) -> Option<&'s Place> {
    match file {
        LayerFile::Durable | LayerFile::Volatile => Some(place),
        LayerFile::ImageStore => image_store,
    }
}

impl<'s> Layers<'s> {
    fn load(
        store: &'s LayerStore,
        lock: Option<Lock>,
        image_lock: Option<Lock>,
    ) -> Result<Self, RecordError> {
        let LayerStore { place, image_store } = store;
        let image_store = image_store.as_ref();
        let mut all = Vec::new();
        for file in LayerFile::ALL {
            let Some(place) = place_of(file, place, image_store) else { continue };
            let found: Vec<LayerRecord> = load(place, file.name())?;
            // Nobody writes such a file; one of the ids was changed by damage.
            check_ids(place, file.name(), &found)?;
            all.push((file, found));
        }
        Ok(Self { place, image_store, records: merged(all), lock, image_lock })
    }

    /// The file that the layers of images are kept in.
    pub fn file_of_images(&self) -> LayerFile {
        if self.image_store.is_some() { LayerFile::ImageStore } else { LayerFile::Durable }
    }

    /// Whether a layer is kept where those of images are: in a store with an image store,
    /// those of containers are not.
    pub fn is_with_images(&self, record: &LayerRecord) -> bool {
        self.image_store.is_none() || record.file == LayerFile::ImageStore
    }

    /// The file of the records of images' layers.
    pub fn file(&self) -> PathBuf {
        self.image_store.unwrap_or(self.place).path(self.file_of_images().name())
    }

    /// Whether there is a file of records of images' layers at all. It comes before the first
    /// layer, so that layers without it have lost it.
    ///
    /// # Errors
    ///
    /// If that cannot be told.
    pub fn has_file(&self) -> Result<bool, RecordError> {
        let place = self.image_store.unwrap_or(self.place);
        super::file::exists(place, self.file_of_images().name())
    }

    /// All of them, in the order of the files.
    pub fn records(&self) -> &[LayerRecord] {
        &self.records
    }

    /// The one with this id.
    pub fn get(&self, id: &LayerId) -> Option<&LayerRecord> {
        self.records.iter().find(|record| record.id == *id)
    }

    /// The one with this name.
    pub fn by_name(&self, name: &str) -> Option<&LayerRecord> {
        self.records.iter().find(|record| record.names.iter().any(|n| n == name))
    }

    /// The layers that stand directly on this one.
    pub fn children(&self, id: &LayerId) -> impl Iterator<Item = &LayerRecord> {
        self.records.iter().filter(move |record| record.parent.as_ref() == Some(id))
    }

    /// A layer and all below it, from the top to the base.
    ///
    /// Where a parent has no record here (it may be in another store), the chain
    /// ends; its last record then names that parent.
    ///
    /// # Errors
    ///
    /// If there is no layer `id`, or a layer is its own ancestor.
    pub fn chain(&self, id: &LayerId) -> Result<Vec<&LayerRecord>, RecordError> {
        let by_id: HashMap<_, _> = self.records.iter().map(|r| (&r.id, r)).collect();
        let top = by_id.get(id).ok_or_else(|| self.unknown(id))?;
        let mut chain = vec![*top];
        let mut below = top.parent.as_ref().and_then(|parent| by_id.get(parent));
        while let Some(record) = below {
            if chain.len() == self.records.len() {
                return Err(RecordError::Circle { id: id.clone() });
            }
            chain.push(record);
            below = record.parent.as_ref().and_then(|parent| by_id.get(parent));
        }
        Ok(chain)
    }

    /// The layers whose makers or removers have not finished.
    ///
    /// Nobody else is at work while the exclusive lock is held, so that under it
    /// these are leftovers of the dead, to be removed.
    pub fn incomplete(&self) -> Vec<LayerId> {
        let incomplete = self.records.iter().filter(|record| record.is_incomplete());
        incomplete.map(|record| record.id.clone()).collect()
    }

    /// The token of the last change; `None` where there is no lock file.
    ///
    /// # Errors
    ///
    /// If the lock file cannot be read.
    pub fn token(&self) -> Result<Option<Token>, RecordError> {
        self.lock.as_ref().map(|lock| self.place.within(lock.token())).transpose()
    }

    pub(super) fn unknown(&self, id: &LayerId) -> RecordError {
        RecordError::Unknown {
            file: self.place.path(LayerFile::Durable.name()),
            id: id.as_str().into(),
        }
    }
}

/// The layers, locked against changes.
#[derive(Debug)]
pub struct LayersRead<'s>(Layers<'s>);

impl<'s> Deref for LayersRead<'s> {
    type Target = Layers<'s>;

    fn deref(&self) -> &Layers<'s> {
        &self.0
    }
}

/// The layers, to be changed; nobody else reads or changes them meanwhile.
#[derive(Debug)]
pub struct LayersWrite<'s> {
    pub(super) layers: Layers<'s>,
    /// The records as they are on disk.
    saved: Vec<LayerRecord>,
    /// Files that are to be written whatever changed.
    damaged: Vec<LayerFile>,
}

impl<'s> Deref for LayersWrite<'s> {
    type Target = Layers<'s>;

    fn deref(&self) -> &Layers<'s> {
        &self.layers
    }
}

impl LayersWrite<'_> {
    /// All of them; nothing is written before [`LayersWrite::save`].
    pub fn records_mut(&mut self) -> &mut Vec<LayerRecord> {
        &mut self.layers.records
    }

    /// The one with this id, to be changed.
    pub fn get_mut(&mut self, id: &LayerId) -> Option<&mut LayerRecord> {
        self.layers.records.iter_mut().find(|record| record.id == *id)
    }

    /// Writes the files whose records changed: the token first, then each file
    /// as a whole. `layers.json` is durable on return.
    ///
    /// # Errors
    ///
    /// If two records have one id, or a file cannot be written. A later save
    /// tries again what was not written.
    pub fn save(&mut self) -> Result<(), RecordError> {
        let Layers { place, image_store, records, lock, image_lock } = &mut self.layers;
        check_ids(place, LayerFile::Durable.name(), records)?;
        names::make_unique(records, |record| &mut record.names);
        let changed: Vec<_> = LayerFile::ALL
            .into_iter()
            .filter(|&file| {
                self.damaged.contains(&file) || !of(file, records).eq(of(file, &self.saved))
            })
            .collect();
        if changed.is_empty() {
            return Ok(());
        }
        for lock in [lock, image_lock].into_iter().flatten() {
            place.within(lock.write_token())?;
        }
        for file in changed {
            let durability = match file {
                LayerFile::Durable | LayerFile::ImageStore => Durability::Durable,
                LayerFile::Volatile => Durability::Volatile,
            };
            // Records for a file that there is not are a mistake of the caller's.
            let place = place_of(file, place, *image_store).unwrap_or(place);
            let saved = save(place, file.name(), of(file, records), durability);
            if saved.is_err() {
                // What it holds now is not known: not even the old records are surely there.
                self.damaged.push(file);
            }
            saved?;
        }
        self.saved.clone_from(records);
        self.damaged.clear();
        Ok(())
    }

    /// Removes temporary files that killed writers of the records, or of data of layers that
    /// have one, left; tells how many.
    ///
    /// # Errors
    ///
    /// If the directory cannot be read, or a file in it not be removed.
    pub fn sweep(&self) -> Result<usize, RecordError> {
        let removed = LayerFile::ALL.into_iter().try_fold(0, |count, file| {
            let Some(place) = place_of(file, self.place, self.image_store) else {
                return Ok(count);
            };
            let removed = remove_stale_temporaries(place.writable()?, file.name());
            Ok::<_, RecordError>(count + place.within(removed)?)
        })?;
        let ids = self.records().iter().map(|record| record.id.as_str());
        Ok(removed + big_data::sweep(self.place, ids)?)
    }
}

/// The records of both files as those of one store.
fn merged(all: Vec<(LayerFile, Vec<LayerRecord>)>) -> Vec<LayerRecord> {
    let (mut records, mut seen) = (Vec::new(), HashSet::new());
    for (file, found) in all {
        for mut record in found {
            // A layer that changed its file may be in both: the first counts.
            if seen.insert(record.id.clone()) {
                record.file = file;
                records.push(record);
            }
        }
    }
    names::make_unique(&mut records, |record| &mut record.names);
    records
}

/// The records that belong into a file.
fn of(file: LayerFile, records: &[LayerRecord]) -> impl Iterator<Item = &LayerRecord> {
    records.iter().filter(move |record| record.file == file)
}
