//! Forged layers as an image of a layout.

use std::fs;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::Forged;
use crate::layout::{Layout, architecture};

/// Adds an image of these layers, base first, and tags it.
///
/// # Errors
///
/// If the layout cannot be written.
pub fn add_image(layout: &Layout, tag: &str, layers: &[Forged]) -> Result<()> {
    let mut descriptors = Vec::new();
    for layer in layers {
        let path = layout.blob(&layer.digest);
        fs::write(&path, &layer.blob).with_context(|| format!("write {}", path.display()))?;
        let annotations: serde_json::Map<String, Value> = layer
            .annotations
            .iter()
            .map(|(key, value)| (key.clone(), value.as_str().into()))
            .collect();
        descriptors.push(json!({
            "mediaType": layer.media_type, "digest": format!("sha256:{}", layer.digest),
            "size": layer.size, "annotations": annotations,
        }));
    }
    let diff_ids: Vec<String> =
        layers.iter().map(|layer| format!("sha256:{}", layer.diff_id)).collect();
    let config = json!({
        "architecture": architecture(), "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let (config, size) = layout.add_blob(&serde_json::to_vec(&config)?)?;
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": format!("sha256:{config}"), "size": size,
        },
        "layers": descriptors,
    });
    layout.tag(tag, &manifest)
}
