//! The fields of the documents that matter here.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use storage_core::{BlobDigest, DiffId};

use super::ManifestError;
use super::media_type::{Kind, kind};
use crate::Platform;

/// What one document says of another blob.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) digest: BlobDigest,
    pub(crate) size: u64,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
    platform: Option<PlatformFields>,
}

#[derive(Debug, Clone, Deserialize)]
struct PlatformFields {
    os: String,
    architecture: String,
    variant: Option<String>,
}

impl Descriptor {
    pub(crate) fn platform(&self) -> Option<Platform> {
        let PlatformFields { os, architecture, variant } = self.platform.clone()?;
        Some(Platform { os, architecture, variant })
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct Index {
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(crate) manifests: Vec<Descriptor>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Manifest {
    pub(super) config: Descriptor,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(super) layers: Vec<Descriptor>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Config {
    pub(super) rootfs: RootFs,
}

#[derive(Debug, Deserialize)]
pub(super) struct RootFs {
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(super) diff_ids: Vec<DiffId>,
}

/// Go writes an empty list or map as `null`.
fn null_is_empty<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Default + Deserialize<'de>,
    D: Deserializer<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// The outline of a manifest or an index: what it says it is, and which fields it has.
#[derive(Debug, Deserialize)]
struct Outline {
    #[serde(rename = "mediaType", default)]
    media_type: String,
    manifests: Option<serde::de::IgnoredAny>,
    layers: Option<serde::de::IgnoredAny>,
    config: Option<serde::de::IgnoredAny>,
}

/// Reads any of the documents.
pub(super) fn parse<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, ManifestError> {
    serde_json::from_slice(bytes).map_err(ManifestError::Json)
}

/// The media type of a document that was referred to as `outside`.
///
/// One document must not be a manifest to one tool and an index to another, so what
/// it says of itself, what it was referred to as and the fields it has must agree.
pub(crate) fn media_type_of(bytes: &[u8], outside: &str) -> Result<(String, Kind), ManifestError> {
    let outline: Outline = parse(bytes)?;
    let outside = outside.split(';').next().unwrap_or_default().trim();
    let inside = outline.media_type;
    let media_type = match (kind(&inside), kind(outside)) {
        (None, None) if inside.is_empty() => guess(outside, outline.manifests.is_some())?.into(),
        (Some(_), Some(_)) if inside != outside => {
            return Err(ManifestError::OtherMediaType { inside, outside: outside.into() });
        }
        (None, Some(_)) if inside.is_empty() => outside.to_owned(),
        _ => inside,
    };
    let kind = kind(&media_type).ok_or(ManifestError::MediaType(media_type.clone()))?;
    let other = match kind {
        Kind::Manifest => outline.manifests.is_some(),
        Kind::Index => outline.layers.is_some() || outline.config.is_some(),
    };
    if other { Err(ManifestError::Ambiguous) } else { Ok((media_type, kind)) }
}

/// Servers of plain files send any content type; a document of the OCI need not name its own.
fn guess(outside: &str, is_index: bool) -> Result<&'static str, ManifestError> {
    match outside {
        "" | "application/json" | "application/octet-stream" | "text/plain" => Ok(if is_index {
            super::media_type::OCI_INDEX
        } else {
            super::media_type::OCI_MANIFEST
        }),
        other => Err(ManifestError::MediaType(other.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::media_type::{DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST};
    use super::*;

    #[test]
    fn what_a_document_is_must_be_said_with_one_voice() {
        let manifest =
            |inside: &str| format!(r#"{{"mediaType":"{inside}","layers":[],"config":{{}}}}"#);
        let index = |inside: &str| format!(r#"{{"mediaType":"{inside}","manifests":[]}}"#);
        let media_type = |text: &str, outside: &str| {
            media_type_of(text.as_bytes(), outside).map(|(media_type, _)| media_type)
        };
        for (document, outside, expected) in [
            (manifest(OCI_MANIFEST), OCI_MANIFEST, OCI_MANIFEST),
            (manifest(""), OCI_MANIFEST, OCI_MANIFEST),
            (manifest(""), "text/plain; charset=utf-8", OCI_MANIFEST),
            (manifest(DOCKER_MANIFEST), "application/json", DOCKER_MANIFEST),
            (index(DOCKER_LIST), "", DOCKER_LIST),
            (index(""), "", OCI_INDEX),
            (index(""), "application/vnd.oci.image.index.v1+json; q=1", OCI_INDEX),
        ] {
            assert_eq!(media_type(&document, outside).unwrap(), expected);
        }
        for (document, outside) in [
            (manifest(OCI_MANIFEST), OCI_INDEX),
            (manifest(OCI_MANIFEST), DOCKER_MANIFEST),
            (manifest(OCI_INDEX), ""),
            (index(OCI_MANIFEST), ""),
            (manifest("application/x"), OCI_MANIFEST),
            (manifest(""), "application/vnd.docker.distribution.manifest.v1+prettyjws"),
            (r#"{"manifests":[],"layers":[]}"#.into(), ""),
            ("[]".into(), OCI_MANIFEST),
        ] {
            assert!(media_type(&document, outside).is_err(), "{document} as {outside}");
        }
    }
}
