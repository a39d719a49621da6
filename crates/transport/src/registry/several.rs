//! Several ranges by one request.

use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RANGE};
use reqwest::{Response, StatusCode};

use super::answer::{check_encoding, header};
use super::blob::Blob;
use super::body::Incoming;
use super::content_range::ContentRange;
use super::endpoint::Endpoint;
use super::error::RequestError;
use super::multipart::{Event, Multipart, MultipartError, boundary};
use super::pieces::Outlet;
use super::range::Job;

/// Longest wait for the end of a body that has brought everything.
const SOON: Duration = Duration::from_secs(5);

/// Why one request did not bring several ranges.
///
/// What it did bring is right, and its jobs know of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum SeveralError {
    /// The server or the line failed.
    #[error("ask for several ranges")]
    Request(#[from] RequestError),
    /// An answer with the whole blob or one part: dropped, however long it is.
    #[error("the answer has status {status} and content type {content_type:?}")]
    NotMultipart { status: u16, content_type: String },
    #[error("read the parts")]
    Multipart(#[from] MultipartError),
    /// Merged, repeated or shifted ranges, or those of another blob.
    #[error("bytes {}-{} were not asked for", .0.first, .0.last)]
    NotAsked(ContentRange),
    /// The body ended before its last boundary, or a part is missing.
    #[error("the answer ended too early")]
    Short,
}

impl SeveralError {
    /// What happens on a line that is bad, whatever the server can do.
    pub(super) fn passing(self) -> Result<RequestError, Self> {
        match self {
            Self::Request(error) if error.is_passing() && error.status() != Some(501) => Ok(error),
            odd => Err(odd),
        }
    }
}

/// Fetches what is left of jobs that are ascending, apart, and none of them done.
pub(super) async fn fetch(
    blob: &Blob,
    endpoint: &Endpoint,
    jobs: &[Arc<Job>],
    out: &Outlet,
) -> Result<(), SeveralError> {
    let mut headers = HeaderMap::new();
    headers.insert(RANGE, ranges(jobs));
    let asked = Instant::now();
    let response = blob.request(endpoint, &headers).await?;
    endpoint.meter.answered(asked.elapsed());
    let mut answer = Answer::new(blob, endpoint, response)?;
    answer.read(blob, jobs, out).await?;
    match tokio::time::timeout(SOON, answer.next()).await {
        Ok(Ok(Event::End)) => {}
        Ok(Ok(Event::Part(range))) => return Err(SeveralError::NotAsked(range)),
        Ok(Ok(Event::Content(_))) | Err(_) => return Err(SeveralError::Short),
        Ok(Err(error)) => return Err(error),
    }
    answer.incoming.discard().await;
    Ok(())
}

fn ranges(jobs: &[Arc<Job>]) -> HeaderValue {
    let mut ranges = String::from("bytes=");
    for (number, job) in jobs.iter().enumerate() {
        let comma = if number > 0 { "," } else { "" };
        write!(ranges, "{comma}{}-{}", job.at(), job.end() - 1).expect("a string takes it all");
    }
    HeaderValue::try_from(ranges).expect("digits")
}

/// An answer with several parts.
struct Answer<'e> {
    incoming: Incoming<'e>,
    parts: Multipart,
}

impl<'e> Answer<'e> {
    /// Dropping any other answer closes its connection or stream: nothing of it is read.
    fn new(
        blob: &'e Blob,
        endpoint: &'e Endpoint,
        response: Response,
    ) -> Result<Self, SeveralError> {
        check_encoding(&response)?;
        let content_type = header(&response, CONTENT_TYPE);
        let status = response.status();
        let boundary = boundary(content_type).filter(|_| status == StatusCode::PARTIAL_CONTENT);
        let parts = Multipart::new(boundary.ok_or_else(|| SeveralError::NotMultipart {
            status: status.as_u16(),
            content_type: content_type.into(),
        })?);
        Ok(Self { incoming: Incoming::new(endpoint, blob.counters(), response), parts })
    }

    /// Hands the parts over until all jobs are done.
    async fn read(
        &mut self,
        blob: &Blob,
        jobs: &[Arc<Job>],
        out: &Outlet,
    ) -> Result<(), SeveralError> {
        for _ in jobs {
            let Event::Part(range) = self.next().await? else { return Err(SeveralError::Short) };
            let job = asked_for(jobs, range, blob.size())?;
            while !job.is_done() {
                let Event::Content(bytes) = self.next().await? else {
                    return Err(SeveralError::Short);
                };
                job.take(bytes, out).await;
            }
        }
        Ok(())
    }

    async fn next(&mut self) -> Result<Event, SeveralError> {
        loop {
            if let Some(event) = self.parts.next()? {
                return Ok(event);
            }
            let chunk = self.incoming.chunk().await?.ok_or(SeveralError::Short)?;
            self.parts.push(chunk);
        }
    }
}

/// The job that a part brings exactly.
fn asked_for(jobs: &[Arc<Job>], range: ContentRange, size: u64) -> Result<&Arc<Job>, SeveralError> {
    let is_it = |job: &&Arc<Job>| job.at() == range.first && job.end() - 1 == range.last;
    jobs.iter()
        .filter(|job| !job.is_done() && range.size.is_none_or(|actual| actual == size))
        .find(is_it)
        .ok_or(SeveralError::NotAsked(range))
}
