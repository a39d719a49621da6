//! What is to be seen of a victim before anything repairs it.

use anyhow::{Result, ensure};

use super::{Scene, Victim};

/// The store after whatever happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Whether v2 is listed.
    pub(crate) has_image: bool,
    /// Whether the command did what it is for; a collection leaves nothing to tell it by.
    pub(crate) is_done: Option<bool>,
}

impl Scene {
    /// Looks at the store, which opens as it is.
    pub(crate) fn seen(&self) -> Result<Seen> {
        let has_image = self.store.image_ids()?.contains(&self.id()?);
        let keeps_image = matches!(self.victim, Victim::Mount | Victim::Repair);
        ensure!(has_image || !keeps_image, "the image is gone");
        let is_done = match self.victim {
            Victim::Pull { .. } => Some(has_image),
            Victim::Removal => Some(!has_image),
            Victim::Collection => None,
            Victim::Mount => Some(self.is_mounted()?),
            Victim::Repair => Some(self.store.output(&["check"])?.status.success()),
        };
        Ok(Seen { has_image, is_done })
    }
}
