//! Which images a problem harms.

use std::collections::HashMap;

use storage_core::{ImageRecord, LayerId, LayerRecord};

use super::Problem;
use crate::listing::chain;

/// The images that stand on each layer.
pub(super) struct Harm {
    by_layer: HashMap<LayerId, Vec<String>>,
    by_id: HashMap<String, String>,
}

impl Harm {
    pub(super) fn new(layers: &[LayerRecord], images: &[ImageRecord]) -> Self {
        let mut by_layer: HashMap<LayerId, Vec<String>> = HashMap::new();
        for image in images {
            let chain = chain(image.layer.as_ref(), layers);
            let below = chain.iter().map(|layer| layer.id.clone());
            // The lowest may name a parent that has no record, and the top may have none.
            let missing = chain.first().map_or(&image.layer, |lowest| &lowest.parent);
            for layer in below.chain(missing.clone()) {
                by_layer.entry(layer).or_default().push(label(image));
            }
        }
        let by_id = images.iter().map(|image| (image.id.to_string(), label(image))).collect();
        Self { by_layer, by_id }
    }

    pub(super) fn of(&self, problem: &Problem) -> Vec<String> {
        if let Problem::MissingBigData { id, .. } | Problem::DamagedBigData { id, .. } = problem
            && let Some(image) = self.by_id.get(id)
        {
            return vec![image.clone()];
        }
        if matches!(problem, Problem::Orphan { .. }) {
            return Vec::new();
        }
        problem.layer().and_then(|layer| self.by_layer.get(&layer).cloned()).unwrap_or_default()
    }
}

/// What a person calls an image.
pub(super) fn label(image: &ImageRecord) -> String {
    image.names.first().cloned().unwrap_or_else(|| image.id.to_string())
}
