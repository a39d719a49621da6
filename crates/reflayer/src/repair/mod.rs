//! Mending what a check finds, with as few bytes as that takes.

mod blob;
mod content;
mod error;
mod index;
mod layer;
mod origin;
mod place;
mod plan;
mod present;
mod records;
mod report;
mod stage;
mod structure;

use transport::{ImageSource, Platform, Reference};

use crate::check::{CheckError, CheckLevel, Finding, Problem};
use crate::{GarbageOptions, Store};
use origin::{BlobsOfImages, Origins};
use report::Notes;

pub(crate) use error::MendError;
pub(crate) use index::{expect_files_of, index_of_tree};
pub use report::{Mended, RepairReport};
pub(crate) use structure::pulled_again;

/// What opens the places that images come from.
pub type Opener<'a> = dyn Fn(&Reference) -> Result<Box<dyn ImageSource>, Box<dyn std::error::Error + Send + Sync>>
    + 'a;

/// How a store is repaired.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RepairOptions {
    /// How closely to look before, and afterwards at what was touched.
    pub level: CheckLevel,
    /// Where images come from, before the registries that their names tell of. What is
    /// there is used only for images with the same id.
    pub from: Vec<Reference>,
    /// What to choose from an index of `from`.
    pub platform: Platform,
}

impl Default for RepairOptions {
    fn default() -> Self {
        let level = CheckLevel::Content;
        Self { level, from: Vec::new(), platform: Platform::of_machine() }
    }
}

impl Store {
    /// Checks the store, and mends what it can of what is found.
    ///
    /// Damaged files are made beside their layer, from a file of any layer that has the
    /// same digest, else from the layer's blob: its very ranges where the layer has a
    /// TOC, else the whole blob, of which only these files are kept. They are on disk
    /// before they are renamed into their places. Wrong attributes are set on
    /// descriptors. What is sound is not touched. Layers that lack their tree or what is
    /// kept beside it, and documents of images, are pulled again, which takes files
    /// from the old tree where it can. Leftovers are removed as by
    /// [`Store::collect_garbage`].
    ///
    /// Records of layers and images that are damaged are rebuilt before all else, from
    /// what can be read of them and from what is on disk; the damaged file stays beside
    /// the new one. The names of images are then lost, if their records are.
    ///
    /// A layer that is mounted, or below one that is, is left alone and reported: an
    /// overlay must not change under a mount.
    ///
    /// # Errors
    ///
    /// If the store cannot be looked at. What could not be mended is in the report,
    /// with the reason.
    pub fn repair(
        &self,
        options: &RepairOptions,
        open: &Opener<'_>,
    ) -> Result<RepairReport, CheckError> {
        let mut notes = Notes::default();
        let mut origins = Origins::new(options, open);
        let damaged = self.damaged_records()?;
        self.mend_records(&damaged, &mut notes);
        let records = self.survey(CheckLevel::Records, |_| false)?;
        self.mend_image_ids(&records.problems, &mut notes);
        self.mend_parents(&records.problems, &mut notes);
        self.adopt_lost_layers(&records.problems, &mut notes)?;
        self.mend_fields(&records.problems, &mut notes);
        let survey = self.survey(options.level, |_| true)?;
        let is_gone = |finding: &Finding| !survey.problems.contains(&finding.problem);
        let mut mended = findings(damaged);
        mended.extend(records.into_findings().into_iter().filter(is_gone));
        if !self.damaged_records()?.is_empty() {
            // Nothing can be told, and so nothing be done, without these.
            let left = survey.into_findings();
            return Ok(notes.report(mended, left));
        }
        self.mend_fields(&survey.problems, &mut notes);
        self.leave_containers(&survey.problems, &mut notes)?;
        let mounted = self.mounted_with_lowers(&*self.layers.read()?)?;
        let new = self.mend_structure(&survey, &mounted, &mut origins, &mut notes);
        let mut blobs = BlobsOfImages { images: &survey.images, origins: &mut origins };
        for look in &survey.looks {
            if mounted.contains(&look.layer) {
                notes.layer(&look.layer, MendError::Mounted.to_string());
            } else if let Some(record) = survey.layers.iter().find(|r| r.id == look.layer)
                && !new.contains(&look.layer)
                && let Err(error) = self.mend_layer(record, look, &mut blobs, &mut notes)
            {
                match error {
                    // Looking again would find all of it in its place.
                    MendError::Flush(error) => return Err(CheckError::Flush(error)),
                    error => notes.layer(&record.id, crate::pull::error_chain(&error)),
                }
            }
        }
        self.mend_indexes(&survey, &mounted, &mut notes);
        if !survey.problems.is_empty()
            && let Err(error) = self.collect_garbage(GarbageOptions::default())
        {
            tracing::warn!(error = crate::pull::error_chain(&error), "leftovers stay");
        }
        let touched = survey.damaged_layers();
        let left = self.survey(options.level, |layer| touched.contains(layer))?.into_findings();
        mended.extend(survey.into_findings());
        Ok(notes.report(mended, left))
    }
}

fn findings(problems: Vec<Problem>) -> Vec<Finding> {
    let finding = |problem| Finding { problem, images: Vec::new() };
    problems.into_iter().map(finding).collect()
}
