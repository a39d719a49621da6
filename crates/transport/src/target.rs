//! A place that an image is written to.

use std::fs::File;
use std::sync::Arc;

use crate::{
    ArchiveTarget, DockerReference, LayoutTarget, Options, Reference, RegistryTarget, StoredBlob,
    TransportError,
};

/// One image at one place, while it is being written: first its blobs, from several
/// threads if need be, then the manifest that names them.
///
/// Unless it is finished, nothing can be seen of it, though blobs may stay.
pub trait ImageTarget: Send + Sync + std::fmt::Debug {
    /// Looks whether a blob is there already. A registry that may have it in a related
    /// repository is asked to take it over from there.
    ///
    /// # Errors
    ///
    /// If that cannot be told, or the blob there has another size.
    fn find_blob(&self, blob: &StoredBlob) -> Result<Found, TransportError>;

    /// Writes a blob: the first `blob.size` bytes of `content`, whose cursor does not
    /// matter. `told` hears how many bytes have gone so far; a blob that had to be sent
    /// again begins again.
    ///
    /// # Errors
    ///
    /// If it cannot be read or written, or is not what its digest says.
    fn put_blob(
        &self,
        blob: &StoredBlob,
        content: &File,
        told: &Arc<dyn Fn(u64) + Send + Sync>,
    ) -> Result<(), TransportError>;

    /// Writes the manifest, and lets the image's name mean it.
    ///
    /// # Errors
    ///
    /// If it cannot be written or is not taken. The name then means what it meant.
    fn finish(
        self: Box<Self>,
        manifest: &[u8],
        media_type: &str,
    ) -> Result<StoredBlob, TransportError>;
}

/// Whether a blob is where an image is written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// It was there.
    Present,
    /// It is there now, and nobody had to send it.
    Mounted,
    /// It has to be sent.
    Absent,
}

/// Opens the place that `reference` names for writing.
///
/// A layout is made where there is none; an archive is replaced as a whole when the
/// image is finished. `related` is another image whose blobs a registry may have.
///
/// # Errors
///
/// If a layout or archive cannot be made, a registry client not be set up, or the
/// reference is into a store or has a digest.
pub fn open_target(
    reference: &Reference,
    related: Option<&DockerReference>,
    options: &Options,
) -> Result<Box<dyn ImageTarget>, TransportError> {
    let place = reference.to_string();
    Ok(match reference {
        Reference::Docker(docker) => {
            let target = RegistryTarget::new(docker, related, options);
            let target = target
                .map_err(|source| TransportError::Registry { place, source: source.into() })?;
            Box::new(target)
        }
        Reference::OciLayout { dir, tag } => {
            Box::new(LayoutTarget::create(dir, tag.as_deref(), place)?)
        }
        Reference::OciArchive { file, tag } => {
            Box::new(ArchiveTarget::create(file, tag.as_deref(), place)?)
        }
        Reference::ContainersStorage(name) => {
            return Err(TransportError::NotATarget(name.clone()));
        }
    })
}
