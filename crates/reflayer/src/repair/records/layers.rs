//! Records of layers, from their directories.

use std::collections::BTreeSet;

use storage_core::{LayerCompression, LayerId, LayerRecord, LayersWrite};
use tarball::SplitPart;

use crate::Store;
use crate::check::LayerData;
use crate::documents::{Blob, Documents};
use crate::pull::{TOC_KEY, recorded_ids};
use crate::repair::error::MendError;

impl Store {
    /// Adds a record for each of the chosen layers that has a tree and none; tells which.
    pub(super) fn rebuild_layers(
        &self,
        layers: &mut LayersWrite<'_>,
        documents: &Documents,
        choose: impl Fn(&LayerId) -> bool,
    ) -> Result<Vec<LayerId>, MendError> {
        let mut new = Vec::new();
        for id in self.driver.layer_dirs()?.into_iter().filter(choose) {
            // What has no tree is left to be collected.
            if layers.get(&id).is_none() && self.driver.diff(&id).is_ok() {
                new.push(self.rebuild_layer(&id, layers, documents)?);
            }
        }
        // A parent comes before its children, as if they had been made in order.
        let ids = new.iter().map(|record: &LayerRecord| record.id.clone()).collect();
        while !new.is_empty() {
            let waits = |record: &LayerRecord| {
                record.parent.as_ref().is_some_and(|parent| new.iter().any(|r| r.id == *parent))
            };
            let next = new.iter().position(|record| !waits(record)).unwrap_or(0);
            let record = new.remove(next);
            layers.records_mut().push(record);
        }
        Ok(ids)
    }

    fn rebuild_layer(
        &self,
        id: &LayerId,
        layers: &LayersWrite<'_>,
        documents: &Documents,
    ) -> Result<LayerRecord, MendError> {
        let mut record = LayerRecord::new(id.clone());
        // The directories of layers are looked at where images have theirs.
        record.file = layers.file_of_images();
        record.big_data_names = layers.keys_on_disk(id)?;
        match documents.layers.get(id) {
            Some(document) => {
                record.parent.clone_from(&document.parent);
                record.diff_digest = Some(document.diff_id);
                if let Some(blob) = &document.blob {
                    describe_blob(&mut record, blob);
                }
                self.describe_content(&mut record);
            }
            // A container's, or one of an image that was never finished.
            None => record.parent = self.driver.lowers(id)?.into_iter().next(),
        }
        Ok(record)
    }

    /// What the tar-split tells, as a pull would have recorded it.
    fn describe_content(&self, record: &mut LayerRecord) {
        let data = LayerData::new(self, &record.id);
        let Ok(Some(mut parts)) = data.tar_split() else { return };
        let (mut uids, mut gids) = (BTreeSet::new(), BTreeSet::new());
        for part in parts.by_ref() {
            match part {
                Ok(SplitPart::File { entry, .. }) if !crate::unpack::is_whiteout(&entry) => {
                    uids.insert(entry.uid);
                    gids.insert(entry.gid);
                }
                Ok(_) => {}
                // The check says so.
                Err(_) => return,
            }
        }
        record.diff_size = i64::try_from(parts.tar_size()).ok();
        record.uid_set = recorded_ids(&uids);
        record.gid_set = recorded_ids(&gids);
    }
}

/// How the layer came, as far as its data and a manifest tell.
fn describe_blob(record: &mut LayerRecord, blob: &Blob) {
    if record.big_data_names.iter().any(|key| key == TOC_KEY) {
        record.toc_digest = blob.toc_digest;
        return;
    }
    record.compressed_diff_digest = Some(blob.digest);
    record.compressed_size = Some(blob.size);
    let compressed = |by: &str| blob.media_type.ends_with(by);
    record.compression = match () {
        () if compressed("gzip") => Some(LayerCompression::Gzip),
        () if compressed("zstd") => Some(LayerCompression::Zstd),
        () => None,
    };
}
