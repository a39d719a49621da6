//! The files of one layer.

use storage_core::{LayerId, LayerRecord, RangeSource};
use tree::Model;

use super::blob::bring_from_blob;
use super::content::{Brought, Need, needs};
use super::error::MendError;
use super::plan::Plan;
use super::report::Notes;
use super::stage::Stage;
use crate::Store;
use crate::check::{LayerData, LayerLook};
use crate::pull::WantedLayer;

/// Where the blobs of layers can be had.
pub(super) trait Blobs {
    /// Hands out a layer's blob, from one place after the other, until `take` succeeds.
    fn offer(&mut self, layer: &LayerId, take: &mut Take<'_>) -> Result<(), MendError>;
}

/// What is done with a blob.
pub(super) type Take<'a> = dyn FnMut(&WantedLayer, &dyn RangeSource) -> Result<(), MendError> + 'a;

impl Store {
    /// Mends what differs in a layer, as far as that can be had.
    ///
    /// # Errors
    ///
    /// If something could not be had, when all else is mended; or if nothing was.
    pub(super) fn mend_layer(
        &self,
        record: &LayerRecord,
        look: &LayerLook,
        blobs: &mut dyn Blobs,
        notes: &mut Notes,
    ) -> Result<(), MendError> {
        let Some(model) = look.model.as_ref().filter(|_| !look.differences.is_empty()) else {
            return Ok(());
        };
        let plan = Plan::new(look, model);
        let staged = self.driver.stage()?;
        let mut stage = Stage::new(&staged, self.privileges);
        let data = LayerData::new(self, &record.id);
        let needs = needs(&data, model, &plan.make)?;
        for (number, path) in &plan.make {
            if let Some(node) = model.get(path).filter(|node| !tree::has_content(&node.entry)) {
                stage.make(*number, &node)?;
            }
        }
        let mut brought = self.bring_from_layers(record, &needs, &mut stage)?;
        let left: Vec<Need> =
            needs.iter().filter(|need| !stage.has(need.number)).cloned().collect();
        let mut missing = Ok(());
        if !left.is_empty() {
            missing = blobs.offer(&record.id, &mut |layer, blob| {
                let toc = data.toc()?.and_then(Result::ok);
                let result = bring_from_blob(blob, layer, toc, &left, &mut stage);
                notes.used(blob.usage());
                brought.extend(result?);
                Ok(())
            });
        }
        stage.flush()?;
        self.put_in_place(&record.id, &plan, model, &stage, &staged)?;
        note_files(look, model, &plan, brought, notes);
        missing
    }
}

/// Notes where the bytes of files came from.
fn note_files(look: &LayerLook, model: &Model, plan: &Plan, brought: Brought, notes: &mut Notes) {
    for (number, got) in brought {
        let Some(path) = plan.make.get(&number) else { continue };
        // The finding may be about another name of the file.
        let names = model.names_of(path);
        if let Some(name) = names.iter().find(|name| look.differences.contains_key(*name)) {
            notes.file(&look.layer, name, got);
        }
    }
}
