//! Single fields of records that say something else than the images' documents.

use storage_core::{LayerId, RecordError};

use super::NOT_OURS;
use crate::Store;
use crate::check::{Problem, has_manifest, has_wrong_top};
use crate::documents::Documents;
use crate::repair::error::MendError;
use crate::repair::report::Notes;

impl Store {
    /// Sets fields right that were found to be wrong.
    pub(in crate::repair) fn mend_fields(&self, problems: &[Problem], notes: &mut Notes) {
        let wrong = |problem: &&Problem| matches!(problem, Problem::WrongRecord { .. });
        if problems.iter().any(|problem| wrong(&problem))
            && let Err(error) = self.set_fields()
        {
            for problem in problems.iter().filter(wrong) {
                if let Problem::WrongRecord { id, .. } = problem {
                    notes.failed(id, &error);
                }
            }
        }
    }

    /// Says of wrong records of containers that they are left alone.
    pub(in crate::repair) fn leave_containers(
        &self,
        problems: &[Problem],
        notes: &mut Notes,
    ) -> Result<(), RecordError> {
        let containers = self.containers.read()?;
        for problem in problems {
            if let Problem::WrongRecord { id, .. } = problem
                && containers.records().iter().any(|record| record.id.as_str() == id)
            {
                notes.id(id, NOT_OURS);
            }
        }
        Ok(())
    }

    fn set_fields(&self) -> Result<(), MendError> {
        let mut layers = self.layers.write()?;
        let mut images = self.images.write()?;
        let documents = Documents::of_recorded(&images)?;
        let ids: Vec<LayerId> = layers.records().iter().map(|record| record.id.clone()).collect();
        for id in ids {
            let keys = layers.keys_on_disk(&id)?;
            let Some(record) = layers.get_mut(&id) else { continue };
            if let Some(document) = documents.layers.get(&id) {
                record.diff_digest = Some(document.diff_id);
                record.parent.clone_from(&document.parent);
            }
            if record.big_data_names.is_empty() {
                record.big_data_names = keys;
            }
        }
        for (id, document) in &documents.images {
            Self::settle_documents(&mut images, id)?;
            let Some(record) = images.get_mut(id) else { continue };
            if has_wrong_top(record, document.top.as_ref(), &layers) {
                record.layer.clone_from(&document.top);
            }
            if record.digest.is_some_and(|digest| !has_manifest(record, &digest)) {
                record.digest = document.manifest.or(record.digest);
            }
            if record.big_data_names.is_empty() {
                for key in &document.keys {
                    images.note_big_data(id, key)?;
                }
            }
        }
        layers.save()?;
        Ok(images.save()?)
    }
}
