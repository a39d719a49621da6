//! An image of the store as something that can be sent.

use serde::Deserialize;
use storage_core::{BlobDigest, DiffId, Digest, ImageRecord, Images, LayerRecord};

use super::SendError;
use super::layer::{Origin, Outbound};
use crate::Store;
use crate::listing::chain;
use crate::manifest::{KnownManifest, LayerEntry};
use crate::names;

/// What the store has of an image.
pub(super) struct StoredImage {
    pub(super) config: Vec<u8>,
    pub(super) manifest: Option<KnownManifest>,
    diff_ids: Vec<DiffId>,
    /// Base first, as many as there are `DiffID`s.
    layers: Vec<LayerRecord>,
}

#[derive(Deserialize)]
struct Config {
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    #[serde(default)]
    diff_ids: Option<Vec<DiffId>>,
}

impl StoredImage {
    /// Reads the documents and the records of an image.
    pub(super) fn find(store: &Store, name: &str) -> Result<Self, SendError> {
        let layers = store.layers.read()?;
        let images = store.images.read()?;
        let (image, _) = names::find(images.records(), name)?;
        let manifest = images.read_big_data(&image.id, "manifest")?;
        let manifest = manifest.and_then(KnownManifest::parse);
        let named = manifest.as_ref().map(|manifest| manifest.parsed.config.digest);
        let config = read_config(&images, image, named)?;
        let damaged = |source| SendError::Document {
            image: image.id.clone(),
            what: "config",
            source: Some(source),
        };
        let parsed: Config = serde_json::from_slice(&config).map_err(damaged)?;
        let diff_ids = parsed.rootfs.diff_ids.unwrap_or_default();
        let layers = chain(image.layer.as_ref(), layers.records());
        let is_of = |(layer, diff_id): (&&LayerRecord, &DiffId)| {
            layer.diff_digest.is_none_or(|known| known == *diff_id)
        };
        if layers.len() != diff_ids.len() || !layers.iter().zip(&diff_ids).all(is_of) {
            return Err(SendError::Layers(image.id.clone()));
        }
        let layers = layers.into_iter().cloned().collect();
        Ok(Self { config, manifest, diff_ids, layers })
    }

    /// Its layers, base first.
    pub(super) fn outbound<'a>(&'a self, store: &'a Store) -> Vec<Outbound<'a>> {
        let described: &[LayerEntry] = match &self.manifest {
            Some(manifest) if manifest.parsed.layers.len() == self.layers.len() => {
                &manifest.parsed.layers
            }
            _ => &[],
        };
        let layers = self.layers.iter().zip(&self.diff_ids).enumerate();
        let outbound = layers.map(|(index, (record, &diff_id))| {
            let uncompressed = record.diff_size.and_then(|size| u64::try_from(size).ok());
            Outbound {
                index,
                diff_id,
                to_read: uncompressed.unwrap_or(0),
                uncompressed,
                known: described.get(index).and_then(|entry| known(entry, record)),
                origin: Origin::Store(store, record),
            }
        });
        outbound.collect()
    }
}

/// The config, under the name that the manifest has for it or else the image's own.
fn read_config(
    images: &Images<'_>,
    image: &ImageRecord,
    named: Option<BlobDigest>,
) -> Result<Vec<u8>, SendError> {
    let key = named.map_or_else(|| format!("sha256:{}", image.id), |digest| digest.to_string());
    let config = images.read_big_data(&image.id, &key)?;
    let right = |config: &Vec<u8>| Digest::of(config).to_string() == key;
    let missing = || SendError::Document { image: image.id.clone(), what: "config", source: None };
    config.filter(right).ok_or_else(missing)
}

/// The zstd:chunked blob of a layer that came by it: its TOC was proved to be of this
/// layer, or all of it was read.
fn known(entry: &LayerEntry, record: &LayerRecord) -> Option<LayerEntry> {
    let location = entry.toc_location()?;
    let by_toc = record.toc_digest == Some(location.toc_digest);
    let whole = record.compressed_diff_digest == Some(entry.digest);
    (by_toc || whole).then(|| entry.clone())
}
