//! Records of images, from their documents.

use storage_core::{ImageRecord, ImagesWrite};

use crate::Store;
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
}
