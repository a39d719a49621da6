//! What is in the store, as plain data.

use serde::Serialize;
use storage_core::{BlobDigest, DiffId, ImageId, LayerId, TocDigest};
use storage_core::{ImageRecord, LayerRecord, RecordError};

use crate::Store;
use crate::names::{self, LookupError};

/// One image.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct ImageInfo {
    /// Its id.
    pub id: ImageId,
    /// Its names.
    pub names: Vec<String>,
    /// Digest of its manifest.
    pub digest: Option<BlobDigest>,
    /// When it was built, or when it came if it does not say.
    pub created: String,
    /// Its layers, base first.
    pub layers: Vec<LayerId>,
    /// Sum of the lengths of its layers' tar streams, where they are known.
    pub size: u64,
    /// Whether it belongs to an additional store, where it cannot be changed.
    pub read_only: bool,
}

/// One layer.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct LayerInfo {
    /// Its id.
    pub id: LayerId,
    /// The layer below it.
    pub parent: Option<LayerId>,
    /// Digest of its tar stream.
    pub diff_id: Option<DiffId>,
    /// Digest of the TOC that it came by.
    pub toc_digest: Option<TocDigest>,
    /// Digest of the blob that it came as.
    pub blob_digest: Option<BlobDigest>,
    /// Length of its tar stream, where it is known.
    pub size: Option<u64>,
    /// When it came.
    pub created: String,
    /// Names of the images that have it on top.
    pub images: Vec<String>,
    /// Whether it is still being made.
    pub incomplete: bool,
    /// Whether it belongs to an additional store, where it cannot be changed.
    pub read_only: bool,
}

/// All that the store knows of one image.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct ImageDetails {
    /// What the list of images has.
    #[serde(flatten)]
    pub image: ImageInfo,
    /// Names that it had before, the newest first.
    pub names_history: Vec<String>,
    /// Its layers, base first.
    pub layer_details: Vec<LayerInfo>,
    /// The image's config, as it was pulled.
    pub config: serde_json::Value,
}

/// Why an image could not be shown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InspectError {
    /// No single image is meant.
    #[error("find the image")]
    Lookup(#[from] LookupError),
    /// The records could not be read.
    #[error("read the records of the store")]
    Record(#[from] RecordError),
    /// The image's config is gone or is no JSON.
    #[error("read the config of image {0}")]
    Config(ImageId, #[source] Option<serde_json::Error>),
}

/// Records of the store and of the additional ones beside it, as they were at one moment.
#[derive(Debug)]
pub(crate) struct Everything {
    pub(crate) layers: Vec<LayerRecord>,
    pub(crate) images: Vec<ImageRecord>,
    /// How many of each are the store's own; the others follow.
    own_layers: usize,
    own_images: usize,
}

impl Everything {
    /// The image that `wanted` stands for: one of this store before those of others.
    pub(crate) fn find_image(&self, wanted: &str) -> Result<&ImageRecord, LookupError> {
        let (own, others) = self.images.split_at(self.own_images);
        Ok(names::find_in(own, others, wanted)?.0)
    }

    /// The layers of an image from the base up, as far as the records go.
    pub(crate) fn chain(&self, image: &ImageRecord) -> Vec<&LayerRecord> {
        chain(image.layer.as_ref(), &self.layers)
    }

    fn image(&self, index: usize) -> ImageInfo {
        image_info(&self.images[index], &self.layers, index >= self.own_images)
    }

    fn layer(&self, index: usize) -> LayerInfo {
        layer_info(&self.layers[index], &self.images, index >= self.own_layers)
    }
}

impl Store {
    /// The images, in the order of their records, then those of additional stores.
    ///
    /// # Errors
    ///
    /// If the records cannot be read.
    pub fn images(&self) -> Result<Vec<ImageInfo>, RecordError> {
        let all = self.everything()?;
        Ok((0..all.images.len()).map(|index| all.image(index)).collect())
    }

    /// The layers, in the order of their records, then those of additional stores.
    ///
    /// # Errors
    ///
    /// If the records cannot be read.
    pub fn layers(&self) -> Result<Vec<LayerInfo>, RecordError> {
        let all = self.everything()?;
        Ok((0..all.layers.len()).map(|index| all.layer(index)).collect())
    }

    /// All that is known of one image, named by id, prefix, name or last part of a name.
    /// One of this store goes before those of additional stores.
    ///
    /// # Errors
    ///
    /// If no single image is meant, or its records or config cannot be read.
    pub fn inspect(&self, image: &str) -> Result<ImageDetails, InspectError> {
        let all = self.everything()?;
        let record = all.find_image(image)?;
        let read_only = !all.images[..all.own_images].iter().any(|own| own.id == record.id);
        let info = image_info(record, &all.layers, read_only);
        let index_of = |id: &LayerId| all.layers.iter().position(|layer| layer.id == *id);
        let details = info.layers.iter().filter_map(|id| Some(all.layer(index_of(id)?)));
        let no_config = |source| InspectError::Config(record.id.clone(), source);
        let config = self.read_document(&record.id, &format!("sha256:{}", record.id))?;
        let config = config.ok_or_else(|| no_config(None))?;
        Ok(ImageDetails {
            names_history: record.names_history.clone(),
            layer_details: details.collect(),
            config: serde_json::from_slice(&config).map_err(|error| no_config(Some(error)))?,
            image: info,
        })
    }

    /// The records of this store and of all beside it.
    pub(crate) fn everything(&self) -> Result<Everything, RecordError> {
        let layers_read = self.layers.read()?;
        let images_read = self.images.read()?;
        let (mut layers, mut images) =
            (layers_read.records().to_vec(), images_read.records().to_vec());
        drop((images_read, layers_read));
        let elsewhere = self.elsewhere(&layers, &images);
        let (own_layers, own_images) = (layers.len(), images.len());
        layers.extend(elsewhere.layers);
        images.extend(elsewhere.images.into_iter().map(|(image, _)| image));
        Ok(Everything { layers, images, own_layers, own_images })
    }

    /// A document of an image of this store, or else of the first other that has it.
    pub(crate) fn read_document(
        &self,
        id: &ImageId,
        key: &str,
    ) -> Result<Option<Vec<u8>>, RecordError> {
        let others = self.additional.iter().map(|store| &store.images);
        for images in std::iter::once(&self.images).chain(others) {
            let images = images.read()?;
            if images.get(id).is_some() {
                return images.read_big_data(id, key);
            }
        }
        Ok(None)
    }
}

/// The layers from the base up to `top`, as far as the records go.
pub(crate) fn chain<'a>(top: Option<&LayerId>, layers: &'a [LayerRecord]) -> Vec<&'a LayerRecord> {
    let find = |id: &LayerId| layers.iter().find(|layer| &layer.id == id);
    let chain = std::iter::successors(top.and_then(find), |layer| find(layer.parent.as_ref()?));
    let mut chain: Vec<_> = chain.take(layers.len()).collect();
    chain.reverse();
    chain
}

fn image_info(image: &ImageRecord, layers: &[LayerRecord], read_only: bool) -> ImageInfo {
    let chain = chain(image.layer.as_ref(), layers);
    ImageInfo {
        id: image.id.clone(),
        names: image.names.clone(),
        digest: image.digest,
        created: image.created.to_string(),
        size: chain.iter().filter_map(|layer| size(layer)).sum(),
        layers: chain.into_iter().map(|layer| layer.id.clone()).collect(),
        read_only,
    }
}

fn layer_info(layer: &LayerRecord, images: &[ImageRecord], read_only: bool) -> LayerInfo {
    let on_top = images.iter().filter(|image| image.layer.as_ref() == Some(&layer.id));
    LayerInfo {
        id: layer.id.clone(),
        parent: layer.parent.clone(),
        diff_id: layer.diff_digest,
        toc_digest: layer.toc_digest,
        blob_digest: layer.compressed_diff_digest,
        size: size(layer),
        created: layer.created.to_string(),
        images: on_top.flat_map(|image| image.names.clone()).collect(),
        incomplete: layer.is_incomplete(),
        read_only,
    }
}

fn size(layer: &LayerRecord) -> Option<u64> {
    layer.diff_size.and_then(|size| u64::try_from(size).ok())
}
