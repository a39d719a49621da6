//! Ids of records in which one digit is wrong.

use storage_core::{ImagesWrite, LayerId, LayersWrite};

use crate::Store;
use crate::check::Problem;
use crate::documents::Documents;
use crate::repair::error::MendError;
use crate::repair::report::Notes;

impl Store {
    /// Gives lost layers back the records that differ from theirs by one digit of the id, and
    /// speak of no layer that is there: so nothing else of them is lost. Tells which.
    pub(super) fn set_layer_ids(
        &self,
        layers: &mut LayersWrite<'_>,
        lost: impl Iterator<Item = LayerId>,
    ) -> Result<Vec<LayerId>, MendError> {
        let mut found = Vec::new();
        for id in lost {
            for record in layers.records_mut() {
                let is_close = differs_by_one(record.id.as_str(), id.as_str());
                if is_close && !self.driver.has(&record.id)? {
                    record.id = id.clone();
                    found.push(id);
                    break;
                }
            }
        }
        Ok(found)
    }

    /// The same for images, by their documents; where an image has another record by now, it
    /// gets the names of the wrong one, which goes.
    pub(in crate::repair) fn mend_image_ids(&self, problems: &[Problem], notes: &mut Notes) {
        let lacking = problems.iter().filter_map(|problem| match problem {
            Problem::MissingBigData { id, .. } => Some(id),
            _ => None,
        });
        let lacking: Vec<&String> = lacking.collect();
        if lacking.is_empty() {
            return;
        }
        let set = self.images.write().map_err(MendError::from).and_then(|mut images| {
            set_image_ids(&mut images)?;
            Ok(images.save()?)
        });
        if let Err(error) = set {
            for id in lacking {
                notes.failed(id, &error);
            }
        }
    }
}

fn set_image_ids(images: &mut ImagesWrite<'_>) -> Result<(), MendError> {
    let documents = Documents::of_all(images)?;
    for wrong in images.records().to_vec() {
        if !images.keys_on_disk(&wrong.id)?.is_empty() {
            continue;
        }
        let mut ids = documents.images.keys();
        let Some(id) = ids.find(|id| differs_by_one(wrong.id.as_str(), id.as_str())) else {
            continue;
        };
        if let Some(record) = images.get_mut(id) {
            record.names.extend(wrong.names);
            images.records_mut().retain(|record| record.id != wrong.id);
        } else if let Some(record) = images.get_mut(&wrong.id) {
            record.id = id.clone();
        }
    }
    Ok(())
}

fn differs_by_one(a: &str, b: &str) -> bool {
    a.bytes().zip(b.bytes()).filter(|(a, b)| a != b).count() == 1
}
