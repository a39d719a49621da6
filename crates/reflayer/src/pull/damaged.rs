//! Layers that are there, and of which a part is not: a pull brings them again.

use std::collections::BTreeSet;

use storage_core::{LayerId, LayerRecord, Layers, LayersWrite};

use super::error_chain;
use super::layer::WantedLayer;
use super::publish::PublishError;
use crate::Store;
use crate::check::Problem;
use crate::listing::chain;
use crate::report::LayerReport;

/// Wanted layers that are damaged.
#[derive(Debug, Default)]
pub(super) struct Damaged {
    /// Those that are to be replaced.
    pub(super) replaced: BTreeSet<LayerId>,
    /// Those that are mounted, or below a mount, which must not lose its files.
    pub(super) kept: BTreeSet<LayerId>,
}

impl Store {
    /// Those of the wanted layers that lack their tree, or something beside it; and those
    /// that are known to be `unusable`.
    ///
    /// Only what is cheap is looked at: no file of a layer.
    pub(super) fn damaged(
        &self,
        wanted: &[WantedLayer],
        unusable: &BTreeSet<LayerId>,
        layers: &Layers<'_>,
    ) -> Damaged {
        let is_damaged = |wanted: &&WantedLayer| {
            let record = layers.get(&wanted.id).filter(|record| !record.is_incomplete());
            record.is_some_and(|record| {
                // One that was found on the disk, and of which no image told, may be half made.
                record.diff_digest != Some(wanted.blob.diff_id)
                    || unusable.contains(&record.id)
                    || self.is_damaged(record, layers)
            })
        };
        let damaged = wanted.iter().filter(is_damaged);
        let mut damaged: BTreeSet<LayerId> = damaged.map(|wanted| wanted.id.clone()).collect();
        if damaged.is_empty() {
            return Damaged::default();
        }
        let mounted = self.mounted_with_lowers(layers).unwrap_or_else(|error| {
            tracing::warn!(error = error_chain(&error), "whether layers are mounted is not known");
            damaged.clone()
        });
        let kept = damaged.intersection(&mounted).cloned().collect();
        damaged.retain(|id| !mounted.contains(id));
        Damaged { replaced: damaged, kept }
    }

    fn is_damaged(&self, record: &LayerRecord, layers: &Layers<'_>) -> bool {
        let problems = match self.check_layer_record(record, layers, layers.records()) {
            Ok(problems) => problems,
            Err(error) => {
                let error = error_chain(&error);
                tracing::warn!(layer = %record.id, error, "it cannot be looked at");
                return false;
            }
        };
        // What a directory says of others is written anew without the layer.
        let matters = |problem: &&Problem| {
            !matches!(problem, Problem::WrongLowers { .. } | Problem::MissingParent { .. })
        };
        let problem = problems.iter().find(matters);
        if let Some(problem) = problem {
            tracing::info!(%problem, "it is brought again");
        }
        problem.is_some()
    }

    /// Makes the directories of the wanted layers, and of those above a layer that is
    /// `new`, say what lies below them.
    pub(super) fn restate(
        &self,
        layers: &LayersWrite<'_>,
        wanted: &[WantedLayer],
        new: &[LayerId],
    ) -> Result<(), PublishError> {
        let mut stale: BTreeSet<LayerId> = new.iter().cloned().collect();
        for record in wanted.iter().filter_map(|wanted| layers.get(&wanted.id)) {
            let parents = || self.check_parents(record, layers.records());
            let wrong = || {
                let known = stands_on_known(record, layers);
                known && matches!(parents(), Some(Problem::WrongLowers { .. }))
            };
            if !new.contains(&record.id) && wrong() {
                self.driver.restate(&record.id, record.parent.as_ref())?;
                stale.insert(record.id.clone());
            }
        }
        while self.restate_above(layers, &mut stale)? {}
        Ok(())
    }

    /// The same for one layer that is there, and those above it.
    pub(crate) fn restate_layer(
        &self,
        layers: &LayersWrite<'_>,
        id: &LayerId,
    ) -> Result<(), PublishError> {
        let Some(record) = layers.get(id) else { return Ok(()) };
        self.driver.restate(id, record.parent.as_ref())?;
        let mut stale = BTreeSet::from([id.clone()]);
        while self.restate_above(layers, &mut stale)? {}
        Ok(())
    }

    /// One step up; `false` at the top.
    fn restate_above(
        &self,
        layers: &LayersWrite<'_>,
        stale: &mut BTreeSet<LayerId>,
    ) -> Result<bool, PublishError> {
        let above = layers.records().iter().filter(|record| {
            let on_stale = record.parent.as_ref().is_some_and(|parent| stale.contains(parent));
            on_stale && !stale.contains(&record.id)
        });
        let above: Vec<&LayerRecord> = above.collect();
        for record in &above {
            if self.driver.has(&record.id)? {
                self.driver.restate(&record.id, record.parent.as_ref())?;
            }
            stale.insert(record.id.clone());
        }
        Ok(!above.is_empty())
    }
}

/// Says of damaged layers that they stay so.
pub(super) fn explain_kept(kept: &BTreeSet<LayerId>, reports: &mut [LayerReport]) {
    for report in reports.iter_mut().filter(|report| kept.contains(&report.layer_id)) {
        let layer = &report.layer_id;
        tracing::warn!(%layer, "it is damaged, and stays so while it is mounted");
        report.reason = "in the store, damaged, and left alone while it is mounted".into();
    }
}

/// Whether all layers below have records here, and none of them is in another store.
fn stands_on_known(record: &LayerRecord, layers: &Layers<'_>) -> bool {
    let below = chain(Some(&record.id), layers.records());
    below.first().is_none_or(|base| base.parent.is_none())
}
