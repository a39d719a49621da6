//! A repository that an image is written to.

use std::collections::HashMap;
use std::fs::File;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use reqwest::{Method, Url};
use storage_core::{BlobDigest, Digest};

use super::access::Access;
use super::endpoint::{Ask, Endpoint};
use super::error::{RegistryError, RequestError};
use super::http::{Counters, Http};
use super::net::Net;
use super::retry::Attempts;
use super::upload::{self, Content, Mount};
use crate::target::{Found, ImageTarget};
use crate::{DockerReference, Options, Retry, StoredBlob, TransportError};

/// An image in a registry, to be written; never in a mirror.
///
/// ```no_run
/// use transport::{Options, RegistryTarget};
///
/// let target = RegistryTarget::new(&"quay.io/me/app:v2".parse()?, None, &Options::default())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct RegistryTarget {
    name: String,
    /// The tag, as part of an address.
    tag: String,
    repository: Arc<Repository>,
    net: Arc<Net>,
}

/// What the tasks of all uploads share.
#[derive(Debug)]
struct Repository {
    endpoint: Endpoint,
    /// Another repository of the registry, and the way to take blobs over from it.
    mounts: Option<(String, Endpoint)>,
    /// Uploads that the registry began instead of mounting.
    begun: Mutex<HashMap<BlobDigest, Url>>,
    retry: Retry,
}

impl RegistryTarget {
    /// A client for one image, with two threads of its own. Nothing is sent yet.
    ///
    /// Blobs of `related`, another image, are asked for by mounting if it is in the same
    /// registry.
    ///
    /// # Errors
    ///
    /// If the reference has a digest, which an image gets only by being written, if the
    /// threads cannot be started, or the location of an endpoint is none.
    pub fn new(
        reference: &DockerReference,
        related: Option<&DockerReference>,
        options: &Options,
    ) -> Result<Self, RegistryError> {
        let Some(tag) = reference.tag().filter(|_| reference.digest().is_none()) else {
            return Err(RegistryError::ByDigest(reference.to_string()));
        };
        // The last one is the registry itself; what comes before are its mirrors.
        let named = crate::Endpoint::new(reference.name(), false);
        let place = options.endpoints.last().unwrap_or(&named);
        let http = Arc::new(Http::of(options, place)?);
        let endpoint = |access: &Access| {
            Endpoint::new(&place.location, http.clone(), options.credentials.clone(), access)
        };
        let others = |related: &&DockerReference| {
            related.host() == reference.host() && related.repository() != reference.repository()
        };
        let mounts = related.filter(others).map(|related| {
            let from = related.repository().to_owned();
            endpoint(&Access::Mount { from: from.clone() }).map(|endpoint| (from, endpoint))
        });
        Ok(Self {
            name: format!("docker://{reference}"),
            tag: format!("manifests/{tag}"),
            repository: Arc::new(Repository {
                endpoint: endpoint(&Access::Push)?,
                mounts: mounts.transpose()?,
                begun: Mutex::default(),
                retry: options.retry.clone(),
            }),
            net: Arc::new(Net::start().map_err(RegistryError::Threads)?),
        })
    }

    fn failed(&self, source: RegistryError) -> TransportError {
        TransportError::Registry { place: self.name.clone(), source: source.into() }
    }
}

impl ImageTarget for RegistryTarget {
    fn find_blob(&self, blob: &StoredBlob) -> Result<Found, TransportError> {
        let (repository, blob) = (self.repository.clone(), *blob);
        let found = self.net.wait(async move { repository.find(&blob).await });
        found.map_err(|error| self.failed(error))
    }

    fn put_blob(
        &self,
        blob: &StoredBlob,
        content: &File,
        told: &Arc<dyn Fn(u64) + Send + Sync>,
    ) -> Result<(), TransportError> {
        let unreadable = |error| self.failed(RegistryError::Unreadable(error));
        let file = Arc::new(content.try_clone().map_err(unreadable)?);
        let content = Content { blob: *blob, file, told: told.clone() };
        let repository = self.repository.clone();
        let sent = self.net.wait(async move { repository.send(&content).await });
        sent.map_err(|error| self.failed(error))
    }

    fn finish(
        self: Box<Self>,
        manifest: &[u8],
        media_type: &str,
    ) -> Result<StoredBlob, TransportError> {
        let (repository, tag) = (self.repository.clone(), self.tag.clone());
        let (body, media_type) = (Bytes::copy_from_slice(manifest), media_type.to_owned());
        let put = self.net.wait(async move {
            repository.tag(&tag, body, &media_type).await?;
            repository.abandon().await;
            Ok(())
        });
        put.map_err(|error| self.failed(error))?;
        Ok(StoredBlob { digest: Digest::of(manifest).into(), size: manifest.len() as u64 })
    }
}

impl Repository {
    async fn find(&self, blob: &StoredBlob) -> Result<Found, RegistryError> {
        let what = format!("blobs/{}", blob.digest);
        if self.attempts(&what, || upload::is_there(&self.endpoint, blob)).await? {
            return Ok(Found::Present);
        }
        let Some((from, endpoint)) = &self.mounts else {
            return Ok(Found::Absent);
        };
        match upload::mount(endpoint, &blob.digest, from).await {
            Ok(Mount::Done) => return Ok(Found::Mounted),
            Ok(Mount::Declined(url)) => {
                self.begun().insert(blob.digest, url);
            }
            // It may not be allowed where an upload is.
            Err(error) => tracing::debug!(%error, from, digest = %blob.digest, "not mounted"),
        }
        Ok(Found::Absent)
    }

    async fn send(&self, content: &Content) -> Result<(), RegistryError> {
        let what = format!("blobs/{}", content.blob.digest);
        let mut begun = self.begun().remove(&content.blob.digest);
        self.attempts(&what, || upload::send(&self.endpoint, content, begun.take())).await
    }

    async fn tag(&self, what: &str, body: Bytes, media_type: &str) -> Result<(), RegistryError> {
        self.attempts(what, || self.put_manifest(what, body.clone(), media_type)).await
    }

    /// Ends the uploads that the registry began and nobody used, so that it need not
    /// keep them until it wonders.
    async fn abandon(&self) {
        let begun = std::mem::take(&mut *self.begun());
        for url in begun.into_values() {
            if let Err(error) = self.endpoint.send(&Ask::empty(Method::DELETE, url)).await {
                tracing::debug!(%error, "upload not ended");
            }
        }
    }

    /// Tries again after what passes.
    async fn attempts<T, F: Future<Output = Result<T, RequestError>>>(
        &self,
        what: &str,
        mut attempt: impl FnMut() -> F,
    ) -> Result<T, RegistryError> {
        let mut attempts = Attempts::new(&self.retry);
        loop {
            let failed = |source| RegistryError::Send { url: self.endpoint.shown(what), source };
            match attempt().await {
                Ok(done) => return Ok(done),
                Err(error) => attempts.again_after(error).await.map_err(failed)?,
            }
        }
    }

    async fn put_manifest(
        &self,
        what: &str,
        body: Bytes,
        content_type: &str,
    ) -> Result<(), RequestError> {
        let url = self.endpoint.url(what).await?;
        let ask = Ask { method: Method::PUT, url, content_type, body };
        let response = self.endpoint.send(&ask).await?;
        let counters = Counters::default();
        self.endpoint.http.accepted(response, |code| code.is_success(), &counters).await.map(drop)
    }

    fn begun(&self) -> std::sync::MutexGuard<'_, HashMap<BlobDigest, Url>> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
