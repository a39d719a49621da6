//! Mounting an image as a root filesystem.

use std::path::Path;

use overlay_driver::{MountError, MountOptions};
use storage_core::ImageId;
use storage_core::RecordError;

use crate::Store;
use crate::names::{self, LookupError};

/// Why an image was not mounted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MountImageError {
    /// No single image is meant.
    #[error("find the image")]
    Lookup(#[from] LookupError),
    /// The records could not be read.
    #[error("read the records of the store")]
    Record(#[from] RecordError),
    /// The image has no layers.
    #[error("image {0} has no layers to mount")]
    Layerless(ImageId),
    /// The kernel refused.
    #[error(transparent)]
    Mount(#[from] MountError),
}

impl Store {
    /// Mounts an image, of this store or of an additional one, on `target`, read-only unless `options` name an upper directory.
    ///
    /// The lock of the layers is held while the mount is made, so that no other
    /// tool removes a layer in between; afterwards the mount itself protects
    /// them from this store's [`Store::remove_image`] and [`Store::collect_garbage`].
    ///
    /// # Errors
    ///
    /// If no single image is meant, or the kernel refuses the mount.
    pub fn mount(
        &self,
        image: &str,
        target: &Path,
        options: &MountOptions,
    ) -> Result<(), MountImageError> {
        let layers = self.layers.read()?;
        let images = self.images.read()?;
        let elsewhere = self.elsewhere(layers.records(), images.records());
        let others: Vec<_> = elsewhere.images.into_iter().map(|(image, _)| image).collect();
        let (record, _) = names::find_in(images.records(), &others, image)?;
        let top =
            record.layer.as_ref().ok_or_else(|| MountImageError::Layerless(record.id.clone()))?;
        Ok(self.driver.mount(top, target, options)?)
    }
}
