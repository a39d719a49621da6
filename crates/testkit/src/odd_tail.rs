//! Layers that podman gives up for good.
//!
//! Behind the last file of a layer, podman takes each piece of the tar-split for headers of
//! 512 bytes, and refuses a layer that has a shorter one there. skopeo makes such layers now
//! and then, depending on how long the tar is: what it reads of the end comes in uneven pieces.

use std::fs::File;
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::exact::position;
use crate::layout::{Layer, Layout};

/// Bytes of a tar header.
const HEADER: usize = 512;
/// What tar-split calls a piece that is no file.
const SEGMENT: u64 = 2;

/// Whether podman would refuse a layer of the zstd:chunked image `tag` for this reason.
///
/// # Errors
///
/// If the image or its tar-splits cannot be read.
pub fn has_odd_tail(layout: &Layout, tag: &str) -> Result<bool> {
    let layers = layout.image(tag)?.layers;
    layers.iter().try_fold(false, |odd, layer| Ok(odd || is_odd(layout, layer)?))
}

fn is_odd(layout: &Layout, layer: &Layer) -> Result<bool> {
    let place = position(layer, "tarsplit-position")?;
    let mut bytes = vec![0; usize::try_from(place[1])?];
    File::open(layout.blob(&layer.digest))
        .and_then(|blob| blob.read_exact_at(&mut bytes, place[0]))
        .context("read a tar-split")?;
    let json = String::from_utf8(zstd::decode_all(&bytes[..])?)?;
    let mut tail = Vec::new();
    for line in json.lines() {
        let entry: Value = serde_json::from_str(line).context("read an entry of a tar-split")?;
        if entry["type"] != SEGMENT {
            tail.clear();
            continue;
        }
        let payload = entry["payload"].as_str().unwrap_or_default();
        tail.push(STANDARD.decode(payload).context("decode a piece")?.len());
    }
    Ok(tail.iter().any(|length| (1..HEADER).contains(length)))
}
