//! Which images a problem harms.

use std::collections::{BTreeSet, HashMap};

use storage_core::{ImageId, ImageRecord, LayerId, LayerRecord};

use super::Problem;
use crate::listing::chain;

/// The images that stand on each layer.
pub(super) struct Harm<'a> {
    images: &'a [ImageRecord],
    by_layer: HashMap<LayerId, Vec<usize>>,
}

impl<'a> Harm<'a> {
    pub(super) fn new(layers: &[LayerRecord], images: &'a [ImageRecord]) -> Self {
        let mut by_layer: HashMap<LayerId, Vec<usize>> = HashMap::new();
        for (number, image) in images.iter().enumerate() {
            let chain = chain(image.layer.as_ref(), layers);
            let below = chain.iter().map(|layer| layer.id.clone());
            // The lowest may name a parent that has no record, and the top may have none.
            let missing = chain.first().map_or(&image.layer, |lowest| &lowest.parent);
            for layer in below.chain(missing.clone()) {
                by_layer.entry(layer).or_default().push(number);
            }
        }
        Self { images, by_layer }
    }

    pub(super) fn ids(&self, problem: &Problem) -> BTreeSet<ImageId> {
        self.of(problem).map(|image| image.id.clone()).collect()
    }

    /// What a person calls them.
    pub(super) fn labels(&self, problem: &Problem) -> Vec<String> {
        self.of(problem).map(label).collect()
    }

    fn of(&self, problem: &Problem) -> impl Iterator<Item = &'a ImageRecord> {
        let own = match problem {
            Problem::MissingBigData { id, .. }
            | Problem::DamagedBigData { id, .. }
            | Problem::WrongRecord { id, .. } => {
                self.images.iter().find(|image| image.id.as_str() == id)
            }
            _ => None,
        };
        let layer = match problem {
            Problem::Orphan { .. } => None,
            other => other.layer().filter(|_| own.is_none()),
        };
        let numbers =
            layer.and_then(|layer| self.by_layer.get(&layer).cloned()).unwrap_or_default();
        own.into_iter().chain(numbers.into_iter().map(|number| &self.images[number]))
    }
}

/// What a person calls an image.
pub(super) fn label(image: &ImageRecord) -> String {
    image.names.first().cloned().unwrap_or_else(|| image.id.to_string())
}
