//! A layer that a pull finds damaged, mended with what the pull has.

use std::error::Error;
use std::sync::Arc;

use storage_core::{LayerId, RangeSource};
use transport::TransportError;

use super::error::MendError;
use super::layer::{Blobs, Take};
use super::report::{Notes, RepairReport};
use crate::Store;
use crate::check::CheckLevel;
use crate::pull::WantedLayer;

/// The blob of the one layer.
struct OneBlob<'a, O> {
    layer: &'a WantedLayer,
    open: O,
}

impl<O> Blobs for OneBlob<'_, O>
where
    O: Fn() -> Result<Arc<dyn RangeSource>, TransportError>,
{
    fn offer(&mut self, _layer: &LayerId, take: &mut Take<'_>) -> Result<(), MendError> {
        let blob = (self.open)()?;
        take(self.layer, &*blob)
    }
}

impl Store {
    /// Looks into a layer that is there, and mends what differs as a repair does; its
    /// blob is opened only where bytes are missing.
    ///
    /// # Errors
    ///
    /// If what is needed cannot be had or be put in its place. A layer that is mounted
    /// or was removed meanwhile is none: the report tells.
    pub(crate) fn mend_present(
        &self,
        layer: &WantedLayer,
        open: impl Fn() -> Result<Arc<dyn RangeSource>, TransportError>,
    ) -> Result<RepairReport, Box<dyn Error + Send + Sync>> {
        let mut notes = Notes::default();
        let survey = self.survey_layer(CheckLevel::Attributes, &layer.id)?;
        let mounted = self.mounted_with_lowers(&*self.layers.read()?)?;
        let record = survey.layers.iter().find(|record| record.id == layer.id);
        for (look, record) in survey.looks.iter().zip(record) {
            let mended = if mounted.contains(&layer.id) {
                Err(MendError::Mounted)
            } else {
                self.mend_layer(record, look, &mut OneBlob { layer, open: &open }, &mut notes)
            };
            match mended {
                Err(error @ (MendError::Mounted | MendError::Gone)) => {
                    notes.layer(&layer.id, error.to_string());
                }
                mended => mended?,
            }
        }
        self.mend_indexes(&survey, &mounted, &mut notes);
        let left = self.survey_layer(CheckLevel::Attributes, &layer.id)?;
        Ok(notes.report(survey.into_findings(), left.into_findings()))
    }
}
