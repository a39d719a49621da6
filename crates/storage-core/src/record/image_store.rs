//! The images of a store.

use std::ops::Deref;
use std::os::fd::AsFd;

use super::file::{check_ids, exists, load, save};
use super::place::Place;
use super::rescue::{Rescued, rescue};
use super::{ImageRecord, RecordError, names};
use crate::{BlobDigest, Durability, ImageId, Lock, Token};

/// The records in `overlay-images` below a graph root, and their big data.
#[derive(Debug)]
pub struct ImageStore {
    place: Place,
}

const DIR: &str = "overlay-images";
const LOCK: &str = "images.lock";
pub(super) const FILE: &str = "images.json";

impl ImageStore {
    /// Opens the store; makes its directory if it is missing.
    ///
    /// # Errors
    ///
    /// If the directory can be neither opened nor made.
    pub fn open(root: impl AsFd) -> Result<Self, RecordError> {
        Place::open(root, DIR, LOCK).map(|place| Self { place })
    }

    /// Opens an additional store, perhaps on a read-only filesystem; nothing is
    /// ever created, and what is missing counts as empty.
    ///
    /// # Errors
    ///
    /// If the directory exists and cannot be opened.
    pub fn open_read_only(root: impl AsFd) -> Result<Self, RecordError> {
        Place::open_read_only(root, DIR, LOCK).map(|place| Self { place })
    }

    /// Reads the records under a shared lock.
    ///
    /// # Errors
    ///
    /// If the lock cannot be had, or the record file is damaged, or it is missing though
    /// there are images. In a store that was opened read-only it may be missing.
    pub fn read(&self) -> Result<ImagesRead<'_>, RecordError> {
        Images::load(&self.place, self.place.lock_shared()?).map(ImagesRead)
    }

    /// Reads the records under the exclusive lock, to change them.
    ///
    /// # Errors
    ///
    /// If the store was opened read-only, or as for [`ImageStore::read`].
    pub fn write(&self) -> Result<ImagesWrite<'_>, RecordError> {
        let lock = self.place.lock_exclusive()?;
        let images = Images::load(&self.place, Some(lock))?;
        Ok(ImagesWrite { saved: images.records.clone(), images, damaged: false })
    }

    /// Like [`ImageStore::write`], for a file that is damaged or missing; as
    /// [`LayerStore::rescue`](crate::LayerStore::rescue) does for layers.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn rescue(&self) -> Result<(ImagesWrite<'_>, Rescued), RecordError> {
        let lock = self.place.lock_exclusive()?;
        let mut rescued = Rescued::default();
        let (mut records, damaged) = rescue(&self.place, FILE, &mut rescued)?;
        names::make_unique(&mut records, |record: &mut ImageRecord| &mut record.names);
        let images = Images { place: &self.place, records, lock: Some(lock) };
        let damaged = damaged || images.are_lost()?;
        Ok((ImagesWrite { saved: images.records.clone(), images, damaged }, rescued))
    }
}

/// The images as they are while a lock is held.
#[derive(Debug)]
pub struct Images<'s> {
    pub(super) place: &'s Place,
    pub(super) records: Vec<ImageRecord>,
    lock: Option<Lock>,
}

impl<'s> Images<'s> {
    fn load(place: &'s Place, lock: Option<Lock>) -> Result<Self, RecordError> {
        let mut records: Vec<ImageRecord> = load(place, FILE)?;
        check_ids(place, FILE, &records)?;
        names::make_unique(&mut records, |record| &mut record.names);
        let images = Self { place, records, lock };
        // What an additional store lacks counts as empty: nothing is changed there.
        if !place.is_read_only() && images.are_lost()? {
            return Err(RecordError::Lost { file: place.path(FILE) });
        }
        Ok(images)
    }

    /// Whether there is no file of records, and yet there are directories of images: the
    /// file always comes before the first of them.
    ///
    /// # Errors
    ///
    /// If that cannot be told.
    pub fn are_lost(&self) -> Result<bool, RecordError> {
        let is_missing = self.records.is_empty() && !exists(self.place, FILE)?;
        Ok(is_missing && !self.orphans()?.is_empty())
    }

    /// All of them, in the order of the file.
    pub fn records(&self) -> &[ImageRecord] {
        &self.records
    }

    /// The one with this id.
    pub fn get(&self, id: &ImageId) -> Option<&ImageRecord> {
        self.records.iter().find(|record| record.id == *id)
    }

    /// The one with this full name.
    pub fn by_name(&self, name: &str) -> Option<&ImageRecord> {
        self.records.iter().find(|record| record.names.iter().any(|n| n == name))
    }

    /// Those with a manifest of this digest.
    pub fn by_digest(&self, digest: &BlobDigest) -> impl Iterator<Item = &ImageRecord> {
        self.records.iter().filter(move |record| record.has_digest(digest))
    }

    /// The token of the last change; `None` where there is no lock file.
    ///
    /// # Errors
    ///
    /// If the lock file cannot be read.
    pub fn token(&self) -> Result<Option<Token>, RecordError> {
        self.lock.as_ref().map(|lock| self.place.within(lock.token())).transpose()
    }

    pub(super) fn unknown(&self, id: &ImageId) -> RecordError {
        RecordError::Unknown { file: self.place.path(FILE), id: id.as_str().into() }
    }
}

/// The images, locked against changes.
#[derive(Debug)]
pub struct ImagesRead<'s>(Images<'s>);

impl<'s> Deref for ImagesRead<'s> {
    type Target = Images<'s>;

    fn deref(&self) -> &Images<'s> {
        &self.0
    }
}

/// The images, to be changed; nobody else reads or changes them meanwhile.
#[derive(Debug)]
pub struct ImagesWrite<'s> {
    pub(super) images: Images<'s>,
    /// The records as they are on disk.
    saved: Vec<ImageRecord>,
    /// Whether the file is to be written whatever changed.
    damaged: bool,
}

impl<'s> Deref for ImagesWrite<'s> {
    type Target = Images<'s>;

    fn deref(&self) -> &Images<'s> {
        &self.images
    }
}

impl ImagesWrite<'_> {
    /// All of them; nothing is written before [`ImagesWrite::save`].
    ///
    /// Names are better given with [`ImagesWrite::set_names`].
    pub fn records_mut(&mut self) -> &mut Vec<ImageRecord> {
        &mut self.images.records
    }

    /// The one with this id, to be changed.
    pub fn get_mut(&mut self, id: &ImageId) -> Option<&mut ImageRecord> {
        self.images.records.iter_mut().find(|record| record.id == *id)
    }

    /// Writes the records if they changed: the token first, then the file as a
    /// whole, durably.
    ///
    /// # Errors
    ///
    /// If two records have one id, or a file cannot be written. A later save
    /// tries again.
    pub fn save(&mut self) -> Result<(), RecordError> {
        let Images { place, records, lock } = &mut self.images;
        check_ids(place, FILE, records)?;
        names::make_unique(records, |record| &mut record.names);
        if *records == self.saved && !self.damaged {
            return Ok(());
        }
        if let Some(lock) = lock {
            place.within(lock.write_token())?;
        }
        save(place, FILE, &*records, Durability::Durable)?;
        self.saved.clone_from(records);
        self.damaged = false;
        Ok(())
    }

    /// Makes the file as it was read, without what has changed, if there is none.
    pub(super) fn ensure_file(&self) -> Result<(), RecordError> {
        let place = self.images.place;
        if exists(place, FILE)? {
            return Ok(());
        }
        save(place, FILE, &self.saved, Durability::Durable)
    }

    /// Drops an image: its record is removed and all changes are saved, then its
    /// big data is removed.
    ///
    /// # Errors
    ///
    /// If there is no image `id`, or as for [`ImagesWrite::save`], or if the big
    /// data cannot be removed; it is an orphan then.
    pub fn remove(&mut self, id: &ImageId) -> Result<ImageRecord, RecordError> {
        let found = self.records.iter().position(|record| record.id == *id);
        let index = found.ok_or_else(|| self.unknown(id))?;
        let record = self.images.records.remove(index);
        if let Err(error) = self.save() {
            self.images.records.insert(index, record);
            return Err(error);
        }
        self.remove_orphan(id)?;
        Ok(record)
    }
}
