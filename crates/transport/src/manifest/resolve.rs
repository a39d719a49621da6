//! From the outermost document to layers: the same walk for every kind of source.

use storage_core::BlobDigest;

use super::ManifestError;
use super::choose::choose;
use super::document::{Config, Descriptor, Index, Manifest, media_type_of, parse};
use super::layers::layers;
use super::media_type::Kind;
use crate::{Platform, RawBlob, RawManifest, ResolvedImage, TransportError};

/// Largest manifest or index that is read.
pub(crate) const MANIFEST_LIMIT: u64 = 4 << 20;
/// Largest config that is read.
pub(crate) const CONFIG_LIMIT: u64 = 4 << 20;
/// Lists that may be nested in one another.
const DEPTH: usize = 4;

/// Where a walk gets documents from: each has the digest and size of its descriptor.
pub(crate) trait Documents {
    /// How errors name the image.
    fn place(&self) -> String;

    /// A manifest or index by its descriptor.
    fn manifest(&self, descriptor: &Descriptor) -> Result<Vec<u8>, TransportError>;

    /// A config by its descriptor.
    fn config(&self, descriptor: &Descriptor) -> Result<Vec<u8>, TransportError>;
}

/// Walks from a document, known by its bytes and what it was referred to as, to the layers.
pub(crate) fn resolve(
    documents: &dyn Documents,
    bytes: Vec<u8>,
    digest: BlobDigest,
    media_type: &str,
    platform: &Platform,
) -> Result<ResolvedImage, TransportError> {
    let mut index = None;
    let (mut bytes, mut digest, mut outside) = (bytes, digest, media_type.to_owned());
    for _ in 0..DEPTH {
        let at = At { documents, digest };
        let (media_type, kind) = at.check("manifest", media_type_of(&bytes, &outside))?;
        let raw = RawManifest { bytes, digest, media_type };
        if kind == Kind::Manifest {
            return finish(documents, index, raw);
        }
        let list: Index = at.check("index", parse(&raw.bytes))?;
        let chosen = at.check("index", choose(&list.manifests, platform))?;
        limited(&at, "index", chosen.size, MANIFEST_LIMIT)?;
        bytes = documents.manifest(chosen)?;
        digest = chosen.digest;
        outside.clone_from(&chosen.media_type);
        index.get_or_insert(raw);
    }
    At { documents, digest }.check("index", Err(ManifestError::TooDeep))
}

fn finish(
    documents: &dyn Documents,
    index: Option<RawManifest>,
    manifest: RawManifest,
) -> Result<ResolvedImage, TransportError> {
    let at = At { documents, digest: manifest.digest };
    let Manifest { config, layers: descriptors } = at.check("manifest", parse(&manifest.bytes))?;
    limited(&at, "manifest", config.size, CONFIG_LIMIT)?;
    let raw = RawBlob { bytes: documents.config(&config)?, digest: config.digest };
    let at_config = At { documents, digest: config.digest };
    let parsed: Config = at_config.check("config", parse(&raw.bytes))?;
    let layers = at.check("manifest", layers(descriptors, &parsed))?;
    Ok(ResolvedImage { index, manifest, config: raw, layers, ref_annotation: None })
}

fn limited(at: &At<'_>, what: &'static str, size: u64, limit: u64) -> Result<(), TransportError> {
    let too_large = ManifestError::TooLarge { size, limit };
    at.check(what, if size > limit { Err(too_large) } else { Ok(()) })
}

/// The document that an error is about.
struct At<'d> {
    documents: &'d dyn Documents,
    digest: BlobDigest,
}

impl At<'_> {
    fn check<T>(
        &self,
        what: &'static str,
        result: Result<T, ManifestError>,
    ) -> Result<T, TransportError> {
        result.map_err(|source| TransportError::Document {
            what,
            digest: self.digest,
            place: self.documents.place(),
            source: source.into(),
        })
    }
}
