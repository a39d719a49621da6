//! What the documents of images say of layers.

use std::collections::{BTreeMap, HashMap};

use chunked::TocLocation;
use serde::Deserialize;
use storage_core::{BlobDigest, DiffId, Digest, ImageId, Images, LayerId, RecordError};
use storage_core::{RecordTime, TocDigest};

/// What images tell, by their documents alone.
#[derive(Debug, Default)]
pub(crate) struct Documents {
    pub(crate) images: BTreeMap<ImageId, ImageDocuments>,
    pub(crate) layers: HashMap<LayerId, LayerDocument>,
}

/// One image whose config has the digest that its id says.
#[derive(Debug)]
pub(crate) struct ImageDocuments {
    pub(crate) manifest: Option<BlobDigest>,
    pub(crate) top: Option<LayerId>,
    pub(crate) created: Option<RecordTime>,
    pub(crate) keys: Vec<String>,
}

/// A layer as a config, and perhaps a manifest, describe it.
#[derive(Debug, Clone)]
pub(crate) struct LayerDocument {
    pub(crate) parent: Option<LayerId>,
    pub(crate) diff_id: DiffId,
    pub(crate) blob: Option<Blob>,
}

/// What a manifest says of a layer's blob.
#[derive(Debug, Clone)]
pub(crate) struct Blob {
    pub(crate) digest: BlobDigest,
    pub(crate) size: i64,
    pub(crate) media_type: String,
    pub(crate) toc_digest: Option<TocDigest>,
}

#[derive(Deserialize)]
struct Config {
    created: Option<String>,
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    #[serde(default)]
    diff_ids: Vec<DiffId>,
}

#[derive(Deserialize)]
struct Manifest {
    config: Descriptor,
    #[serde(default)]
    layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: BlobDigest,
    size: i64,
    #[serde(rename = "mediaType", default)]
    media_type: String,
    #[serde(default)]
    annotations: Option<HashMap<String, String>>,
}

impl Documents {
    /// Those of all images that have a directory.
    pub(crate) fn of_all(images: &Images<'_>) -> Result<Self, RecordError> {
        let mut documents = Self::of_recorded(images)?;
        documents.add(images, images.orphans()?)?;
        Ok(documents)
    }

    /// Those of the images that have a record.
    pub(crate) fn of_recorded(images: &Images<'_>) -> Result<Self, RecordError> {
        Self::of_others(images, None)
    }

    /// The same without one of them.
    pub(crate) fn of_others(
        images: &Images<'_>,
        except: Option<&ImageId>,
    ) -> Result<Self, RecordError> {
        let mut documents = Self::default();
        let ids = images.records().iter().map(|record| record.id.clone());
        documents.add(images, ids.filter(|id| Some(id) != except).collect())?;
        Ok(documents)
    }

    fn add(&mut self, images: &Images<'_>, ids: Vec<ImageId>) -> Result<(), RecordError> {
        for id in ids {
            if let Some(image) = self.image(images, &id)? {
                self.images.insert(id, image);
            }
        }
        Ok(())
    }

    fn image(
        &mut self,
        images: &Images<'_>,
        id: &ImageId,
    ) -> Result<Option<ImageDocuments>, RecordError> {
        let config = images.read_big_data(id, &format!("sha256:{id}"))?.unwrap_or_default();
        let config_digest = BlobDigest::from(Digest::of(&config));
        if ImageId::of_config(&config_digest) != *id {
            return Ok(None);
        }
        let Ok(config) = serde_json::from_slice::<Config>(&config) else { return Ok(None) };
        let manifest = images.read_big_data(id, "manifest")?;
        let parsed = manifest.as_deref().and_then(|bytes| serde_json::from_slice(bytes).ok());
        let own = |manifest: &Manifest| {
            manifest.config.digest == config_digest
                && manifest.layers.len() == config.rootfs.diff_ids.len()
        };
        let parsed: Option<Manifest> = parsed.filter(own);
        let mut parent = None;
        for (number, diff_id) in config.rootfs.diff_ids.iter().enumerate() {
            let layer = LayerId::of_chain(parent.as_ref(), diff_id);
            let blob = parsed.as_ref().map(|manifest| blob(&manifest.layers[number]));
            let document = LayerDocument { parent: parent.take(), diff_id: *diff_id, blob };
            // One with a manifest says more.
            let known = self.layers.entry(layer.clone()).or_insert_with(|| document.clone());
            if known.blob.is_none() {
                *known = document;
            }
            parent = Some(layer);
        }
        Ok(Some(ImageDocuments {
            manifest: parsed.and(manifest).map(|bytes| Digest::of(&bytes).into()),
            top: parent,
            created: config.created.and_then(|created| created.parse().ok()),
            keys: images.keys_on_disk(id)?,
        }))
    }
}

fn blob(descriptor: &Descriptor) -> Blob {
    let annotations = descriptor.annotations.iter().flatten();
    let annotations = annotations.map(|(key, value)| (key.as_str(), value.as_str()));
    let location = TocLocation::from_annotations(annotations).ok().flatten();
    Blob {
        digest: descriptor.digest,
        size: descriptor.size,
        media_type: descriptor.media_type.clone(),
        toc_digest: location.map(|location| location.toc_digest),
    }
}
