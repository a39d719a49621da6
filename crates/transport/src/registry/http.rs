//! One request after another: connections, time limits, redirects, what a status means.

use std::pin::pin;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{
    Certificate, Client, ClientBuilder, Proxy, RequestBuilder, Response, StatusCode, Url,
};
use storage_core::Usage;

use super::error::{RegistryError, RequestError, ServerMessage, chain};
use super::proxy::Detours;
use super::redirect::{self, RedirectError, same_origin};
use super::trust::Trust;
use crate::{Certificates, Endpoint, Options};

/// Bytes of a body that is read only for its message, or so that its connection can be
/// used again.
const SMALL_BODY: usize = 16 * 1024;

/// Longest wait for such a body.
const SOON: Duration = Duration::from_secs(5);

/// Times the longest silence that a server may need to hash and keep what it was sent.
const TAKING_IN: u32 = 3;

/// What was sent and received, for whoever pays for it.
#[derive(Debug, Default)]
pub(super) struct Counters {
    requests: AtomicU64,
    bytes: AtomicU64,
}

impl Counters {
    pub(super) fn usage(&self) -> Usage {
        Usage {
            requests: self.requests.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }
}

/// Sends requests.
#[derive(Debug)]
pub(super) struct Http {
    /// Made when it is needed: without trusted certificates it cannot be made at all,
    /// and a registry on this machine needs none.
    verified: OnceLock<Result<Client, String>>,
    unverified: OnceLock<Result<Client, String>>,
    pub(super) trust: Trust,
    detours: Detours,
    identity: Identity,
    stall: Duration,
}

/// Whom to trust, and who to be.
#[derive(Debug, Default)]
pub(super) struct Identity {
    authorities: Vec<Certificate>,
    own: Option<reqwest::Identity>,
}

impl Identity {
    pub(super) fn new(host: &str, certificates: &Certificates) -> Result<Self, RegistryError> {
        let wrong = |source: reqwest::Error| RegistryError::Certificates {
            host: host.into(),
            source: source.into(),
        };
        let mut authorities = Vec::new();
        for pem in &certificates.authorities {
            authorities.extend(Certificate::from_pem_bundle(pem).map_err(wrong)?);
        }
        let own = certificates.identity.as_deref().map(reqwest::Identity::from_pem);
        Ok(Self { authorities, own: own.transpose().map_err(wrong)? })
    }
}

impl Http {
    /// With the trust and the patience that the options give, for a place with these
    /// certificates.
    pub(super) fn of(options: &Options, place: &Endpoint) -> Result<Self, RegistryError> {
        let insecure = options.endpoints.iter().filter(|endpoint| endpoint.insecure);
        let hosts = insecure.filter_map(|endpoint| endpoint.location.split('/').next());
        let hosts = hosts.chain(options.insecure_hosts.iter().map(String::as_str));
        let trust = Trust::new(options.tls_verify, hosts);
        let detours = Detours::new(&options.proxies)?;
        let identity = Identity::new(&place.location, &place.certificates)?;
        let (verified, unverified) = (OnceLock::new(), OnceLock::new());
        Ok(Self { verified, unverified, trust, detours, identity, stall: options.stall })
    }

    /// The client for an address. No redirect is followed inside it.
    pub(super) fn client(&self, url: &Url) -> Result<&Client, RequestError> {
        let lax = url.scheme() == "http" || self.trust.is_insecure(url);
        let cell = if lax { &self.unverified } else { &self.verified };
        let client = cell.get_or_init(|| self.build(lax).map_err(|error| chain(&error)));
        client.as_ref().map_err(|error| RequestError::Tls(error.clone().into()))
    }

    fn build(&self, lax: bool) -> reqwest::Result<Client> {
        let authorities = &self.identity.authorities;
        // Adding to what the system trusts fails where it trusts nothing.
        match self.builder(lax).tls_certs_merge(authorities.clone()).build() {
            Err(_) if !authorities.is_empty() => {
                self.builder(lax).tls_certs_only(authorities.clone()).build()
            }
            client => client,
        }
    }

    fn builder(&self, lax: bool) -> ClientBuilder {
        let detours = self.detours.clone();
        let builder = Client::builder()
            .user_agent(concat!("reflayer/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            // Those of the environment, which is not read here, would come on top.
            .no_proxy()
            .proxy(Proxy::custom(move |url| detours.of(url)))
            // Readers that pause must not use up what others share with them on
            // one connection: room for 32 of them.
            .http2_initial_stream_window_size(2 << 20)
            .http2_initial_connection_window_size(64 << 20)
            .connect_timeout(self.stall.min(Duration::from_secs(30)))
            .tls_danger_accept_invalid_certs(lax);
        match &self.identity.own {
            Some(own) => builder.identity(own.clone()),
            None => builder,
        }
    }

    /// Sends one request and waits for the head of its answer.
    pub(super) async fn exchange(
        &self,
        request: RequestBuilder,
        counters: &Counters,
    ) -> Result<Response, RequestError> {
        counters.requests.fetch_add(1, Ordering::Relaxed);
        match tokio::time::timeout(self.stall, request.send()).await {
            Ok(response) => Ok(response?),
            Err(_) => Err(RequestError::Stalled(self.stall)),
        }
    }

    /// Sends one request with a long body and waits for the head of its answer, for as
    /// long as the body moves or, once it is sent, a server may need to take it in.
    pub(super) async fn upload(
        &self,
        request: RequestBuilder,
        sent: &AtomicU64,
    ) -> Result<Response, RequestError> {
        let mut answer = pin!(request.send());
        let mut before = None;
        for _ in 0..TAKING_IN {
            loop {
                match tokio::time::timeout(self.stall, &mut answer).await {
                    Ok(response) => return Ok(response?),
                    Err(_) if before == Some(sent.load(Ordering::Relaxed)) => break,
                    Err(_) => before = Some(sent.load(Ordering::Relaxed)),
                }
            }
        }
        Err(RequestError::Stalled(self.stall * TAKING_IN))
    }

    /// Asks for `url` and follows redirects.
    ///
    /// The secret goes to the scheme, host and port of `url` only, and is not taken up
    /// again once it was dropped.
    pub(super) async fn get(
        &self,
        url: &Url,
        headers: &HeaderMap,
        mut secret: Option<HeaderValue>,
        counters: &Counters,
    ) -> Result<Response, RequestError> {
        let mut at = url.clone();
        for _ in 0..=redirect::MOST {
            let mut request = self.client(&at)?.get(at.clone()).headers(headers.clone());
            if let Some(secret) = &secret {
                request = request.header(AUTHORIZATION, secret);
            }
            let response = self.exchange(request, counters).await?;
            if !is_redirect(response.status()) {
                return Ok(response);
            }
            let location = response.headers().get(LOCATION).ok_or(RedirectError::Location)?;
            at = redirect::target(&at, location.as_bytes(), &self.trust)?;
            self.small_body(response, counters).await;
            if !same_origin(url, &at) {
                secret = None;
            }
        }
        Err(RedirectError::TooMany.into())
    }

    /// The next bytes of a body, or its end.
    pub(super) async fn chunk(
        &self,
        response: &mut Response,
        counters: &Counters,
    ) -> Result<Option<Bytes>, RequestError> {
        let chunk = match tokio::time::timeout(self.stall, response.chunk()).await {
            Ok(chunk) => chunk?,
            Err(_) => return Err(RequestError::Stalled(self.stall)),
        };
        let len = chunk.as_ref().map_or(0, Bytes::len);
        counters.bytes.fetch_add(len as u64, Ordering::Relaxed);
        Ok(chunk)
    }

    /// The start of a body that does not matter much, as far as it comes soon.
    pub(super) async fn small_body(&self, mut response: Response, counters: &Counters) -> Vec<u8> {
        let mut body = Vec::new();
        let read = async {
            while let Ok(Some(chunk)) = self.chunk(&mut response, counters).await {
                body.extend_from_slice(&chunk);
                if body.len() >= SMALL_BODY {
                    break;
                }
            }
        };
        // Late or not at all: what has come must do.
        let _: Result<(), _> = tokio::time::timeout(SOON, read).await;
        body.truncate(SMALL_BODY);
        body
    }

    /// Lets 200 and 206 pass; turns any other status into an error with its message.
    pub(super) async fn successful(
        &self,
        response: Response,
        counters: &Counters,
    ) -> Result<Response, RequestError> {
        let content = |code| matches!(code, StatusCode::OK | StatusCode::PARTIAL_CONTENT);
        self.accepted(response, content, counters).await
    }

    /// Lets what is wanted pass; turns any other status into an error with its message.
    pub(super) async fn accepted(
        &self,
        response: Response,
        wanted: impl Fn(StatusCode) -> bool,
        counters: &Counters,
    ) -> Result<Response, RequestError> {
        let code = response.status();
        if wanted(code) {
            return Ok(response);
        }
        let retry_after = retry_after(response.headers());
        let message = ServerMessage::from_body(&self.small_body(response, counters).await);
        let status = code.as_u16();
        Err(match code {
            StatusCode::NOT_FOUND => RequestError::NotFound(message),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                RequestError::Denied { status, message }
            }
            _ => RequestError::Status { status, retry_after, message },
        })
    }
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// The delay in seconds; the form with a date is left to our own pauses.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// An address without what may be secret in it.
pub(super) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    url.into()
}
