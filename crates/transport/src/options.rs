//! What a caller decides about the way to an image.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How to reach an image.
///
/// ```
/// use transport::{Endpoint, Options};
///
/// let mut options = Options::default();
/// options.endpoints.push(Endpoint::new("mirror.local:5000/library/app", true));
/// options.parallel = 8;
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct Options {
    /// Who to be, where a registry asks.
    pub credentials: Arc<dyn Credentials>,
    /// Whether certificates are checked and plain HTTP is refused, for hosts that are
    /// neither loopback addresses nor named insecure. On by default.
    pub tls_verify: bool,
    /// Registries (`host[:port]`) that may be reached by plain HTTP or with any certificate.
    pub insecure_hosts: Vec<String>,
    /// Places of this one image, tried in order; empty means where its name says.
    pub endpoints: Vec<Endpoint>,
    /// Proxies; none by default.
    pub proxies: Proxies,
    /// Requests for ranges under way at once, 1 to 8; 4 by default.
    pub parallel: usize,
    /// Longest time without any byte, from connecting to the last byte; 60 s by default.
    pub stall: Duration,
    /// When to try again.
    pub retry: Retry,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            credentials: Arc::new(Anonymous),
            tls_verify: true,
            insecure_hosts: Vec::new(),
            endpoints: Vec::new(),
            proxies: Proxies::default(),
            parallel: 4,
            stall: Duration::from_mins(1),
            retry: Retry::default(),
        }
    }
}

impl fmt::Debug for Options {
    /// Without the credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("tls_verify", &self.tls_verify)
            .field("insecure_hosts", &self.insecure_hosts)
            .field("endpoints", &self.endpoints)
            .field("proxies", &self.proxies)
            .field("parallel", &self.parallel)
            .field("stall", &self.stall)
            .field("retry", &self.retry)
            .finish_non_exhaustive()
    }
}

/// One place that holds an image: a mirror, or the registry itself.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Endpoint {
    /// `host[:port]/repository`, without tag and digest.
    pub location: String,
    /// Whether it may be reached by plain HTTP or with any certificate.
    pub insecure: bool,
    /// Whom to trust there, and who to be.
    pub certificates: Certificates,
}

impl Endpoint {
    /// An endpoint at `host[:port]/repository`.
    pub fn new(location: impl Into<String>, insecure: bool) -> Self {
        Self { location: location.into(), insecure, certificates: Certificates::default() }
    }
}

/// Certificates for one place, beside those that the system trusts; all of it in PEM.
///
/// As everywhere in the containers world they count for the servers that the place
/// leads to, as well: its token service, and where it redirects to.
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Certificates {
    /// Files with authorities to trust.
    pub authorities: Vec<Vec<u8>>,
    /// A certificate to show, and its private key.
    pub identity: Option<Vec<u8>>,
}

/// Shows no key.
impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates")
            .field("authorities", &self.authorities.len())
            .field("identity", &self.identity.is_some())
            .finish()
    }
}

/// Proxies for HTTP, in the notation of the variables that usually hold them.
///
/// This machine (`localhost` and loopback addresses) is never reached through one.
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Proxies {
    /// For addresses of plain HTTP: `http://[user:password@]host:port`, or with
    /// `https`, `socks5` or `socks5h` in front.
    pub http: Option<String>,
    /// For addresses of HTTPS.
    pub https: Option<String>,
    /// Hosts that are reached without one, between commas: `host[:port]` with all below
    /// it, `.domain`, an address, a network (`10.0.0.0/8`), or `*` for all.
    pub none_for: String,
}

/// Shows no password.
impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxies")
            .field("http", &self.http.is_some())
            .field("https", &self.https.is_some())
            .field("none_for", &self.none_for)
            .finish()
    }
}

/// When a request that failed for a passing reason is sent again.
///
/// Passing reasons are a connection that breaks or stalls, and the answers 408, 429
/// and 5xx. A download goes on at the offset it had reached.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Retry {
    /// Attempts in a row without progress, the first included; 5 by default.
    pub attempts: usize,
    /// Pause before the second attempt; doubles with each further one, with some jitter.
    pub first_pause: Duration,
    /// Longest such pause.
    pub longest_pause: Duration,
    /// Longest `Retry-After` of a server that is waited for; beyond it the request fails.
    pub longest_retry_after: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 5,
            first_pause: Duration::from_millis(250),
            longest_pause: Duration::from_secs(10),
            longest_retry_after: Duration::from_mins(1),
        }
    }
}

/// Answers which secret belongs to a repository.
///
/// Asked only when a registry demands authentication, from threads of this crate.
pub trait Credentials: Send + Sync {
    /// The login for `host[:port]/repository`, or none to be anonymous.
    ///
    /// # Errors
    ///
    /// If there should be a login and it cannot be had: a helper that fails, a broken file.
    fn for_repository(&self, name: &str) -> Result<Option<Login>, CredentialsError>;
}

/// Why a login could not be looked up.
pub type CredentialsError = Box<dyn std::error::Error + Send + Sync>;

/// A secret for a registry; its `Debug` form does not tell it.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Login {
    /// A user and a password or access token.
    Password {
        /// Name of the user.
        username: String,
        /// The secret.
        password: String,
    },
    /// A refresh token, exchanged at the registry's token service.
    IdentityToken(String),
}

impl Login {
    /// A user and a password or access token.
    pub fn password(username: impl Into<String>, password: impl Into<String>) -> Self {
        Self::Password { username: username.into(), password: password.into() }
    }

    /// A refresh token, as auth.json has it under `identitytoken`.
    pub fn identity_token(token: impl Into<String>) -> Self {
        Self::IdentityToken(token.into())
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password { username, .. } => write!(f, "Password({username:?}, …)"),
            Self::IdentityToken(_) => f.write_str("IdentityToken(…)"),
        }
    }
}

/// No login for anything.
#[derive(Debug, Clone, Copy, Default)]
pub struct Anonymous;

impl Credentials for Anonymous {
    fn for_repository(&self, _name: &str) -> Result<Option<Login>, CredentialsError> {
        Ok(None)
    }
}
