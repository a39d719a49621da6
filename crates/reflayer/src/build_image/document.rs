//! The config of an image.

use serde::Serialize;
use storage_core::DiffId;
use transport::Platform;

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

fn json(document: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(document).expect("strings and numbers become JSON")
}
