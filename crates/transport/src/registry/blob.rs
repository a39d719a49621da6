//! A blob in a registry as a source of ranges.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use reqwest::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue};
use reqwest::{Response, Url};
use storage_core::{BlobDigest, Link, Pieces, RangeSource, Usage};

use super::endpoint::Endpoint;
use super::error::RequestError;
use super::http::Counters;
use super::net::Net;
use super::places::Places;
use super::redirect::same_origin;
use super::{fetch, pieces, queue};
use crate::Retry;

/// What the tasks that fetch a blob share.
#[derive(Debug)]
pub(super) struct Blob {
    digest: BlobDigest,
    size: u64,
    places: Arc<Places>,
    counters: Counters,
    /// Where the registry sent us for this blob: asked directly while it answers.
    moved: Mutex<Option<Moved>>,
}

#[derive(Debug, Clone)]
struct Moved {
    from: Url,
    to: Url,
}

impl Blob {
    pub(super) fn digest(&self) -> &BlobDigest {
        &self.digest
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn path(&self) -> String {
        format!("blobs/{}", self.digest)
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(super) fn retry(&self) -> &Retry {
        &self.places.retry
    }

    pub(super) fn parallel(&self) -> usize {
        self.places.parallel
    }

    pub(super) fn places(&self) -> Vec<Arc<Endpoint>> {
        self.places.in_order()
    }

    /// Asks an endpoint for the blob; the answer is a 200 or 206.
    pub(super) async fn request(
        &self,
        endpoint: &Endpoint,
        headers: &HeaderMap,
    ) -> Result<Response, RequestError> {
        let url = endpoint.url(&self.path()).await?;
        let mut headers = headers.clone();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if let Some(to) = self.moved_to(&url) {
            // No secret goes along: the address itself is the permission, and it ends.
            match endpoint.http.get(&to, &headers, None, &self.counters).await {
                Ok(response) if response.status().is_success() => return Ok(response),
                Ok(response) => {
                    endpoint.http.small_body(response, &self.counters).await;
                    self.set_moved(None);
                }
                Err(error) => {
                    self.set_moved(None);
                    return Err(error);
                }
            }
        }
        let response = endpoint.get(&url, &headers, &self.counters).await?;
        if !same_origin(&url, response.url()) {
            self.set_moved(Some(Moved { from: url, to: response.url().clone() }));
        }
        Ok(response)
    }

    fn moved_to(&self, from: &Url) -> Option<Url> {
        let moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        moved.as_ref().filter(|moved| moved.from == *from).map(|moved| moved.to.clone())
    }

    fn set_moved(&self, moved: Option<Moved>) {
        *self.moved.lock().unwrap_or_else(PoisonError::into_inner) = moved;
    }
}

/// Bytes from one range to the next, when it is only tried whether several can be had
/// at once: no server would merge them.
const TRIAL_GAP: u64 = 1000;

/// The handle on a blob that users hold.
#[derive(Debug)]
pub(super) struct RegistryBlob {
    blob: Arc<Blob>,
    net: Arc<Net>,
}

impl RegistryBlob {
    pub(super) fn new(digest: BlobDigest, size: u64, places: Arc<Places>, net: Arc<Net>) -> Self {
        let (counters, moved) = Default::default();
        Self { blob: Arc::new(Blob { digest, size, places, counters, moved }), net }
    }
}

impl RangeSource for RegistryBlob {
    fn size(&self) -> u64 {
        self.blob.size
    }

    fn link(&self) -> Link {
        self.blob.places.link(self.blob.size)
    }

    fn link_for_many(&self) -> Link {
        // The first one alone, where not even that was tried.
        let count = queue::TRIAL as u64 + 1;
        if self.blob.size >= count * TRIAL_GAP {
            let bytes = (0..count).map(|n| n * TRIAL_GAP..n * TRIAL_GAP + 1).collect();
            // A failure will come again, where it can be told.
            self.blob.places.try_several(|| self.fetch(bytes).for_each(drop));
        }
        self.link()
    }

    fn usage(&self) -> Usage {
        self.blob.counters.usage()
    }

    fn fetch(&self, ranges: Vec<Range<u64>>) -> Pieces {
        let blob = self.blob.clone();
        Pieces::arriving(pieces::start(&self.net, |out| fetch::run(blob, ranges, out)))
    }
}
