//! Private readers of what comes from outside, for fuzz targets alone.

use storage_core::{BlobDigest, Digest};

use crate::manifest::{Descriptor, Documents, resolve};
pub use crate::oci_layout::fuzzing::archive;
pub use crate::registry::fuzzing::{Range, boundary, challenges, content_range, multipart};
use crate::{Platform, ResolvedImage, TransportError};

/// A source that gives the same documents whatever is asked for.
struct Always<'d> {
    manifest: &'d [u8],
    config: &'d [u8],
}

impl Documents for Always<'_> {
    fn place(&self) -> String {
        "memory".into()
    }

    fn manifest(&self, _: &Descriptor) -> Result<Vec<u8>, TransportError> {
        Ok(self.manifest.into())
    }

    fn config(&self, _: &Descriptor) -> Result<Vec<u8>, TransportError> {
        Ok(self.config.into())
    }
}

/// The image of an outermost document, of the manifest that an index in there leads to,
/// and of a config.
///
/// # Errors
///
/// As for [`crate::ImageSource::resolve`].
pub fn image(
    [outermost, manifest, config]: [&[u8]; 3],
    media_type: &str,
    platform: &Platform,
) -> Result<ResolvedImage, TransportError> {
    let digest = BlobDigest::from(Digest::of(outermost));
    resolve(&Always { manifest, config }, outermost.into(), digest, media_type, platform)
}
