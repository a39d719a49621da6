//! The places of an image, and which of them has shown that it holds it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use storage_core::Link;

use super::access::Access;
use super::documents::{self, Document, Expected};
use super::endpoint::{Endpoint, Ranges};
use super::error::RegistryError;
use super::http::Http;
use super::queue;
use crate::{DockerReference, Options, Retry};

/// Mirrors and registry of one image.
#[derive(Debug)]
pub(super) struct Places {
    endpoints: Vec<Arc<Endpoint>>,
    /// Index of the one that gave the manifest.
    preferred: AtomicUsize,
    pub(super) retry: Retry,
    pub(super) parallel: usize,
}

impl Places {
    pub(super) fn new(
        reference: &DockerReference,
        options: &Options,
    ) -> Result<Self, RegistryError> {
        let named = [crate::Endpoint::new(reference.name(), false)];
        let places = if options.endpoints.is_empty() { &named[..] } else { &options.endpoints };
        let endpoint = |place: &crate::Endpoint| {
            // Each has certificates of its own, so connections are not shared.
            let http = Arc::new(Http::of(options, place)?);
            let credentials = options.credentials.clone();
            Endpoint::new(&place.location, http, credentials, &Access::Pull).map(Arc::new)
        };
        let endpoints = places.iter().map(endpoint).collect::<Result<_, _>>()?;
        Ok(Self {
            endpoints,
            preferred: AtomicUsize::new(0),
            retry: options.retry.clone(),
            parallel: options.parallel.clamp(1, 8),
        })
    }

    /// All of them: the preferred one, then the others as the caller ordered them.
    pub(super) fn in_order(&self) -> Vec<Arc<Endpoint>> {
        let preferred = self.preferred.load(Ordering::Relaxed);
        let mut endpoints = self.endpoints.clone();
        endpoints[..=preferred].rotate_right(1);
        endpoints
    }

    /// Calls `trial`, which should ask for several ranges, unless that was done or it is
    /// known already what such a request leads to. Whoever else wants to know waits
    /// meanwhile.
    pub(super) fn try_several(&self, trial: impl FnOnce()) {
        let endpoint = &self.endpoints[self.preferred.load(Ordering::Relaxed)];
        // Nothing is behind the lock that a panic could have broken.
        let mut tried = endpoint.tried.lock().unwrap_or_else(PoisonError::into_inner);
        if !*tried && endpoint.ranges() != Ranges::Ignored && endpoint.several.is_unknown() {
            *tried = true;
            trial();
        }
    }

    /// The link to a blob of this size.
    ///
    /// Where only whole blobs can be had, a request of its own for a range costs a
    /// whole stream, and the link says so.
    pub(super) fn link(&self, size: u64) -> Link {
        let endpoint = &self.endpoints[self.preferred.load(Ordering::Relaxed)];
        let link = endpoint.meter.link(self.parallel);
        if endpoint.ranges() != Ranges::Ignored {
            let ranges_per_request = if endpoint.several.is_proved() { queue::MOST } else { 1 };
            return Link { ranges_per_request, ..link };
        }
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let stream = Duration::try_from_secs_f64(size as f64 / link.bytes_per_second);
        let round_trip = link.round_trip.saturating_add(stream.unwrap_or(Duration::MAX));
        Link { round_trip, parallel: 1, ..link }
    }

    /// A document from the first place that gives the right one.
    pub(super) async fn document(
        &self,
        what: &str,
        expected: Expected,
    ) -> Result<Document, RegistryError> {
        let mut errors = Vec::new();
        for endpoint in self.in_order() {
            match documents::get(&endpoint, what, expected, &self.retry).await {
                Ok(document) => {
                    self.prefer(&endpoint);
                    return Ok(document);
                }
                Err(error) => {
                    tracing::debug!(%error, "place failed");
                    errors.push(error);
                }
            }
        }
        Err(RegistryError::of_places(errors))
    }

    fn prefer(&self, endpoint: &Arc<Endpoint>) {
        let index = self.endpoints.iter().position(|other| Arc::ptr_eq(other, endpoint));
        self.preferred.store(index.unwrap_or(0), Ordering::Relaxed);
    }
}
