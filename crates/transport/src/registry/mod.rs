//! Images in registries.
//!
//! ```text
//! Registry ── Places ── Endpoint, … ── Auth       tokens and logins of one repository
//!    │          │           └───────── Http       one request after the other
//! RegistryBlob ─┘ fetch: several range::fetch at once, else one whole::fetch;
//!    │              several::fetch where the registry has proved able
//!    └ Inlet ◄── bounded ── Outlet
//!
//! RegistryTarget ── Endpoint; upload, of Outgoing: a file as a body
//! ```

mod access;
mod answer;
mod auth;
mod blob;
mod body;
mod challenge;
mod content_range;
mod documents;
mod endpoint;
mod error;
mod fetch;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod http;
mod meter;
mod multipart;
mod net;
mod outgoing;
mod pieces;
mod places;
mod proof;
mod proxy;
mod queue;
mod range;
mod redirect;
mod retry;
mod several;
mod target;
mod trust;
mod upload;
mod whole;

use std::sync::Arc;

use storage_core::{BlobDigest, RangeSource};

pub use auth::AuthError;
pub use error::{RegistryError, RequestError, ServerMessage};
pub use redirect::RedirectError;
pub use target::RegistryTarget;

use self::blob::RegistryBlob;
use self::documents::{Document, Expected};
use self::net::Net;
use self::places::Places;
use crate::manifest::{Descriptor, Documents, resolve};
use crate::{DockerReference, ImageSource, Options, Platform, ResolvedImage, TransportError};

/// One image in a registry, or in the mirrors of it.
///
/// ```no_run
/// use transport::{ImageSource, Options, Platform, Registry};
///
/// let image = Registry::new(&"quay.io/fedora/fedora:42".parse()?, &Options::default())?;
/// let resolved = image.resolve(&Platform::of_machine())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Registry {
    reference: DockerReference,
    places: Arc<Places>,
    net: Arc<Net>,
}

impl Registry {
    /// A client for one image, with two threads of its own. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// If the threads cannot be started, or the location of an endpoint is none.
    pub fn new(reference: &DockerReference, options: &Options) -> Result<Self, RegistryError> {
        Ok(Self {
            reference: reference.clone(),
            places: Arc::new(Places::new(reference, options)?),
            net: Arc::new(Net::start().map_err(RegistryError::Threads)?),
        })
    }

    fn document(&self, what: String, expected: Expected) -> Result<Document, TransportError> {
        let places = self.places.clone();
        self.net.wait(async move { places.document(&what, expected).await }).map_err(|source| {
            TransportError::Registry { place: self.place(), source: source.into() }
        })
    }

    fn described(&self, kind: &str, descriptor: &Descriptor) -> Result<Vec<u8>, TransportError> {
        let what = format!("{kind}/{}", descriptor.digest);
        let expected = Expected { digest: Some(descriptor.digest), size: Some(descriptor.size) };
        self.document(what, expected).map(|document| document.bytes)
    }
}

impl Documents for Registry {
    fn place(&self) -> String {
        format!("docker://{}", self.reference)
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<Vec<u8>, TransportError> {
        self.described("manifests", descriptor)
    }

    fn config(&self, descriptor: &Descriptor) -> Result<Vec<u8>, TransportError> {
        self.described("blobs", descriptor)
    }
}

impl ImageSource for Registry {
    fn resolve(&self, platform: &Platform) -> Result<ResolvedImage, TransportError> {
        let digest = self.reference.digest().copied();
        let what = match (&digest, self.reference.tag()) {
            (Some(digest), _) => format!("manifests/{digest}"),
            (None, tag) => format!("manifests/{}", tag.unwrap_or("latest")),
        };
        let document = self.document(what, Expected { digest, size: None })?;
        let Document { bytes, digest, content_type } = document;
        resolve(self, bytes, digest, &content_type, platform)
    }

    fn blob(&self, digest: &BlobDigest, size: u64) -> Result<Arc<dyn RangeSource>, TransportError> {
        let (places, net) = (self.places.clone(), self.net.clone());
        Ok(Arc::new(RegistryBlob::new(*digest, size, places, net)))
    }
}
