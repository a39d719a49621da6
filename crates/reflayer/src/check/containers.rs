//! Records of containers against the layers and images that they name.

use std::collections::{BTreeSet, HashSet};

use storage_core::{Containers, ImageId, ImageRecord, LayerId, LayerRecord};

use super::Problem;

/// Containers whose image or own layer has no record: either theirs or the container's is
/// damaged.
pub(super) fn check_containers(
    containers: &Containers,
    layers: &[LayerRecord],
    images: &[ImageRecord],
) -> Vec<Problem> {
    let known: HashSet<&ImageId> = images.iter().map(|image| &image.id).collect();
    let lost = lost_layers(containers, layers);
    let mut problems = Vec::new();
    for container in containers.records() {
        let mut wrong = |field| {
            problems.push(Problem::WrongRecord { id: container.id.to_string(), field });
        };
        if container.layer.as_ref().is_none_or(|layer| lost.contains(layer)) {
            wrong("layer");
        }
        if container.image.as_ref().is_some_and(|image| !known.contains(image)) {
            wrong("image");
        }
    }
    problems
}

/// The layers that containers name and that have no record.
pub(crate) fn lost_layers(containers: &Containers, layers: &[LayerRecord]) -> BTreeSet<LayerId> {
    let known: HashSet<&LayerId> = layers.iter().map(|layer| &layer.id).collect();
    let named = containers.records().iter().filter_map(|container| container.layer.as_ref());
    named.filter(|layer| !known.contains(layer)).cloned().collect()
}
