//! The files of one layer.

use storage_core::{ImageRecord, LayerRecord};
use tree::Model;

use super::blob::bring_from_blob;
use super::content::{Brought, Need, needs};
use super::error::MendError;
use super::origin::Origins;
use super::plan::Plan;
use super::report::Notes;
use super::stage::Stage;
use crate::Store;
use crate::check::{LayerData, LayerLook};
use crate::pull::error_chain;

impl Store {
    /// Mends what differs in a layer, as far as that can be had; notes what cannot.
    pub(super) fn mend_layer(
        &self,
        record: &LayerRecord,
        look: &LayerLook,
        images: &[ImageRecord],
        origins: &mut Origins<'_>,
        notes: &mut Notes,
    ) {
        let Some(model) = look.model.as_ref().filter(|_| !look.differences.is_empty()) else {
            return;
        };
        if let Err(error) = self.mend_files(record, look, model, images, origins, notes) {
            notes.layer(&record.id, error_chain(&error));
        }
    }

    fn mend_files(
        &self,
        record: &LayerRecord,
        look: &LayerLook,
        model: &Model,
        images: &[ImageRecord],
        origins: &mut Origins<'_>,
        notes: &mut Notes,
    ) -> Result<(), MendError> {
        let plan = Plan::new(look, model);
        let staged = self.driver.stage()?;
        let mut stage = Stage::new(&staged, self.privileges);
        let data = LayerData::new(self, &record.id);
        let needs = needs(&data, model, &plan.make)?;
        for (number, path) in &plan.make {
            if let Some(node) = model.get(path).filter(|node| !tree::has_content(&node.entry)) {
                stage.make(*number, node)?;
            }
        }
        let mut brought = self.bring_from_layers(record, &needs, &mut stage)?;
        let left: Vec<Need<'_>> =
            needs.iter().filter(|need| !stage.has(need.number)).cloned().collect();
        if !left.is_empty() {
            match self.bring_from_origin(record, &left, images, origins, &mut stage, notes) {
                Ok(more) => brought.extend(more),
                Err(error) => notes.layer(&record.id, error_chain(&error)),
            }
        }
        stage.flush()?;
        self.put_in_place(&record.id, &plan, model, &stage, &staged)?;
        for (number, got) in brought {
            if let Some(path) = plan.make.get(&number) {
                // The finding may be about another name of the file.
                for name in model.names_of(path) {
                    if look.differences.contains_key(&name) {
                        notes.file(&record.id, &name, got);
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    fn bring_from_origin(
        &self,
        record: &LayerRecord,
        needs: &[Need<'_>],
        images: &[ImageRecord],
        origins: &mut Origins<'_>,
        stage: &mut Stage<'_>,
        notes: &mut Notes,
    ) -> Result<Brought, MendError> {
        let mut last = MendError::Unreachable("no image stands on the layer".into());
        for image in images {
            let origin = match origins.of_image(image) {
                Ok(origin) => origin,
                Err(reason) => {
                    last = MendError::Unreachable(reason);
                    continue;
                }
            };
            let Some(layer) = origin.layer(&record.id) else { continue };
            let toc = LayerData::new(self, &record.id).toc()?.and_then(Result::ok);
            match bring_from_blob(origin, layer, toc, needs, stage) {
                Ok((brought, received)) => {
                    notes.fetched(received);
                    return Ok(brought);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}
