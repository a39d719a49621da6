//! The documents of an image.

use std::collections::BTreeMap;

use serde_json::json;

use crate::digest::sha256;
use crate::forged::Forged;
use crate::layout::architecture;

pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// The manifest of these layers, and all blobs by their digests.
pub(super) fn documents(layers: &[Forged]) -> (Vec<u8>, BTreeMap<String, Vec<u8>>) {
    let diff_ids: Vec<_> = layers.iter().map(|layer| format!("sha256:{}", layer.diff_id)).collect();
    let config = json!({
        "architecture": architecture(), "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let config = config.to_string().into_bytes();
    let descriptors: Vec<_> = layers
        .iter()
        .map(|layer| {
            let annotations: BTreeMap<_, _> = layer.annotations.iter().cloned().collect();
            json!({
                "mediaType": layer.media_type, "size": layer.size,
                "digest": format!("sha256:{}", layer.digest), "annotations": annotations,
            })
        })
        .collect();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": format!("sha256:{}", sha256(&config)), "size": config.len(),
        },
        "layers": descriptors,
    });
    let blobs = layers.iter().map(|layer| (layer.digest.clone(), layer.blob.clone()));
    let blobs = blobs.chain([(sha256(&config), config)]).collect();
    (manifest.to_string().into_bytes(), blobs)
}

/// An index of this manifest alone, which it says is of this type.
pub(super) fn index(manifest: &[u8], kind: &str) -> Vec<u8> {
    let platform = json!({"architecture": architecture(), "os": "linux"});
    let manifest = json!({
        "mediaType": kind, "digest": format!("sha256:{}", sha256(manifest)),
        "size": manifest.len(), "platform": platform,
    });
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [manifest]});
    index.to_string().into_bytes()
}
