//! The containers of a store, to be read.

use std::os::fd::AsFd;

use super::file::{check_ids, load};
use super::place::Place;
use super::{ContainerRecord, RecordError};
use crate::{ContainerId, ImageId, LayerId, Lock};

pub(super) const VOLATILE_CONTAINERS: &str = "volatile-containers.json";

/// The records in `overlay-containers` below a graph root.
#[derive(Debug)]
pub struct ContainerStore {
    place: Place,
}

impl ContainerStore {
    /// Opens the store; makes its directory if it is missing.
    ///
    /// # Errors
    ///
    /// If the directory can be neither opened nor made.
    pub fn open(root: impl AsFd) -> Result<Self, RecordError> {
        Place::open(root, "overlay-containers", "containers.lock").map(|place| Self { place })
    }

    /// Opens the store and never creates anything.
    ///
    /// # Errors
    ///
    /// If the directory exists and cannot be opened.
    pub fn open_read_only(root: impl AsFd) -> Result<Self, RecordError> {
        Place::open_read_only(root, "overlay-containers", "containers.lock")
            .map(|place| Self { place })
    }

    /// Reads the records under a shared lock.
    ///
    /// # Errors
    ///
    /// If the lock cannot be had, or a record file is damaged.
    pub fn read(&self) -> Result<Containers, RecordError> {
        self.load(self.place.lock_shared()?)
    }

    /// Reads the records under the exclusive lock, so that no container is made
    /// while layers or images are removed.
    ///
    /// # Errors
    ///
    /// If the store was opened read-only, or as for [`ContainerStore::read`].
    pub fn hold(&self) -> Result<Containers, RecordError> {
        self.load(Some(self.place.lock_exclusive()?))
    }

    fn load(&self, lock: Option<Lock>) -> Result<Containers, RecordError> {
        let name = "containers.json";
        let mut records = load(&self.place, name)?;
        records.extend(load(&self.place, VOLATILE_CONTAINERS)?);
        check_ids(&self.place, name, &records)?;
        Ok(Containers { records, _lock: lock })
    }
}

/// The containers as they are while the lock is held.
#[derive(Debug)]
pub struct Containers {
    records: Vec<ContainerRecord>,
    _lock: Option<Lock>,
}

impl Containers {
    /// All of them, durable ones first.
    pub fn records(&self) -> &[ContainerRecord] {
        &self.records
    }

    /// The one with this id.
    pub fn get(&self, id: &ContainerId) -> Option<&ContainerRecord> {
        self.records.iter().find(|record| record.id == *id)
    }

    /// Those that were made from an image.
    pub fn of_image(&self, image: &ImageId) -> impl Iterator<Item = &ContainerRecord> {
        self.records.iter().filter(move |record| record.image.as_ref() == Some(image))
    }

    /// The one that writes to a layer.
    pub fn of_layer(&self, layer: &LayerId) -> Option<&ContainerRecord> {
        self.records.iter().find(|record| record.layer.as_ref() == Some(layer))
    }
}
