//! What is kept beside the records of images: manifests, configs, signatures.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;

use super::image_store::FILE;
use super::place::FILE_MODE;
use super::{ImageRecord, Images, ImagesWrite, RecordError, big_data};
use crate::atomic::Replacement;
use crate::dir::{sync, text_names};
use crate::{Digest, Durability, FsResultExt, ImageId, remove_stale_temporaries, remove_tree};

impl Images<'_> {
    /// Opens a big data item of an image for reading; `None` if there is none.
    ///
    /// # Errors
    ///
    /// If the file cannot be opened.
    pub fn open_big_data(&self, id: &ImageId, key: &str) -> Result<Option<File>, RecordError> {
        big_data::open(self.place, id.as_str(), key)
    }

    /// Reads a big data item of an image; `None` if there is none.
    ///
    /// The bytes are not compared with the digest in the record.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    pub fn read_big_data(&self, id: &ImageId, key: &str) -> Result<Option<Vec<u8>>, RecordError> {
        let Some(mut file) = self.open_big_data(id, key)? else { return Ok(None) };
        let mut bytes = Vec::new();
        let name = big_data::file_name(key)?;
        file.read_to_end(&mut bytes).during("read", self.place.path(id.as_str()).join(name))?;
        Ok(Some(bytes))
    }

    /// The keys of the big data that an id has on disk, whatever its record says.
    ///
    /// # Errors
    ///
    /// If its directory cannot be read.
    pub fn keys_on_disk(&self, id: &ImageId) -> Result<Vec<String>, RecordError> {
        big_data::keys(self.place, id.as_str())
    }

    /// Ids that have a directory but no record: leftovers.
    ///
    /// # Errors
    ///
    /// If the directory cannot be read.
    pub fn orphans(&self) -> Result<Vec<ImageId>, RecordError> {
        let Some(dir) = self.place.dir() else { return Ok(Vec::new()) };
        let mut names = text_names(dir).during("read directory", self.place.path(""))?;
        names.sort_unstable();
        let ids = names.iter().filter_map(|name| name.parse().ok());
        Ok(ids.filter(|id| self.get(id).is_none()).collect())
    }
}

impl ImagesWrite<'_> {
    /// Writes a big data item, durably, and notes it in the image's record, which
    /// must be there; the record is not saved.
    ///
    /// # Errors
    ///
    /// If there is no image `id`, the key cannot be a file name, or the file
    /// cannot be written.
    pub fn write_big_data(
        &mut self,
        id: &ImageId,
        key: &str,
        bytes: &[u8],
    ) -> Result<(), RecordError> {
        self.write_all_big_data(id, &[(key, bytes)])
    }

    /// Writes several big data items, with one flush of their directory.
    ///
    /// # Errors
    ///
    /// As for [`ImagesWrite::write_big_data`]; some items may be written then.
    pub fn write_all_big_data(
        &mut self,
        id: &ImageId,
        items: &[(&str, &[u8])],
    ) -> Result<(), RecordError> {
        self.get(id).ok_or_else(|| self.unknown(id))?;
        // Documents without any file of records are those of images that were lost.
        self.ensure_file()?;
        let place = self.images.place;
        let path = place.path(id.as_str());
        let dir = big_data::make(place, id.as_str())?;
        for (key, bytes) in items {
            let name = big_data::file_name(key)?;
            Replacement::prepare(dir.as_fd(), &name, *bytes, FILE_MODE, Durability::Durable)
                .and_then(Replacement::place)
                .map_err(|error| error.within(&path))?;
            if let Some(record) = self.get_mut(id) {
                note_big_data(record, key, bytes);
            }
        }
        Ok(sync(&dir).during("flush", path)?)
    }

    /// Takes out of the image's record what it says of items that will be written with other
    /// bytes; tells whether there were any. A record that was saved so is true before
    /// and after they are replaced.
    pub fn unsay_big_data(&mut self, id: &ImageId, items: &[(&str, &[u8])]) -> bool {
        let Some(record) = self.get_mut(id) else { return false };
        let differs = |key: &str, bytes: &[u8]| {
            let known = record.big_data_digests.get(key);
            known.is_some_and(|known| *known != Digest::of(bytes).into())
        };
        let stale: Vec<&str> =
            items.iter().filter(|(key, bytes)| differs(key, bytes)).map(|(key, _)| *key).collect();
        for key in &stale {
            record.big_data_sizes.remove(*key);
            record.big_data_digests.remove(*key);
        }
        !stale.is_empty()
    }

    /// Notes a big data item that is there already in the image's record, as if it were
    /// written now; the record is not saved.
    ///
    /// # Errors
    ///
    /// If the key cannot be a file name, or the file cannot be read.
    pub fn note_big_data(&mut self, id: &ImageId, key: &str) -> Result<(), RecordError> {
        if let Some(bytes) = self.read_big_data(id, key)?
            && let Some(record) = self.get_mut(id)
        {
            note_big_data(record, key, &bytes);
        }
        Ok(())
    }

    /// Takes the keys of big data that is not there from the image's record: it may be gone, or
    /// its key damaged; the record is not saved.
    ///
    /// # Errors
    ///
    /// If the image's directory cannot be read.
    pub fn forget_missing_big_data(&mut self, id: &ImageId) -> Result<(), RecordError> {
        let there = self.keys_on_disk(id)?;
        if let Some(record) = self.get_mut(id) {
            record.big_data_names.retain(|key| there.contains(key));
            record.big_data_sizes.retain(|key, _| there.contains(key));
            record.big_data_digests.retain(|key, _| there.contains(key));
        }
        Ok(())
    }

    /// Removes the big data of an image without a record.
    ///
    /// # Errors
    ///
    /// If the image has a record, which would lose its data, or something cannot
    /// be removed.
    pub fn remove_orphan(&self, id: &ImageId) -> Result<(), RecordError> {
        if self.get(id).is_some() {
            return Err(RecordError::InUse { file: self.place.path(FILE), id: id.as_str().into() });
        }
        let dir = self.place.writable()?;
        self.place.within(remove_tree(dir, id.as_str().as_bytes()))
    }

    /// Removes temporary files that killed writers of records and big data left; tells how many.
    ///
    /// # Errors
    ///
    /// If the directory cannot be read, or a file in it not be removed.
    pub fn sweep(&self) -> Result<usize, RecordError> {
        let dir = self.place.writable()?;
        let removed = self.place.within(remove_stale_temporaries(dir, FILE))?;
        let ids = self.records().iter().map(|record| record.id.as_str());
        Ok(removed + big_data::sweep(self.place, ids)?)
    }
}

fn note_big_data(record: &mut ImageRecord, key: &str, bytes: &[u8]) {
    if !record.big_data_names.iter().any(|known| known == key) {
        record.big_data_names.push(key.into());
    }
    let size = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
    record.big_data_sizes.insert(key.into(), size);
    record.big_data_digests.insert(key.into(), Digest::of(bytes).into());
}
