//! Ranges out of one stream of the whole blob, for registries that give nothing else.

use std::sync::Arc;

use reqwest::Response;
use reqwest::header::HeaderMap;

use super::answer::{Answer, answer};
use super::blob::Blob;
use super::body::Body;
use super::endpoint::Endpoint;
use super::error::RequestError;
use super::pieces::Outlet;
use super::range::Job;
use super::retry::Attempts;

/// Fetches what is left of all jobs; `response` may be an answer with the whole blob.
pub(super) async fn fetch(
    blob: &Blob,
    endpoint: &Endpoint,
    mut response: Option<Response>,
    jobs: &[Arc<Job>],
    out: &Outlet,
) -> Result<(), RequestError> {
    let mut attempts = Attempts::new(blob.retry());
    loop {
        let left = left(jobs);
        if left.is_empty() {
            return Ok(());
        }
        let progress = || left.iter().map(|job| job.at()).sum::<u64>();
        let before = progress();
        let pass = pass(blob, endpoint, response.take(), &left, out).await;
        if progress() > before {
            attempts.progress();
        }
        if let Err(error) = pass {
            attempts.again_after(error).await?;
        }
    }
}

/// What is not done yet, in the order in which the stream brings it.
fn left(jobs: &[Arc<Job>]) -> Vec<Arc<Job>> {
    let mut left: Vec<_> = jobs.iter().filter(|job| !job.is_done()).cloned().collect();
    left.sort_by_key(|job| job.at());
    left
}

/// One walk through the blob, up to the end of the last job.
///
/// Of jobs that overlap only the first is served; the next walk brings the others.
async fn pass(
    blob: &Blob,
    endpoint: &Endpoint,
    response: Option<Response>,
    jobs: &[Arc<Job>],
    out: &Outlet,
) -> Result<(), RequestError> {
    let response = match response {
        Some(response) => response,
        None => request(blob, endpoint).await?,
    };
    let mut body = Body::new(endpoint, blob.counters(), response, 0, blob.size());
    for job in jobs.iter().filter(|job| !job.is_done()) {
        if job.at() < body.at() {
            continue;
        }
        body.skip_to(job.at()).await?;
        while !job.is_done() {
            job.advance(&mut body, job.end(), out).await?;
        }
    }
    Ok(())
}

async fn request(blob: &Blob, endpoint: &Endpoint) -> Result<Response, RequestError> {
    let response = blob.request(endpoint, &HeaderMap::new()).await?;
    let (size, last) = (blob.size(), blob.size().saturating_sub(1));
    match answer(&response, 0, last, size)? {
        Answer::Part { end } if end < size => {
            // Nobody asked for a part.
            let answer = format!("is only the bytes up to {end}");
            Err(RequestError::OddRange { first: 0, last, answer })
        }
        Answer::Part { .. } | Answer::Whole => Ok(response),
    }
}
