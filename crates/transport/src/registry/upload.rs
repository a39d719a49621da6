//! One blob on its way into a registry.
//!
//! ```text
//! POST  uploads/            202, a location         (or: mounted, 201)
//! PATCH location            the blob; 202, a location
//! PUT   location?digest=…   201
//! ```
//!
//! The blob goes in one piece: pieces of pieces are what registries differ in. After a
//! failure it goes again from its start, in a new upload.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, LOCATION};
use reqwest::{Body, Method, Response, StatusCode, Url};
use storage_core::BlobDigest;

use super::endpoint::{Ask, Endpoint};
use super::error::{RequestError, ServerMessage};
use super::http::Counters;
use super::outgoing::{Outgoing, Told};
use super::redirect;
use crate::StoredBlob;

/// What is sent, and who follows it.
#[derive(Clone)]
pub(super) struct Content {
    pub(super) blob: StoredBlob,
    pub(super) file: Arc<File>,
    pub(super) told: Told,
}

/// Whether a blob was mounted, and else where it may be sent.
pub(super) enum Mount {
    Done,
    Declined(Url),
}

/// Whether the repository has a blob of this digest.
///
/// A redirect leads to where it is; it is not followed, since the address that it gives
/// is often good for nothing but a GET.
pub(super) async fn is_there(endpoint: &Endpoint, blob: &StoredBlob) -> Result<bool, RequestError> {
    let url = endpoint.url(&format!("blobs/{}", blob.digest)).await?;
    let response = endpoint.send(&Ask::empty(Method::HEAD, url)).await?;
    let code = response.status();
    if code == StatusCode::NOT_FOUND {
        return Ok(false);
    }
    let there = |code: StatusCode| code == StatusCode::OK || code.is_redirection();
    let response = endpoint.http.accepted(response, there, &Counters::default()).await?;
    let length = response.headers().get(reqwest::header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    match length.filter(|length| code == StatusCode::OK && *length != blob.size) {
        Some(actual) => Err(RequestError::Size { expected: blob.size, actual }),
        None => Ok(true),
    }
}

/// Asks the registry to take a blob over from another of its repositories.
pub(super) async fn mount(
    endpoint: &Endpoint,
    digest: &BlobDigest,
    from: &str,
) -> Result<Mount, RequestError> {
    let mut url = endpoint.url("blobs/uploads/").await?;
    url.query_pairs_mut().append_pair("mount", &digest.to_string()).append_pair("from", from);
    let response = started(endpoint, url).await?;
    if response.status() == StatusCode::CREATED {
        return Ok(Mount::Done);
    }
    location(endpoint, &response).map(Mount::Declined)
}

/// Sends a blob, from its start, into an upload that was begun or a new one.
pub(super) async fn send(
    endpoint: &Endpoint,
    content: &Content,
    begun: Option<Url>,
) -> Result<(), RequestError> {
    let to = match begun {
        Some(url) => url,
        None => {
            let url = endpoint.url("blobs/uploads/").await?;
            location(endpoint, &started(endpoint, url).await?)?
        }
    };
    let mut end = stream(endpoint, content, to).await?;
    end.query_pairs_mut().append_pair("digest", &content.blob.digest.to_string());
    let response = endpoint.send(&Ask::empty(Method::PUT, end)).await?;
    taken(endpoint, response).await.map(drop)
}

async fn started(endpoint: &Endpoint, url: Url) -> Result<Response, RequestError> {
    let response = endpoint.send(&Ask::empty(Method::POST, url)).await?;
    endpoint.http.accepted(response, |code| code.is_success(), &Counters::default()).await
}

/// Sends the bytes, and gives the address at which the upload is closed.
async fn stream(endpoint: &Endpoint, content: &Content, to: Url) -> Result<Url, RequestError> {
    let secret = endpoint.secret_for(&to).await?;
    let sent = Arc::new(AtomicU64::new(0));
    let Content { blob, file, told } = content.clone();
    let body = Body::wrap(Outgoing::new(file, blob.size, sent.clone(), told));
    let mut request = endpoint.http.client(&to)?.patch(to.clone()).body(body);
    request = request.header(CONTENT_TYPE, "application/octet-stream");
    if let Some(secret) = &secret {
        request = request.header(AUTHORIZATION, secret);
    }
    let response = endpoint.http.upload(request, &sent).await?;
    if response.status() == StatusCode::UNAUTHORIZED && endpoint.is_ours(&to) {
        endpoint.login(response, secret.as_ref(), &Counters::default()).await?;
        return Err(RequestError::UploadLost { status: 401, message: ServerMessage::default() });
    }
    location(endpoint, &taken(endpoint, response).await?)
}

/// Lets a success pass. That the upload is unknown, or stands elsewhere, passes.
async fn taken(endpoint: &Endpoint, response: Response) -> Result<Response, RequestError> {
    let success = |code: StatusCode| code.is_success();
    match endpoint.http.accepted(response, success, &Counters::default()).await {
        Err(RequestError::NotFound(message)) => {
            Err(RequestError::UploadLost { status: 404, message })
        }
        Err(RequestError::Status { status: 416, message, .. }) => {
            Err(RequestError::UploadLost { status: 416, message })
        }
        result => result,
    }
}

/// Where an upload goes on, if going there is allowed.
fn location(endpoint: &Endpoint, response: &Response) -> Result<Url, RequestError> {
    let location = response.headers().get(LOCATION).ok_or(RequestError::NoLocation)?;
    Ok(redirect::target(response.url(), location.as_bytes(), &endpoint.http.trust)?)
}
