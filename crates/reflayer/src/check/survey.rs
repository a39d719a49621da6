//! All that a check finds, kept together for who mends it.

use std::collections::BTreeSet;

use storage_core::{ImageId, ImageRecord, LayerId, LayerRecord};

use super::harm::Harm;
use super::layer::LayerLook;
use super::{CheckError, CheckLevel, Finding, Problem};
use crate::Store;

/// What was found, and the records that it was found in.
#[derive(Debug)]
pub(crate) struct Survey {
    /// What is not about single files of a layer.
    pub(crate) problems: Vec<Problem>,
    /// The layers in which something was found.
    pub(crate) looks: Vec<LayerLook>,
    pub(crate) layers: Vec<LayerRecord>,
    pub(crate) images: Vec<ImageRecord>,
}

impl Survey {
    /// The layers of which something was found.
    pub(crate) fn damaged_layers(&self) -> BTreeSet<LayerId> {
        let looks = self.looks.iter().map(|look| look.layer.clone());
        looks.chain(self.problems.iter().filter_map(Problem::layer)).collect()
    }

    /// What is found, but for single files: of the records and in the layers.
    pub(crate) fn structural(&self) -> impl Iterator<Item = &Problem> {
        self.problems.iter().chain(self.looks.iter().flat_map(|look| &look.problems))
    }

    /// The images that a problem harms.
    pub(crate) fn harmed(&self, problem: &Problem) -> BTreeSet<ImageId> {
        Harm::new(&self.layers, &self.images).ids(problem)
    }

    /// As findings, each with the images that it harms.
    pub(crate) fn into_findings(self) -> Vec<Finding> {
        let harm = Harm::new(&self.layers, &self.images);
        let of_layers = self.looks.into_iter().flat_map(LayerLook::into_problems);
        let problems = self.problems.into_iter().chain(of_layers);
        problems.map(|problem| Finding { images: harm.labels(&problem), problem }).collect()
    }
}

impl Store {
    /// Looks at all records, and into the layers that are chosen.
    pub(crate) fn survey(
        &self,
        level: CheckLevel,
        choose: impl Fn(&LayerId) -> bool,
    ) -> Result<Survey, CheckError> {
        let problems = self.damaged_records()?;
        if !problems.is_empty() {
            let (looks, layers, images) = (Vec::new(), Vec::new(), Vec::new());
            return Ok(Survey { problems, looks, layers, images });
        }
        let (problems, layers, images) = self.check_records()?;
        let looks = self.looks(&layers, level, choose)?;
        Ok(Survey { problems, looks, layers, images })
    }

    /// Looks into one layer, and at no records.
    pub(crate) fn survey_layer(
        &self,
        level: CheckLevel,
        layer: &LayerId,
    ) -> Result<Survey, CheckError> {
        let layers = self.layers.read()?.records().to_vec();
        let images = self.images.read()?.records().to_vec();
        let looks = self.looks(&layers, level, |id| id == layer)?;
        Ok(Survey { problems: Vec::new(), looks, layers, images })
    }

    fn looks(
        &self,
        layers: &[LayerRecord],
        level: CheckLevel,
        choose: impl Fn(&LayerId) -> bool,
    ) -> Result<Vec<LayerLook>, CheckError> {
        let mut looks = Vec::new();
        if level != CheckLevel::Records {
            for record in layers.iter().filter(|record| choose(&record.id)) {
                let look = self.look_at_layer(record, level, None)?;
                looks.extend(look.filter(LayerLook::has_found));
            }
        }
        Ok(looks)
    }
}
