//! Records of layers and images, made again from what is on disk.

mod fields;
mod ids;
mod images;
mod layers;
mod mounts;
mod parents;

use std::collections::BTreeSet;

use storage_core::{LayerId, LayerRecord, Rescued};

use super::error::MendError;
use super::report::Notes;
use crate::Store;
use crate::check::{CheckError, Problem, lost_layers};
use crate::documents::Documents;
use crate::pull::error_chain;

/// What is said of the records of containers.
const NOT_OURS: &str = "only the tool that made the containers can restore it; left alone";

impl Store {
    /// Rebuilds the files of records that are damaged, and says of each what is lost.
    ///
    /// Records that can still be read are taken as they are, if what they speak of is
    /// there. The others come from the directories of the layers, what is kept beside
    /// them, and the documents of the images, which name the layers and their digests.
    /// Names of images are nowhere else, and the records of containers are not ours. Mounts
    /// are those that the kernel has.
    pub(super) fn mend_records(&self, damaged: &[Problem], notes: &mut Notes) {
        let files = damaged.iter().filter_map(|problem| match problem {
            Problem::DamagedRecords { file, .. } => Some(file.display().to_string()),
            _ => None,
        });
        let (containers, others): (Vec<_>, Vec<_>) =
            files.partition(|file| file.starts_with("overlay-containers"));
        for file in containers {
            notes.id(&file, NOT_OURS);
        }
        let (mounts, others): (Vec<_>, Vec<_>) =
            others.into_iter().partition(|file| file.ends_with("mountpoints.json"));
        for file in mounts {
            match self.rebuild_mounts() {
                Ok(said) => notes.how(&file, said),
                Err(error) => notes.failed(&file, &error),
            }
        }
        if others.is_empty() {
            return;
        }
        match self.rebuild_records() {
            Ok(said) => {
                for file in others {
                    let said = if file.starts_with("overlay-layers") { &said.0 } else { &said.1 };
                    notes.how(&file, said.clone());
                }
            }
            Err(error) => {
                for file in &others {
                    notes.failed(file, &error);
                }
            }
        }
    }

    /// Gives layers that an image or a container needs, and that have a tree and no record,
    /// their records back: one bit in an id loses one.
    pub(super) fn adopt_lost_layers(
        &self,
        problems: &[Problem],
        notes: &mut Notes,
    ) -> Result<(), CheckError> {
        let orphans: BTreeSet<String> = problems
            .iter()
            .filter_map(|problem| match problem {
                Problem::Orphan { id } => Some(id.clone()),
                _ => None,
            })
            .collect();
        if orphans.is_empty() {
            return Ok(());
        }
        let adopted = match self.adopt(&orphans) {
            Ok(adopted) => adopted,
            Err(error) => {
                tracing::warn!(error = error_chain(&error), "lost layers may stay lost");
                // Those that are found again all the same may be lost to a power cut.
                let layers = self.layers.read()?;
                let found =
                    layers.records().iter().filter(|record| orphans.contains(record.id.as_str()));
                let found: Vec<LayerId> = found.map(|record| record.id.clone()).collect();
                for id in &found {
                    notes.failed(id.as_str(), &error);
                }
                found
            }
        };
        for id in &adopted {
            notes.how(id.as_str(), "an image or a container needs it: it has its record again");
        }
        Ok(())
    }

    fn adopt(&self, orphans: &BTreeSet<String>) -> Result<Vec<LayerId>, MendError> {
        let mut layers = self.layers.write()?;
        let documents = Documents::of_recorded(&*self.images.write()?)?;
        let of_containers = lost_layers(&self.containers.read()?, layers.records());
        let needed = |id: &LayerId| {
            let is_needed = documents.layers.contains_key(id) || of_containers.contains(id);
            is_needed && orphans.contains(id.as_str())
        };
        let lost = self.driver.layer_dirs()?.into_iter().filter(needed);
        let mut adopted = self.set_layer_ids(&mut layers, lost)?;
        adopted.extend(self.rebuild_layers(&mut layers, &documents, needed)?);
        layers.save()?;
        Ok(adopted)
    }

    /// What is to be said of the layers, and of the images.
    fn rebuild_records(&self) -> Result<(String, String), MendError> {
        let (mut layers, rescued_layers) = self.layers.rescue()?;
        let (mut images, rescued_images) = self.images.rescue()?;
        let documents = Documents::of_all(&images)?;
        // A file that is sound is left as it is.
        let lost_layers = !rescued_layers.kept.is_empty() || self.lacks_records(&layers)?;
        let mut new_layers = Vec::new();
        if lost_layers {
            // Layers of containers may be where no image has any.
            let lacks_tree = |record: &LayerRecord| match self.driver.diff(&record.id) {
                Ok(_) => false,
                Err(error) => error.kind() == std::io::ErrorKind::NotFound,
            };
            layers.records_mut().retain(|record| !lacks_tree(record));
            new_layers = self.rebuild_layers(&mut layers, &documents, |_| true)?;
        }
        let lost_images = !rescued_images.kept.is_empty() || images.are_lost()?;
        let new_images =
            if lost_images { Self::rebuild_images(&mut images, &documents)? } else { 0 };
        layers.save()?;
        images.save()?;
        let of_layers = said(&rescued_layers, new_layers.len(), "names, labels and free texts");
        let of_images = said(&rescued_images, new_images, "names: pull them again to name them");
        Ok((of_layers, of_images))
    }
}

fn said(rescued: &Rescued, new: usize, lost: &str) -> String {
    let read = rescued.records;
    let rebuilt = format!("{read} records as they were, {new} from what is on disk");
    let lost = (new > 0).then(|| format!("these lost their {lost}"));
    let kept = rescued.kept.iter().map(|kept| format!("the damaged file is {}", kept.display()));
    [rebuilt].into_iter().chain(lost).chain(kept).collect::<Vec<_>>().join("; ")
}
