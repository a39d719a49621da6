//! What is wrong with more than single files: layers and documents are pulled again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use storage_core::{ImageId, ImageRecord, LayerId, Usage};

use super::error::MendError;
use super::origin::Origins;
use super::report::Notes;
use crate::Store;
use crate::check::{Problem, Survey, TAR_SPLIT};
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
        for problem in survey.structural() {
            let layer = problem.layer();
            if let Some(layer) = layer.as_ref().filter(|layer| mounted.contains(layer)) {
                notes.layer(layer, MendError::Mounted.to_string());
                continue;
            }
            if let (Problem::WrongLowers { .. }, Some(layer)) = (problem, &layer) {
                if let Err(error) = self.mend_lowers(layer) {
                    notes.layer(layer, error_chain(&error));
                }
                continue;
            }
            let Some(id) = pulled_again(problem) else { continue };
            if let Err(error) = self.forget_damaged(problem) {
                notes.id(&id, error_chain(&error));
                continue;
            }
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
            match self.pull_again(image, origins, notes) {
                Ok(layers) => new.extend(layers),
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

    /// Takes a file that cannot be read away, so that a pull sees that it is missing.
    fn forget_damaged(&self, problem: &Problem) -> Result<(), MendError> {
        let tar_split = match problem {
            Problem::Changed { layer, .. } | Problem::Unreadable { layer, .. } => {
                Some((layer.clone(), TAR_SPLIT))
            }
            Problem::DamagedBigData { key, .. } => {
                problem.layer().map(|layer| (layer, key.as_str()))
            }
            _ => None,
        };
        let Some((layer, key)) = tar_split else { return Ok(()) };
        let layers = self.layers.write()?;
        if layers.get(&layer).is_none() {
            return Ok(());
        }
        if key == TAR_SPLIT {
            layers.remove_tar_split(&layer)?;
        } else {
            layers.remove_big_data_file(&layer, key)?;
        }
        Ok(())
    }

    fn pull_again(
        &self,
        image: &ImageRecord,
        origins: &mut Origins<'_>,
        notes: &mut Notes,
    ) -> Result<Vec<LayerId>, MendError> {
        let origin = origins.of_image(image).map_err(MendError::Unreachable)?;
        let Some(name) = image.names.first() else { return Err(MendError::Nameless) };
        // Single files are mended by who calls this.
        let options =
            PullOptions { name: Some(name.clone()), trust_present: true, ..PullOptions::default() };
        let quiet: Arc<dyn Progress + Send + Sync> = Arc::new(());
        let pulled = self.pull(&*origin.source, &origin.reference, &options, &quiet)?;
        let requests = pulled.layers.iter().map(|layer| layer.requests).sum();
        notes.used(Usage { bytes: pulled.bytes.fetched, requests });
        let new = pulled.layers.into_iter().filter(|layer| layer.path != LayerWay::Present);
        Ok(new.map(|layer| layer.layer_id).collect())
    }
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
