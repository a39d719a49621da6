//! The layers of manifest and config, paired.

use super::ManifestError;
use super::document::{Config, Descriptor};
use super::media_type::{Layer, layer};
use crate::LayerDescriptor;

/// Most layers of an image: overlay takes 500 below the one at the top.
const MOST_LAYERS: usize = 501;
/// Most annotations of all layers together.
const MOST_ANNOTATIONS: usize = 20_000;

/// Pairs each layer with its `DiffID`.
pub(super) fn layers(
    layers: Vec<Descriptor>,
    config: &Config,
) -> Result<Vec<LayerDescriptor>, ManifestError> {
    let (found, diff_ids) = (layers.len(), &config.rootfs.diff_ids);
    let annotations: usize = layers.iter().map(|layer| layer.annotations.len()).sum();
    if found > MOST_LAYERS || annotations > MOST_ANNOTATIONS {
        return Err(ManifestError::TooMuch { layers: found, annotations });
    }
    // Kinds first: a sentinel has no DiffID, and its name says more than a count.
    let compressions: Vec<_> = layers
        .iter()
        .enumerate()
        .map(|(index, descriptor)| compression(index, descriptor))
        .collect::<Result<_, _>>()?;
    if found != diff_ids.len() {
        return Err(ManifestError::LayerCount { layers: found, diff_ids: diff_ids.len() });
    }
    let described = layers.into_iter().zip(compressions).zip(diff_ids);
    Ok(described
        .map(|((descriptor, compression), &diff_id)| LayerDescriptor {
            digest: descriptor.digest,
            size: descriptor.size,
            media_type: descriptor.media_type,
            compression,
            annotations: descriptor.annotations,
            diff_id,
        })
        .collect())
}

fn compression(index: usize, descriptor: &Descriptor) -> Result<crate::Compression, ManifestError> {
    let media_type = descriptor.media_type.clone();
    match layer(&media_type) {
        Layer::Tar(compression) => Ok(compression),
        Layer::Foreign => Err(ManifestError::ForeignLayer { index, media_type }),
        Layer::Sentinel => Err(ManifestError::NotATar { index, media_type }),
        Layer::Unknown => Err(ManifestError::LayerMediaType { index, media_type }),
    }
}
