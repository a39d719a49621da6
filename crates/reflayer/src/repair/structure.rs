//! What is wrong with more than single files: layers and documents are pulled again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use storage_core::{ImageId, ImageRecord, LayerId, Usage};

use super::error::MendError;
use super::origin::Origins;
use super::report::Notes;
use crate::Store;
use crate::check::{Problem, Survey};
use crate::progress::Progress;
use crate::pull::{INDEX_KEY, error_chain};
use crate::{LayerWay, PullOptions};

impl Store {
    /// Mends what needs no single file, and gives the layers that are new.
    pub(super) fn mend_structure(
        &self,
        survey: &Survey,
        mounted: &BTreeSet<LayerId>,
        origins: &mut Origins<'_>,
        notes: &mut Notes,
    ) -> BTreeSet<LayerId> {
        let mut images: BTreeMap<ImageId, BTreeSet<String>> = BTreeMap::new();
        let mut unusable = BTreeSet::new();
        for problem in survey.structural() {
            let layer = problem.layer();
            if let Some(layer) = layer.as_ref().filter(|layer| mounted.contains(layer)) {
                notes.layer(layer, MendError::Mounted.to_string());
                continue;
            }
            if let (Problem::WrongLowers { .. }, Some(layer)) = (problem, &layer) {
                if let Err(error) = self.mend_lowers(layer) {
                    notes.failed(layer.as_str(), &error);
                }
                continue;
            }
            let Some(id) = pulled_again(problem) else { continue };
            unusable.extend(layer.filter(|_| deceives(problem)));
            let harmed = survey.harmed(problem);
            if harmed.is_empty() {
                notes.id(&id, "no image stands on it: `gc --all` removes it");
            }
            for image in harmed {
                images.entry(image).or_default().insert(id.clone());
            }
        }
        let mut new = BTreeSet::new();
        for (image, ids) in images {
            let Some(image) = survey.images.iter().find(|record| record.id == image) else {
                continue;
            };
            match self.pull_again(image, &unusable, origins, notes) {
                Ok(layers) => {
                    unusable.retain(|layer| !layers.contains(layer));
                    new.extend(layers);
                }
                Err(error @ MendError::Pull(_)) => {
                    for id in &ids {
                        notes.failed(id, &error);
                    }
                }
                // Another image on the same layer may do better.
                Err(error) => ids.iter().for_each(|id| notes.id(id, error_chain(&error))),
            }
        }
        new
    }

    fn mend_lowers(&self, layer: &LayerId) -> Result<(), MendError> {
        let layers = self.layers.write()?;
        self.restate_layer(&layers, layer)?;
        Ok(self.driver.sync_dirs()?)
    }

    fn pull_again(
        &self,
        image: &ImageRecord,
        unusable: &BTreeSet<LayerId>,
        origins: &mut Origins<'_>,
        notes: &mut Notes,
    ) -> Result<Vec<LayerId>, MendError> {
        let origin = origins.of_image(image).map_err(MendError::Unreachable)?;
        let Some(name) = image.names.first() else { return Err(MendError::Nameless) };
        // Single files are mended by who calls this.
        let options = PullOptions {
            name: Some(name.clone()),
            trust_present: true,
            unusable: unusable.clone(),
            ..PullOptions::default()
        };
        let quiet: Arc<dyn Progress + Send + Sync> = Arc::new(());
        let pulled = self.pull(&*origin.source, &origin.reference, &options, &quiet)?;
        let requests = pulled.layers.iter().map(|layer| layer.requests).sum();
        notes.used(Usage { bytes: pulled.bytes.fetched, requests });
        let new = pulled.layers.into_iter().filter(|layer| layer.path != LayerWay::Present);
        Ok(new.map(|layer| layer.layer_id).collect())
    }
}

/// Whether a layer seems to be whole to who does not look into it.
fn deceives(problem: &Problem) -> bool {
    matches!(
        problem,
        Problem::Changed { .. } | Problem::Unreadable { .. } | Problem::DamagedBigData { .. }
    )
}

/// The layer or image that has to be pulled again, if that can help.
pub(crate) fn pulled_again(problem: &Problem) -> Option<String> {
    match problem {
        Problem::MissingBigData { id, key } | Problem::DamagedBigData { id, key } => {
            (key != INDEX_KEY).then(|| id.clone())
        }
        Problem::MissingTree { layer, .. }
        | Problem::MissingParent { layer, .. }
        | Problem::MissingLayer { layer, .. }
        | Problem::Incomplete { layer }
        | Problem::Unreadable { layer, .. }
        | Problem::Changed { layer, .. } => Some(layer.to_string()),
        Problem::WrongLowers { .. }
        | Problem::WrongRecord { .. }
        | Problem::Orphan { .. }
        | Problem::File { .. }
        | Problem::DamagedRecords { .. } => None,
    }
}
