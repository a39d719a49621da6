//! Single fields of records that say something else than the images' documents.

use storage_core::LayerId;

use crate::Store;
use crate::check::Problem;
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
            let reason = crate::pull::error_chain(&error);
            for problem in problems.iter().filter(wrong) {
                if let Problem::WrongRecord { id, .. } = problem {
                    notes.id(id, reason.clone());
                }
            }
        }
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
            let Some(record) = images.get_mut(id) else { continue };
            if record.layer.is_none() {
                record.layer.clone_from(&document.top);
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
