//! Manifests and configs from a registry: small, and read whole.

use std::time::Instant;

use reqwest::Response;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use storage_core::{BlobDigest, Digest, VerifyError};

use super::endpoint::Endpoint;
use super::error::{RegistryError, RequestError};
use super::http::Counters;
use super::retry::Attempts;
use crate::Retry;
use crate::manifest::{MANIFEST_LIMIT, media_type};

/// A document and what the server calls it.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) bytes: Vec<u8>,
    pub(super) digest: BlobDigest,
    pub(super) content_type: String,
}

/// What must hold of a document.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Expected {
    pub(super) digest: Option<BlobDigest>,
    pub(super) size: Option<u64>,
}

/// Gets `manifests/<tag or digest>` or `blobs/<digest>` of an endpoint.
pub(super) async fn get(
    endpoint: &Endpoint,
    what: &str,
    expected: Expected,
    retry: &Retry,
) -> Result<Document, RegistryError> {
    let failed = |source| RegistryError::Request { url: endpoint.shown(what), source };
    let mut attempts = Attempts::new(retry);
    let document = loop {
        match attempt(endpoint, what, expected).await {
            Ok(document) => break document,
            Err(error) => attempts.again_after(error).await.map_err(failed)?,
        }
    };
    check(&document, expected)
        .map_err(|source| RegistryError::Content { url: endpoint.shown(what), source })?;
    Ok(document)
}

async fn attempt(
    endpoint: &Endpoint,
    what: &str,
    expected: Expected,
) -> Result<Document, RequestError> {
    let url = endpoint.url(what).await?;
    let mut headers = HeaderMap::new();
    if what.starts_with("manifests/") {
        headers.insert(ACCEPT, HeaderValue::from_static(media_type::ACCEPT));
    }
    let counters = Counters::default();
    let asked = Instant::now();
    let response = endpoint.get(&url, &headers, &counters).await?;
    endpoint.meter.answered(asked.elapsed());
    let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let content_type = content_type.unwrap_or_default().to_owned();
    let limit = expected.size.unwrap_or(MANIFEST_LIMIT).min(MANIFEST_LIMIT);
    let bytes = body(endpoint, response, limit, expected.size).await?;
    let digest = Digest::of(&bytes).into();
    Ok(Document { bytes, digest, content_type })
}

async fn body(
    endpoint: &Endpoint,
    mut response: Response,
    limit: u64,
    size: Option<u64>,
) -> Result<Vec<u8>, RequestError> {
    let counters = Counters::default();
    let announced = response.content_length();
    let mut bytes = Vec::new();
    while let Some(chunk) = endpoint.http.chunk(&mut response, &counters).await? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() as u64 > limit {
            let actual = announced.unwrap_or(bytes.len() as u64);
            return Err(match size {
                Some(expected) => RequestError::Size { expected, actual },
                None => RequestError::TooLarge(limit),
            });
        }
    }
    match announced {
        // The library reports a cut body for one length and not for the other.
        Some(expected) if (bytes.len() as u64) < expected => {
            Err(RequestError::Short { expected, received: bytes.len() as u64 })
        }
        _ => Ok(bytes),
    }
}

fn check(document: &Document, expected: Expected) -> Result<(), VerifyError> {
    let actual = document.bytes.len() as u64;
    match expected.size {
        Some(expected) if actual < expected => return Err(VerifyError::Short { expected, actual }),
        Some(expected) if actual > expected => return Err(VerifyError::Long { expected }),
        _ => {}
    }
    match expected.digest {
        Some(expected) if expected != document.digest => Err(VerifyError::Digest {
            expected: *expected.digest(),
            actual: *document.digest.digest(),
        }),
        _ => Ok(()),
    }
}
