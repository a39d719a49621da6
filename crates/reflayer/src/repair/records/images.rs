//! Records of images, from their documents.

use storage_core::{ImageId, ImageRecord, ImagesWrite};

use crate::Store;
use crate::check::is_unnamed;
use crate::documents::Documents;
use crate::repair::error::MendError;

impl Store {
    /// Adds a record for each image whose config is there; tells how many. A record of
    /// which there is no document speaks of nothing, and goes.
    pub(super) fn rebuild_images(
        images: &mut ImagesWrite<'_>,
        documents: &Documents,
    ) -> Result<usize, MendError> {
        let mut gone = Vec::new();
        for record in images.records() {
            if !record.big_data_names.is_empty() && images.keys_on_disk(&record.id)?.is_empty() {
                gone.push(record.id.clone());
            }
        }
        images.records_mut().retain(|record| !gone.contains(&record.id));
        let mut count = 0;
        for (id, found) in &documents.images {
            if images.get(id).is_some() {
                continue;
            }
            let mut record = ImageRecord::new(id.clone());
            record.digest = found.manifest;
            record.layer.clone_from(&found.top);
            record.metadata = "{}".into();
            if let Some(created) = &found.created {
                record.created = created.clone();
            }
            images.records_mut().push(record);
            for key in &found.keys {
                images.note_big_data(id, key)?;
            }
            count += 1;
        }
        Ok(count)
    }

    /// Sets right what a record says of its documents in three fields: a key that one of them
    /// has alone is that of a document which the others name.
    pub(super) fn settle_documents(
        images: &mut ImagesWrite<'_>,
        id: &ImageId,
    ) -> Result<(), MendError> {
        let there = images.keys_on_disk(id)?;
        let Some(record) = images.get_mut(id) else { return Ok(()) };
        let unnamed: Vec<String> =
            there.iter().filter(|key| is_unnamed(record, key)).cloned().collect();
        let ImageRecord { big_data_names, big_data_sizes, big_data_digests, .. } = record;
        if !unnamed.is_empty() {
            let is_known = |key: &String| {
                big_data_sizes.contains_key(key) || big_data_digests.contains_key(key)
            };
            big_data_names.retain(|key| there.contains(key) || is_known(key));
            big_data_names.extend(unnamed);
        }
        big_data_sizes.retain(|key, _| big_data_names.contains(key));
        big_data_digests.retain(|key, _| big_data_names.contains(key));
        // What one of the two still says of a document was compared with it.
        let half_known = |key: &&String| {
            big_data_sizes.contains_key(*key) != big_data_digests.contains_key(*key)
        };
        let half_known: Vec<String> = big_data_names.iter().filter(half_known).cloned().collect();
        for key in half_known {
            images.note_big_data(id, &key)?;
        }
        Ok(())
    }
}
