//! The manifest of an image of ours.
//!
//! Own types, since those of `oci-spec` keep annotations in a hash map: two runs would
//! give two manifests.

use std::collections::BTreeMap;

use chunked::TocLocation;
use chunked::write::WrittenBlob;
use serde::{Deserialize, Deserializer, Serialize};
use storage_core::BlobDigest;
use transport::{StoredBlob, media_type};

/// Annotations of a manifest, or of a layer in it.
pub(crate) type Annotations = BTreeMap<String, String>;

/// What a manifest says of a layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LayerEntry {
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) digest: BlobDigest,
    pub(crate) size: u64,
    #[serde(
        default,
        deserialize_with = "null_is_empty",
        skip_serializing_if = "Annotations::is_empty"
    )]
    pub(crate) annotations: Annotations,
}

impl LayerEntry {
    /// A zstd:chunked layer.
    pub(crate) fn chunked(blob: &WrittenBlob) -> Self {
        Self {
            media_type: media_type::OCI_LAYER_ZSTD.into(),
            digest: blob.digest,
            size: blob.size,
            annotations: blob.annotations.clone(),
        }
    }

    pub(crate) fn blob(&self) -> StoredBlob {
        StoredBlob { digest: self.digest, size: self.size }
    }

    /// Where its TOC is, if the layer is one that others pull by it.
    pub(crate) fn toc_location(&self) -> Option<TocLocation> {
        let zstd = self.media_type == media_type::OCI_LAYER_ZSTD;
        let annotations = self.annotations.iter().map(|(key, value)| (&**key, &**value));
        let location = TocLocation::from_annotations(annotations).ok().flatten();
        location.filter(|location| zstd && location.tar_split.is_some())
    }
}

/// A manifest that an image came with.
#[derive(Debug, Clone)]
pub(crate) struct KnownManifest {
    pub(crate) bytes: Vec<u8>,
    pub(crate) parsed: ParsedManifest,
}

/// What is read of a manifest.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ParsedManifest {
    #[serde(default)]
    media_type: String,
    pub(crate) config: LayerEntry,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(crate) layers: Vec<LayerEntry>,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(crate) annotations: Annotations,
}

impl KnownManifest {
    /// Reads a manifest of today's kinds; others are none.
    pub(crate) fn parse(bytes: Vec<u8>) -> Option<Self> {
        let parsed = serde_json::from_slice(&bytes).ok()?;
        Some(Self { bytes, parsed })
    }

    /// Whether it says of an image just what a manifest of ours would.
    pub(crate) fn says(&self, config: &StoredBlob, layers: &[LayerEntry]) -> bool {
        let oci = [media_type::OCI_MANIFEST, ""].contains(&&*self.parsed.media_type);
        let of_config = &self.parsed.config;
        let same_config = of_config.media_type == media_type::OCI_CONFIG
            && (of_config.digest, of_config.size) == (config.digest, config.size);
        oci && same_config && self.parsed.layers == layers
    }
}

/// Go writes an empty list or map as `null`.
fn null_is_empty<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Default + Deserialize<'de>,
    D: Deserializer<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest<'a> {
    schema_version: u8,
    media_type: &'static str,
    config: ConfigEntry<'a>,
    layers: &'a [LayerEntry],
    #[serde(skip_serializing_if = "Annotations::is_empty")]
    annotations: &'a Annotations,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ConfigEntry<'a> {
    media_type: &'static str,
    digest: &'a BlobDigest,
    size: u64,
}

/// A manifest of the OCI. Equal arguments give equal bytes.
pub(crate) fn manifest(
    config: &StoredBlob,
    layers: &[LayerEntry],
    annotations: &Annotations,
) -> Vec<u8> {
    let config = ConfigEntry {
        media_type: media_type::OCI_CONFIG,
        digest: &config.digest,
        size: config.size,
    };
    let media_type = media_type::OCI_MANIFEST;
    let manifest = Manifest { schema_version: 2, media_type, config, layers, annotations };
    serde_json::to_vec(&manifest).expect("strings and numbers become JSON")
}
