//! Who we are to a registry: logins and tokens.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Response, Url};
use tokio::sync::{Mutex, OnceCell};

use super::access::Access;
use super::challenge::{self, Challenge};
use super::error::RequestError;
use super::http::{Counters, Http};
use crate::{Credentials, CredentialsError, Login};

/// Largest answer of a token service that is read.
const TOKEN_LIMIT: usize = 1 << 20;
/// Lifetime of a token that does not say how long it lives, as the protocol has it.
const TOKEN_LIFE: Duration = Duration::from_mins(1);
/// A token is renewed this long before it ends.
const MARGIN: Duration = Duration::from_secs(5);

/// Why authentication did not work out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// The registry wants a login, and there is none.
    #[error("{name} wants a login, and there is none for it")]
    NoLogin {
        /// Host and repository.
        name: String,
    },
    /// The login was refused.
    #[error("{name} does not accept the login")]
    Refused {
        /// Host and repository.
        name: String,
    },
    /// The login could not be looked up.
    #[error("look up the login for {name}")]
    Lookup {
        /// Host and repository.
        name: String,
        /// Why.
        source: CredentialsError,
    },
    /// Nothing that we can do was offered.
    #[error("{name} wants authentication of an unknown kind")]
    Scheme {
        /// Host and repository.
        name: String,
    },
    /// A token service that a login must not be sent to.
    #[error("the registry names the token service {realm:?}, which is not reached by HTTPS")]
    Realm {
        /// As the registry wrote it.
        realm: String,
    },
    /// The token service failed.
    #[error("get a token from {realm}")]
    Token {
        /// Address of the service.
        realm: String,
        /// Why it failed.
        source: Box<RequestError>,
    },
    /// An answer of the token service without a token.
    #[error("the answer of {realm} holds no usable token")]
    NoToken {
        /// Address of the service.
        realm: String,
        /// What is wrong with it.
        source: Box<dyn Error + Send + Sync>,
    },
}

impl AuthError {
    pub(super) fn is_passing(&self) -> bool {
        matches!(self, Self::Token { source, .. } if source.is_passing())
    }

    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Token { source, .. } => source.retry_after(),
            _ => None,
        }
    }
}

/// Authentication for one repository at one registry.
pub(super) struct Auth {
    /// `host[:port]/repository`, the key of the login.
    name: String,
    /// What a token is wanted for.
    scopes: Vec<String>,
    credentials: Arc<dyn Credentials>,
    login: OnceCell<Option<Login>>,
    /// Held while a token is fetched, so that requests side by side fetch one.
    known: Mutex<Known>,
}

/// What the registry is known to want.
#[derive(Default)]
enum Known {
    #[default]
    Nothing,
    Basic(HeaderValue),
    Bearer(Token),
}

struct Token {
    header: HeaderValue,
    ends: Instant,
    service: Service,
}

/// Where tokens come from.
#[derive(Clone)]
struct Service {
    realm: Url,
    name: Option<String>,
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Auth").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Auth {
    pub(super) fn new(
        host: &str,
        repository: &str,
        access: &Access,
        credentials: Arc<dyn Credentials>,
    ) -> Self {
        Self {
            name: format!("{host}/{repository}"),
            scopes: access.scopes(repository),
            credentials,
            login: OnceCell::new(),
            known: Mutex::default(),
        }
    }

    /// The header to send now; a token at its end is renewed before.
    pub(super) async fn header(&self, http: &Http) -> Result<Option<HeaderValue>, AuthError> {
        let mut known = self.known.lock().await;
        let service = match &*known {
            Known::Nothing => return Ok(None),
            Known::Basic(header) => return Ok(Some(header.clone())),
            Known::Bearer(token) if Instant::now() < token.ends => {
                return Ok(Some(token.header.clone()));
            }
            Known::Bearer(token) => token.service.clone(),
        };
        let token = self.token(http, service).await?;
        let header = token.header.clone();
        *known = Known::Bearer(token);
        Ok(Some(header))
    }

    /// The header to send after the registry answered `response` (401) to `sent`.
    pub(super) async fn challenged(
        &self,
        http: &Http,
        response: &Response,
        sent: Option<&HeaderValue>,
    ) -> Result<HeaderValue, AuthError> {
        let mut known = self.known.lock().await;
        match &*known {
            // Another request was faster.
            Known::Basic(header) | Known::Bearer(Token { header, .. }) if sent != Some(header) => {
                return Ok(header.clone());
            }
            Known::Basic(_) => return Err(AuthError::Refused { name: self.name.clone() }),
            _ => {}
        }
        let challenges: Vec<_> = response
            .headers()
            .get_all(WWW_AUTHENTICATE)
            .iter()
            .filter_map(|header| header.to_str().ok())
            .flat_map(challenge::parse)
            .collect();
        let of_scheme = |scheme: &str| challenges.iter().find(|c| c.scheme == scheme);
        let header = if let Some(bearer) = of_scheme("bearer") {
            let service = service(http, response.url(), bearer)?;
            let token = self.token(http, service).await?;
            let header = token.header.clone();
            *known = Known::Bearer(token);
            header
        } else if of_scheme("basic").is_some() {
            let header = self.basic().await?;
            *known = Known::Basic(header.clone());
            header
        } else {
            return Err(AuthError::Scheme { name: self.name.clone() });
        };
        Ok(header)
    }

    async fn basic(&self) -> Result<HeaderValue, AuthError> {
        let name = || self.name.clone();
        match self.login().await? {
            Some(Login::Password { username, password }) => {
                basic_header(username, password).ok_or_else(|| AuthError::Refused { name: name() })
            }
            Some(Login::IdentityToken(_)) | None => Err(AuthError::NoLogin { name: name() }),
        }
    }

    /// Looked up once; on a thread that may wait, since it may run a helper program.
    async fn login(&self) -> Result<Option<&Login>, AuthError> {
        let lookup = || async {
            let (credentials, name) = (self.credentials.clone(), self.name.clone());
            tokio::task::spawn_blocking(move || credentials.for_repository(&name))
                .await
                .unwrap_or_else(|panicked| Err(panicked.into()))
                .map_err(|source| AuthError::Lookup { name: self.name.clone(), source })
        };
        Ok(self.login.get_or_try_init(lookup).await?.as_ref())
    }

    async fn token(&self, http: &Http, service: Service) -> Result<Token, AuthError> {
        let realm = super::http::shown(&service.realm);
        let asked = Instant::now();
        let body = self.ask_for_token(http, &service).await.map_err(|error| match error {
            RequestError::Auth(error) => error,
            RequestError::Denied { .. } => AuthError::Refused { name: self.name.clone() },
            error => AuthError::Token { realm: realm.clone(), source: error.into() },
        })?;
        let no_token = |source| AuthError::NoToken { realm: realm.clone(), source };
        let answer: TokenAnswer =
            serde_json::from_slice(&body).map_err(|error| no_token(error.into()))?;
        let life = answer.expires_in.and_then(|life| life.as_u64()).unwrap_or(0);
        // Not earlier than the protocol's default: some services give absurdly short lives.
        let life = Duration::from_secs(life).max(TOKEN_LIFE);
        let ends = asked.checked_add(life.saturating_sub(MARGIN)).unwrap_or(asked);
        let text =
            [answer.token, answer.access_token].into_iter().flatten().find(|t| !t.is_empty());
        let text = text.ok_or("there is neither token nor access_token");
        let header = text
            .map_err(Into::into)
            .and_then(|text| HeaderValue::try_from(format!("Bearer {text}")).map_err(Into::into))
            .map_err(no_token)?;
        Ok(Token { header: sensitive(header), ends, service })
    }

    async fn ask_for_token(&self, http: &Http, service: &Service) -> Result<Vec<u8>, RequestError> {
        let counters = Counters::default();
        let name = service.name.iter().map(|name| ("service", name.as_str()));
        let login = self.login().await?;
        let mut url = service.realm.clone();
        let response = if let Some(Login::IdentityToken(token)) = login {
            let scopes = self.scopes.join(" ");
            let fields = name.chain([("scope", scopes.as_str())]);
            let grant = [("grant_type", "refresh_token"), ("refresh_token", token)];
            let form = encode(fields.chain(grant).chain([("client_id", "reflayer")]));
            let request = http
                .client(&url)?
                .post(url)
                .header("content-type", "application/x-www-form-urlencoded")
                .body(form);
            http.exchange(request, &counters).await?
        } else {
            let scopes = self.scopes.iter().map(|scope| ("scope", scope.as_str()));
            url.query_pairs_mut().extend_pairs(name.chain(scopes));
            let secret = match login {
                Some(Login::Password { username, password }) => {
                    url.query_pairs_mut().append_pair("account", username);
                    basic_header(username, password)
                }
                _ => None,
            };
            http.get(&url, &HeaderMap::new(), secret, &counters).await?
        };
        let mut response = http.successful(response, &counters).await?;
        let mut body = Vec::new();
        while let Some(chunk) = http.chunk(&mut response, &counters).await? {
            body.extend_from_slice(&chunk);
            if body.len() > TOKEN_LIMIT {
                return Err(RequestError::TooLarge(TOKEN_LIMIT as u64));
            }
        }
        Ok(body)
    }
}

/// The token service that a registry names, if a login may be sent there: by HTTPS, or
/// plainly where that is allowed and the registry itself is reached plainly.
fn service(http: &Http, registry: &Url, challenge: &Challenge) -> Result<Service, AuthError> {
    let realm = challenge.get("realm").unwrap_or_default();
    let refused = || AuthError::Realm { realm: realm.into() };
    let url = Url::parse(realm).map_err(|_| refused())?;
    let protected = match url.scheme() {
        "https" => true,
        "http" => registry.scheme() == "http" && http.trust.allows_plain(&url),
        _ => false,
    };
    if protected && url.username().is_empty() && url.password().is_none() {
        Ok(Service { realm: url, name: challenge.get("service").map(Into::into) })
    } else {
        Err(refused())
    }
}

#[derive(serde::Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<serde_json::Value>,
}

fn basic_header(username: &str, password: &str) -> Option<HeaderValue> {
    let encoded = STANDARD.encode(format!("{username}:{password}"));
    HeaderValue::try_from(format!("Basic {encoded}")).ok().map(sensitive)
}

/// Keeps a secret out of debug output.
fn sensitive(mut header: HeaderValue) -> HeaderValue {
    header.set_sensitive(true);
    header
}

/// As the body of a form.
fn encode<'f>(fields: impl Iterator<Item = (&'f str, &'f str)>) -> String {
    let mut url = Url::parse("http://form/").expect("a constant");
    url.query_pairs_mut().extend_pairs(fields);
    url.query().unwrap_or_default().into()
}
