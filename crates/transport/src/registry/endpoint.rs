//! One place that holds an image.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, Response, StatusCode, Url};
use tokio::sync::{OnceCell, watch};

use super::access::Access;
use super::auth::Auth;
use super::error::{RegistryError, RequestError};
use super::http::{Counters, Http};
use super::meter::Meter;
use super::proof::Proof;
use super::redirect::same_origin;
use crate::{Credentials, DockerReference};

/// Times in a row that a request is sent again with a fresh login or token, while no
/// other request was let in.
const LOGINS: usize = 2;

/// Times in all: the number is a guess, far above what tokens of a single use need.
const MOST_LOGINS: usize = 50;

/// A repository at a registry or a mirror.
#[derive(Debug)]
pub(super) struct Endpoint {
    /// `https://host/v2/`, as it may or may not turn out to be.
    tls: Url,
    repository: String,
    pub(super) http: Arc<Http>,
    auth: Auth,
    /// Requests that were let in with a login or token.
    let_in: AtomicU64,
    /// `https://host/v2/` or the same by plain HTTP, once it is known.
    base: OnceCell<Url>,
    pub(super) meter: Meter,
    ranges: watch::Sender<Ranges>,
    /// Whether one request may ask for several ranges.
    pub(super) several: Proof,
    /// Whether somebody tried to find that out ahead of a plan; held meanwhile.
    pub(super) tried: Mutex<bool>,
}

/// What a registry has shown of its way with ranges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ranges {
    Unknown,
    Honoured,
    /// Only whole blobs can be had.
    Ignored,
}

/// A request with a short body.
#[derive(Debug)]
pub(super) struct Ask<'a> {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) content_type: &'a str,
    pub(super) body: Bytes,
}

impl Ask<'_> {
    /// A request without a body.
    pub(super) fn empty(method: Method, url: Url) -> Self {
        Self { method, url, content_type: "application/octet-stream", body: Bytes::new() }
    }
}

impl Endpoint {
    /// An endpoint at `host[:port]/repository`.
    pub(super) fn new(
        location: &str,
        http: Arc<Http>,
        credentials: Arc<dyn Credentials>,
        access: &Access,
    ) -> Result<Self, RegistryError> {
        let wrong = || RegistryError::Location(location.into());
        let (host, repository) = location.split_once('/').ok_or_else(wrong)?;
        DockerReference::check_location(host, repository).map_err(|_| wrong())?;
        // The hub's name in references is not the name of its server.
        let server = if host == "docker.io" { "registry-1.docker.io" } else { host };
        let tls = Url::parse(&format!("https://{server}/v2/")).map_err(|_| wrong())?;
        Ok(Self {
            tls,
            repository: repository.into(),
            auth: Auth::new(host, repository, access, credentials),
            http,
            let_in: AtomicU64::new(0),
            base: OnceCell::new(),
            meter: Meter::default(),
            ranges: watch::Sender::new(Ranges::Unknown),
            several: Proof::default(),
            tried: Mutex::default(),
        })
    }

    /// What is known of ranges now.
    pub(super) fn ranges(&self) -> Ranges {
        *self.ranges.borrow()
    }

    /// Remembers an answer to a request for a range.
    pub(super) fn set_ranges(&self, ranges: Ranges) {
        self.ranges.send_replace(ranges);
    }

    /// Waits until some request has shown what the registry does with ranges.
    pub(super) async fn ranges_known(&self) {
        let mut ranges = self.ranges.subscribe();
        // The sender is ours, so it cannot be gone.
        let _: Result<_, _> = ranges.wait_for(|ranges| *ranges != Ranges::Unknown).await.map(drop);
    }

    /// Address of a manifest (`manifests/v1`) or a blob (`blobs/sha256:…`).
    pub(super) async fn url(&self, what: &str) -> Result<Url, RequestError> {
        let base = self.base.get_or_try_init(|| self.find_base()).await?;
        let path = format!("{}/{what}", self.repository);
        Ok(base.join(&path).expect("repository, tag and digest have only plain characters"))
    }

    /// How errors name what is asked for.
    pub(super) fn shown(&self, what: &str) -> String {
        match self.base.get() {
            Some(base) => format!("{base}{}/{what}", self.repository),
            None => format!("{}{}/{what}", self.tls, self.repository),
        }
    }

    /// Where HTTPS is not demanded, it is tried first all the same.
    async fn find_base(&self) -> Result<Url, RequestError> {
        let (tls, mut plain) = (self.tls.clone(), self.tls.clone());
        plain.set_scheme("http").expect("one web scheme becomes another");
        if !self.http.trust.allows_plain(&plain) {
            return Ok(tls);
        }
        let error = match self.ping(&tls).await {
            Ok(()) => return Ok(tls),
            Err(error) => error,
        };
        match self.ping(&plain).await {
            Ok(()) => Ok(plain),
            // What a server of TLS does with plain HTTP says nothing new.
            Err(RequestError::Status { .. } | RequestError::Connection(_)) => Err(error),
            Err(error) => Err(error),
        }
    }

    /// Whether a registry answers at all; most demand a login even for this.
    async fn ping(&self, base: &Url) -> Result<(), RequestError> {
        let counters = Counters::default();
        let request = self.http.client(base)?.get(base.clone());
        let response = self.http.exchange(request, &counters).await?;
        // So says a server of TLS to plain HTTP.
        if response.status() == StatusCode::BAD_REQUEST {
            return self.http.successful(response, &counters).await.map(drop);
        }
        self.http.small_body(response, &counters).await;
        Ok(())
    }

    /// Asks for an address of this registry, with a login where it wants one.
    ///
    /// The answer is a 200 or 206.
    pub(super) async fn get(
        &self,
        url: &Url,
        headers: &HeaderMap,
        counters: &Counters,
    ) -> Result<Response, RequestError> {
        let mut secret = self.auth.header(&self.http).await?;
        let mut logins = Logins::new(&self.let_in);
        loop {
            let response = self.http.get(url, headers, secret.clone(), counters).await?;
            // What a storage server far away wants to know is not answered.
            let ours = same_origin(url, response.url());
            if response.status() != StatusCode::UNAUTHORIZED || !ours {
                logins.right(secret.as_ref());
                return self.http.successful(response, counters).await;
            }
            if !logins.another() {
                return self.http.successful(response, counters).await;
            }
            secret = Some(self.login(response, secret.as_ref(), counters).await?);
        }
    }

    /// Sends a request with a short body, with a login where the registry wants one;
    /// the answer, whatever it is.
    ///
    /// No redirect is followed, and an address elsewhere gets no secret.
    pub(super) async fn send(&self, ask: &Ask<'_>) -> Result<Response, RequestError> {
        let counters = Counters::default();
        let mut secret = self.secret_for(&ask.url).await?;
        let mut logins = Logins::new(&self.let_in);
        loop {
            let client = self.http.client(&ask.url)?;
            let mut request = client.request(ask.method.clone(), ask.url.clone());
            if ask.method != Method::HEAD {
                // Also where it is nothing: some servers insist on the length.
                request = request
                    .header(CONTENT_LENGTH, ask.body.len())
                    .header(CONTENT_TYPE, ask.content_type)
                    .body(ask.body.clone());
            }
            if let Some(secret) = &secret {
                request = request.header(AUTHORIZATION, secret);
            }
            let response = self.http.exchange(request, &counters).await?;
            if response.status() != StatusCode::UNAUTHORIZED {
                logins.right(secret.as_ref());
                return Ok(response);
            }
            if !self.is_ours(&ask.url) || !logins.another() {
                return Ok(response);
            }
            secret = Some(self.login(response, secret.as_ref(), &counters).await?);
        }
    }

    /// The secret to send to an address, if it is one of this registry.
    pub(super) async fn secret_for(&self, url: &Url) -> Result<Option<HeaderValue>, RequestError> {
        if self.is_ours(url) { Ok(self.auth.header(&self.http).await?) } else { Ok(None) }
    }

    pub(super) fn is_ours(&self, url: &Url) -> bool {
        self.base.get().is_some_and(|base| same_origin(base, url))
    }

    pub(super) async fn login(
        &self,
        response: Response,
        sent: Option<&HeaderValue>,
        counters: &Counters,
    ) -> Result<HeaderValue, RequestError> {
        let secret = self.auth.challenged(&self.http, &response, sent).await?;
        self.http.small_body(response, counters).await;
        Ok(secret)
    }
}

/// The logins of one request.
///
/// A registry that lets in others may have ended the token, or they have used it up: that
/// says nothing against the next one. Where it lets in nobody, it does not want us.
struct Logins<'e> {
    let_in: &'e AtomicU64,
    seen: u64,
    in_a_row: usize,
    in_all: usize,
}

impl<'e> Logins<'e> {
    fn new(let_in: &'e AtomicU64) -> Self {
        Self { let_in, seen: let_in.load(Ordering::Relaxed), in_a_row: 0, in_all: 0 }
    }

    /// Remembers that the registry took this.
    fn right(&self, secret: Option<&HeaderValue>) {
        if secret.is_some() {
            self.let_in.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether one more may help.
    fn another(&mut self) -> bool {
        let before = std::mem::replace(&mut self.seen, self.let_in.load(Ordering::Relaxed));
        self.in_a_row = if self.seen > before { 1 } else { self.in_a_row + 1 };
        self.in_all += 1;
        self.in_a_row <= LOGINS && self.in_all <= MOST_LOGINS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_end_where_nobody_is_let_in_and_somewhere_in_any_case() {
        let let_in = AtomicU64::new(7);
        let mut logins = Logins::new(&let_in);
        assert!([logins.another(), logins.another()] == [true; 2] && !logins.another());
        let mut logins = Logins::new(&let_in);
        let others = (1..).take_while(|_| {
            let_in.fetch_add(1, Ordering::Relaxed);
            logins.another()
        });
        assert_eq!(others.last(), Some(MOST_LOGINS));
    }
}
