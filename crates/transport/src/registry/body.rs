//! The body of an answer as bytes of a blob.

use std::time::Instant;

use bytes::Bytes;
use reqwest::Response;

use super::endpoint::Endpoint;
use super::error::RequestError;
use super::http::Counters;
use super::meter::Stream;

/// A body as it arrives, metered and counted.
#[derive(Debug)]
pub(super) struct Incoming<'e> {
    endpoint: &'e Endpoint,
    counters: &'e Counters,
    stream: Stream<'e>,
    /// When the last bytes arrived, or else the head of the answer.
    last: Instant,
    response: Response,
}

impl<'e> Incoming<'e> {
    /// The body of an answer whose head has just come.
    pub(super) fn new(endpoint: &'e Endpoint, counters: &'e Counters, response: Response) -> Self {
        let (stream, last) = (endpoint.meter.stream(), Instant::now());
        Self { endpoint, counters, stream, last, response }
    }

    /// The next bytes, or the end.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, RequestError> {
        let chunk = self.endpoint.http.chunk(&mut self.response, self.counters).await?;
        if let Some(chunk) = &chunk {
            let now = Instant::now();
            self.stream.received(chunk.len() as u64, now - self.last);
            self.last = now;
        }
        Ok(chunk)
    }

    /// Reads what does not matter, if it is short, so that the connection can be used
    /// again.
    pub(super) async fn discard(self) {
        self.endpoint.http.small_body(self.response, self.counters).await;
    }
}

/// Bytes of a blob as they arrive.
#[derive(Debug)]
pub(super) struct Body<'e> {
    incoming: Incoming<'e>,
    /// Arrived and not read yet.
    rest: Bytes,
    /// Offset in the blob of the next byte that is read.
    at: u64,
    /// One behind the last byte that should come.
    end: u64,
}

impl<'e> Body<'e> {
    /// A body that should be the bytes from `at` to `end` of the blob.
    pub(super) fn new(
        endpoint: &'e Endpoint,
        counters: &'e Counters,
        response: Response,
        at: u64,
        end: u64,
    ) -> Self {
        let incoming = Incoming::new(endpoint, counters, response);
        Self { incoming, rest: Bytes::new(), at, end }
    }

    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// The next bytes: at least one, at most `limit`, which is not zero.
    pub(super) async fn read(&mut self, limit: u64) -> Result<Bytes, RequestError> {
        while self.rest.is_empty() {
            let Some(chunk) = self.incoming.chunk().await? else {
                return Err(RequestError::Short { expected: self.end, received: self.at });
            };
            self.rest = chunk;
        }
        let n = usize::try_from(limit).unwrap_or(usize::MAX).min(self.rest.len());
        self.at += n as u64;
        Ok(self.rest.split_to(n))
    }

    /// Reads up to `offset` and forgets it.
    pub(super) async fn skip_to(&mut self, offset: u64) -> Result<(), RequestError> {
        while self.at < offset {
            self.read(offset - self.at).await?;
        }
        Ok(())
    }
}
