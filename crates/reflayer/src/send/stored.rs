//! An image of the store as something that can be sent.

use std::collections::HashMap;

use serde::Deserialize;
use storage_core::RecordError;
use storage_core::{BlobDigest, DiffId, Digest, ImageRecord, LayerId, LayerRecord};

use super::SendError;
use super::layer::{Origin, Outbound};
use crate::Store;
use crate::listing::{Everything, InspectError};
use crate::manifest::{KnownManifest, LayerEntry};

/// What the store has of an image.
pub(super) struct StoredImage {
    pub(super) config: Vec<u8>,
    pub(super) manifest: Option<KnownManifest>,
    diff_ids: Vec<DiffId>,
    /// Base first, as many as there are `DiffID`s.
    layers: Vec<LayerRecord>,
    /// The zstd:chunked blobs that layers are known as.
    known: HashMap<LayerId, LayerEntry>,
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
        let all = store.everything()?;
        let image = all.find_image(name)?;
        let manifest = store.read_document(&image.id, "manifest")?;
        let manifest = manifest.and_then(KnownManifest::parse);
        let named = manifest.as_ref().map(|manifest| manifest.parsed.config.digest);
        let config = read_config(store, image, named)?;
        let damaged = |source| SendError::Document {
            image: image.id.clone(),
            what: "config",
            source: Some(source),
        };
        let parsed: Config = serde_json::from_slice(&config).map_err(damaged)?;
        let diff_ids = parsed.rootfs.diff_ids.unwrap_or_default();
        let layers = all.chain(image);
        let is_of = |(layer, diff_id): (&&LayerRecord, &DiffId)| {
            layer.diff_digest.is_none_or(|known| known == *diff_id)
        };
        if layers.len() != diff_ids.len() || !layers.iter().zip(&diff_ids).all(is_of) {
            return Err(SendError::Layers(image.id.clone()));
        }
        let known = known_blobs(store, image, &all, &layers)?;
        let layers = layers.into_iter().cloned().collect();
        Ok(Self { config, manifest, diff_ids, layers, known })
    }

    /// Its layers, base first.
    pub(super) fn outbound<'a>(&'a self, store: &'a Store) -> Vec<Outbound<'a>> {
        let layers = self.layers.iter().zip(&self.diff_ids).enumerate();
        let outbound = layers.map(|(index, (record, &diff_id))| {
            let uncompressed = record.diff_size.and_then(|size| u64::try_from(size).ok());
            Outbound {
                index,
                diff_id,
                to_read: uncompressed.unwrap_or(0),
                uncompressed,
                known: self.known.get(&record.id).cloned(),
                origin: Origin::Store(store, record),
            }
        });
        outbound.collect()
    }
}

/// The config, under the name that the manifest has for it or else the image's own.
fn read_config(
    store: &Store,
    image: &ImageRecord,
    named: Option<BlobDigest>,
) -> Result<Vec<u8>, SendError> {
    let key = named.map_or_else(|| format!("sha256:{}", image.id), |digest| digest.to_string());
    let config = store.read_document(&image.id, &key)?;
    let right = |config: &Vec<u8>| Digest::of(config).to_string() == key;
    let missing = || SendError::Document { image: image.id.clone(), what: "config", source: None };
    config.filter(right).ok_or_else(missing)
}

/// The zstd:chunked blobs of these layers, as the image's manifest or that of another
/// image on the same layers has them: what was built here knows nothing of its base.
fn known_blobs(
    store: &Store,
    image: &ImageRecord,
    all: &Everything,
    wanted: &[&LayerRecord],
) -> Result<HashMap<LayerId, LayerEntry>, RecordError> {
    let mut known = HashMap::new();
    let others = all.images.iter().filter(|other| other.id != image.id);
    for image in std::iter::once(image).chain(others) {
        if known.len() == wanted.len() {
            break;
        }
        let layers = all.chain(image);
        if !layers.iter().any(|layer| is_wanted(layer, wanted)) {
            continue;
        }
        let manifest = store.read_document(&image.id, "manifest")?;
        let entries =
            manifest.and_then(KnownManifest::parse).map(|manifest| manifest.parsed.layers);
        let entries = entries.filter(|entries| entries.len() == layers.len()).unwrap_or_default();
        for (record, entry) in layers.into_iter().zip(entries) {
            if is_wanted(record, wanted) && came_by(&entry, record) {
                known.entry(record.id.clone()).or_insert(entry);
            }
        }
    }
    Ok(known)
}

fn is_wanted(layer: &LayerRecord, wanted: &[&LayerRecord]) -> bool {
    wanted.iter().any(|wanted| wanted.id == layer.id)
}

/// Whether a zstd:chunked blob is this layer: it came by it, so that either the TOC was
/// proved to be of this layer, or all of the blob was read.
fn came_by(entry: &LayerEntry, record: &LayerRecord) -> bool {
    let Some(location) = entry.toc_location() else { return false };
    record.toc_digest == Some(location.toc_digest)
        || record.compressed_diff_digest == Some(entry.digest)
}

impl Store {
    /// Names of an image, and after them those of images that share layers with it:
    /// where its blobs may be. Names that an image had before come last.
    ///
    /// # Errors
    ///
    /// If no single image is meant, or the records cannot be read.
    pub fn related_names(&self, image: &str) -> Result<Vec<String>, InspectError> {
        let all = self.everything()?;
        let image = all.find_image(image)?;
        let wanted = all.chain(image);
        let shares = |other: &&ImageRecord| {
            let mut chain = all.chain(other).into_iter();
            other.id != image.id && chain.any(|layer| is_wanted(layer, &wanted))
        };
        let others = all.images.iter().filter(shares);
        let related: Vec<_> = std::iter::once(image).chain(others).collect();
        let now = related.iter().flat_map(|image| &image.names);
        let before = related.iter().flat_map(|image| &image.names_history);
        Ok(now.chain(before).cloned().collect())
    }
}
