//! Names of images, each of which belongs to one image.

use std::collections::HashSet;

use super::{ImagesWrite, RecordError};
use crate::ImageId;

impl ImagesWrite<'_> {
    /// Gives an image exactly these names.
    ///
    /// Each is taken away from the image that had it, and becomes the newest in
    /// the history of this one, the last of them first.
    ///
    /// # Errors
    ///
    /// If there is no image `id`.
    pub fn set_names(&mut self, id: &ImageId, names: &[String]) -> Result<(), RecordError> {
        self.get(id).ok_or_else(|| self.unknown(id))?;
        let wanted: HashSet<&String> = names.iter().collect();
        for record in &mut self.images.records {
            if record.id == *id {
                record.names.clear();
                for name in names {
                    if !record.names.contains(name) {
                        record.names.push(name.clone());
                    }
                }
                let names = record.names.clone();
                record.remember_names(&names);
            } else {
                record.names.retain(|name| !wanted.contains(name));
            }
        }
        Ok(())
    }

    /// Gives an image one more name, which becomes its first.
    ///
    /// As for [`ImagesWrite::set_names`].
    ///
    /// # Errors
    ///
    /// If there is no image `id`.
    pub fn add_name(&mut self, id: &ImageId, name: &str) -> Result<(), RecordError> {
        let old = &self.get(id).ok_or_else(|| self.unknown(id))?.names;
        let others = old.iter().filter(|old| *old != name).cloned();
        let names: Vec<String> = std::iter::once(name.to_owned()).chain(others).collect();
        self.set_names(id, &names)
    }
}
