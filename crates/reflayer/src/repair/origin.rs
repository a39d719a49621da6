//! Where the blobs and documents of an image can be had.

use std::collections::HashMap;

use storage_core::{ImageId, ImageRecord, LayerId};
use transport::{ImageSource, Reference, ResolvedImage};

use super::error::MendError;
use super::layer::{Blobs, Take};
use super::{Opener, RepairOptions};
use crate::pull::{WantedLayer, error_chain};

/// An image where it comes from.
#[derive(Debug)]
pub(super) struct Origin {
    pub(super) reference: Reference,
    pub(super) source: Box<dyn ImageSource>,
    image: ResolvedImage,
    wanted: Vec<WantedLayer>,
}

impl Origin {
    fn is_of(&self, image: &ImageId) -> bool {
        ImageId::of_config(&self.image.config.digest) == *image
    }

    /// The layer of that id.
    fn layer(&self, id: &LayerId) -> Option<&WantedLayer> {
        self.wanted.iter().find(|wanted| wanted.id == *id)
    }
}

/// The places that were asked so far.
pub(super) struct Origins<'a> {
    options: &'a RepairOptions,
    open: &'a Opener<'a>,
    asked: HashMap<String, Result<Origin, String>>,
}

impl<'a> Origins<'a> {
    pub(super) fn new(options: &'a RepairOptions, open: &'a Opener<'a>) -> Self {
        Self { options, open, asked: HashMap::new() }
    }

    /// Finds an image again: in the places that were named, then by its names and the
    /// digest of its manifest. Or says why it is nowhere.
    pub(super) fn of_image(&mut self, image: &ImageRecord) -> Result<&Origin, String> {
        let mut reasons = Vec::new();
        let mut found = None;
        for text in self.places(image) {
            match self.ask(&text) {
                Ok(origin) if origin.is_of(&image.id) => {
                    found = Some(text);
                    break;
                }
                Ok(_) => reasons.push(format!("{text} is another image")),
                Err(reason) => reasons.push(format!("{text}: {reason}")),
            }
        }
        match found.and_then(|text| self.asked.get(&text)) {
            Some(Ok(origin)) => Ok(origin),
            _ if reasons.is_empty() => {
                Err("no name of the image tells of a registry: say where it comes from".into())
            }
            _ => Err(reasons.join("; ")),
        }
    }

    fn places(&self, image: &ImageRecord) -> Vec<String> {
        let named = self.options.from.iter().map(ToString::to_string);
        let of_registry = |name: &&String| !name.starts_with("localhost/");
        let by_name = image.names.iter().chain(&image.names_history).filter(of_registry);
        let exact = by_name.map(|name| match (&image.digest, name.contains('@')) {
            (Some(digest), false) => format!("docker://{name}@{digest}"),
            _ => format!("docker://{name}"),
        });
        named.chain(exact).collect()
    }

    fn ask(&mut self, text: &str) -> Result<&Origin, String> {
        if !self.asked.contains_key(text) {
            let origin = self.find(text);
            self.asked.insert(text.into(), origin);
        }
        self.asked[text].as_ref().map_err(Clone::clone)
    }

    fn find(&self, text: &str) -> Result<Origin, String> {
        let reference: Reference =
            text.parse().map_err(|error: transport::ReferenceError| error_chain(&error))?;
        let source = (self.open)(&reference).map_err(|error| error_chain(&*error))?;
        let image = source.resolve(&self.options.platform).map_err(|error| error_chain(&error))?;
        let wanted = WantedLayer::all(&image.layers);
        Ok(Origin { reference, source, image, wanted })
    }
}

/// The blobs of some images' layers, wherever these images are.
pub(super) struct BlobsOfImages<'o, 'a> {
    pub(super) images: &'o [ImageRecord],
    pub(super) origins: &'o mut Origins<'a>,
}

impl Blobs for BlobsOfImages<'_, '_> {
    fn offer(&mut self, layer: &LayerId, take: &mut Take<'_>) -> Result<(), MendError> {
        let mut last = MendError::Unreachable("no image stands on the layer".into());
        for image in self.images {
            let origin = match self.origins.of_image(image) {
                Ok(origin) => origin,
                Err(reason) => {
                    last = MendError::Unreachable(reason);
                    continue;
                }
            };
            let Some(wanted) = origin.layer(layer) else { continue };
            let blob = origin.source.blob(&wanted.blob.digest, wanted.blob.size);
            match blob.map_err(MendError::from).and_then(|blob| take(wanted, &*blob)) {
                Ok(()) => return Ok(()),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}
