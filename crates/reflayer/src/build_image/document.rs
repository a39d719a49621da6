//! The two documents of an image.
//!
//! Own types, since those of `oci-spec` keep annotations in a hash map: two runs would
//! give two manifests.

use std::collections::BTreeMap;

use chunked::write::WrittenBlob;
use serde::Serialize;
use storage_core::{BlobDigest, DiffId};
use transport::{Platform, StoredBlob, media_type};

#[derive(Serialize)]
struct ImageConfig<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<&'a str>,
    architecture: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    variant: Option<&'a str>,
    os: &'a str,
    config: Empty,
    rootfs: RootFs<'a>,
    history: [History<'a>; 1],
}

/// `{}`, without which some readers give up.
#[derive(Serialize)]
struct Empty {}

#[derive(Serialize)]
struct RootFs<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    diff_ids: [&'a DiffId; 1],
}

#[derive(Serialize)]
struct History<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<&'a str>,
    created_by: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest<'a> {
    schema_version: u8,
    media_type: &'static str,
    config: Descriptor<'a>,
    layers: [Descriptor<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor<'a> {
    media_type: &'static str,
    digest: &'a BlobDigest,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<&'a BTreeMap<String, String>>,
}

/// The config of an image with one layer.
pub(super) fn config(
    platform: &Platform,
    created: Option<jiff::Timestamp>,
    diff_id: &DiffId,
) -> Vec<u8> {
    let created = created.map(|time| time.to_string());
    let created = created.as_deref();
    json(&ImageConfig {
        created,
        architecture: &platform.architecture,
        variant: platform.variant.as_deref(),
        os: &platform.os,
        config: Empty {},
        rootfs: RootFs { kind: "layers", diff_ids: [diff_id] },
        history: [History { created, created_by: "reflayer build-image" }],
    })
}

/// The manifest of an image with one zstd:chunked layer.
pub(super) fn manifest(config: &StoredBlob, layer: &WrittenBlob) -> Vec<u8> {
    json(&Manifest {
        schema_version: 2,
        media_type: media_type::OCI_MANIFEST,
        config: Descriptor {
            media_type: media_type::OCI_CONFIG,
            digest: &config.digest,
            size: config.size,
            annotations: None,
        },
        layers: [Descriptor {
            media_type: media_type::OCI_LAYER_ZSTD,
            digest: &layer.digest,
            size: layer.size,
            annotations: Some(&layer.annotations),
        }],
    })
}

fn json(document: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(document).expect("strings and numbers become JSON")
}
