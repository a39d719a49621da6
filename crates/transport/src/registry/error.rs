//! Why a registry did not give what was asked for.

use std::error::Error;
use std::io;
use std::time::Duration;

use storage_core::VerifyError;

use super::auth::AuthError;
use super::redirect::RedirectError;

/// An image, or a part of it, that no place of it gave.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// Threads for the network could not be started.
    #[error("start the threads for the network")]
    Threads(#[source] io::Error),
    /// A proxy that is not an address of HTTP or SOCKS.
    #[error("the address of the HTTP proxy is none")]
    Proxy,
    /// Certificates that are none.
    #[error("use the certificates for {host}")]
    Certificates {
        /// The registry that they are for.
        host: String,
        /// What is wrong with them.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A location that is not `host[:port]/repository`.
    #[error("location {0:?} is not a host and a repository")]
    Location(String),
    /// A place to write to that is named by a digest.
    #[error("{0} names an image by its digest, which it has only once it is written")]
    ByDigest(String),
    /// The content of a blob to be written could not be opened again.
    #[error("open the blob to be written")]
    Unreadable(#[source] io::Error),
    /// A request that failed for good, after the attempts that were worth it.
    #[error("get {url}")]
    Request {
        /// What was asked for, without secrets.
        url: String,
        /// Why it failed.
        source: RequestError,
    },
    /// Something that could not be written, after the attempts that were worth it.
    #[error("write {url}")]
    Send {
        /// Where it should have gone, without secrets.
        url: String,
        /// Why it failed.
        source: RequestError,
    },
    /// A document that is not what its digest or size says.
    #[error("check {url}")]
    Content {
        /// What was asked for.
        url: String,
        /// What is wrong.
        source: VerifyError,
    },
    /// Several places, of which each failed.
    #[error("no place has it: {}", list(.0))]
    Everywhere(Vec<RegistryError>),
}

impl RegistryError {
    /// Whether every place says that it does not have it.
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::Request { source, .. } => matches!(source, RequestError::NotFound(_)),
            Self::Everywhere(errors) => errors.iter().all(Self::is_not_found),
            _ => false,
        }
    }

    /// One error of all places that were tried.
    pub(super) fn of_places(mut errors: Vec<Self>) -> Self {
        if errors.len() == 1 { errors.remove(0) } else { Self::Everywhere(errors) }
    }
}

fn list(errors: &[RegistryError]) -> String {
    errors.iter().map(|error| chain(error)).collect::<Vec<_>>().join("; ")
}

/// An error with all its causes in one line.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Why one request did not bring what it asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// No trusted certificates, or no TLS at all.
    #[error("set up TLS")]
    Tls(#[source] Box<dyn Error + Send + Sync>),
    /// The connection could not be made, or broke.
    #[error("the connection failed")]
    Connection(#[source] Box<dyn Error + Send + Sync>),
    /// Nothing came for as long as is waited.
    #[error("nothing came for {} s", .0.as_secs_f32())]
    Stalled(Duration),
    /// The server does not have it.
    #[error("not found{0}")]
    NotFound(ServerMessage),
    /// The server does not give it to this user.
    #[error("access denied (status {status}){message}")]
    Denied {
        /// 401 or 403.
        status: u16,
        /// What the server says about it.
        message: ServerMessage,
    },
    /// Any other status that is not a success.
    #[error("status {status}{message}")]
    Status {
        /// The number.
        status: u16,
        /// How long the server asks to wait.
        retry_after: Option<Duration>,
        /// What the server says about it.
        message: ServerMessage,
    },
    /// A server that wants us to wait longer than we do.
    #[error("status {status}: the server asks to wait for {} s", .wait.as_secs())]
    Busy {
        /// 429 or 503.
        status: u16,
        /// What it asks for.
        wait: Duration,
    },
    /// A redirect that is not followed.
    #[error(transparent)]
    Redirect(#[from] RedirectError),
    /// Authentication that did not work out.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// An upload that the registry forgot, or for which it wants a fresh login.
    #[error("the upload was broken off (status {status}){message}")]
    UploadLost {
        /// The number.
        status: u16,
        /// What the server says about it.
        message: ServerMessage,
    },
    /// An answer to an upload that does not say where it goes on.
    #[error("the registry does not say where the upload goes on")]
    NoLocation,
    /// A body that ended early.
    #[error("the answer ended at byte {received} of {expected}")]
    Short {
        /// What was expected.
        expected: u64,
        /// What came.
        received: u64,
    },
    /// A blob or document of another size.
    #[error("it has {actual} bytes, expected {expected}")]
    Size {
        /// What the manifest says.
        expected: u64,
        /// What the server says.
        actual: u64,
    },
    /// A document larger than the limit for such documents.
    #[error("it has more than {0} bytes, the limit for such documents")]
    TooLarge(u64),
    /// An encoding that was not asked for.
    #[error("the answer has content encoding {0:?}")]
    Encoding(String),
    /// An answer that does not fit the range that was asked for.
    #[error("asked for bytes {first}-{last}, and the answer {answer}")]
    OddRange {
        /// First byte asked for.
        first: u64,
        /// Last byte asked for.
        last: u64,
        /// What came instead.
        answer: String,
    },
}

/// What a server says beside its status: shortened, and with nothing that moves a cursor.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerMessage(String);

impl ServerMessage {
    /// Takes the error document of a registry, or any text, from the start of a body.
    pub(super) fn from_body(body: &[u8]) -> Self {
        #[derive(serde::Deserialize)]
        struct Errors {
            errors: Vec<One>,
        }
        #[derive(serde::Deserialize)]
        struct One {
            #[serde(default)]
            code: String,
            #[serde(default)]
            message: String,
        }
        let text = match serde_json::from_slice::<Errors>(body) {
            Ok(Errors { errors }) => {
                let one = |One { code, message }: One| format!("{code} {message}");
                errors.into_iter().map(one).collect::<Vec<_>>().join("; ")
            }
            Err(_) => String::from_utf8_lossy(body).into_owned(),
        };
        let clean = |c: char| if c.is_control() { ' ' } else { c };
        Self(text.trim().chars().map(clean).take(200).collect())
    }
}

impl std::fmt::Display for ServerMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, ": {}", self.0) }
    }
}

impl RequestError {
    /// Whether another attempt may go better.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Connection(_)
            | Self::Stalled(_)
            | Self::Short { .. }
            | Self::OddRange { .. }
            | Self::UploadLost { .. } => true,
            Self::Status { status, .. } => matches!(status, 408 | 429 | 500..=599),
            Self::Auth(error) => error.is_passing(),
            _ => false,
        }
    }

    /// The status of the answer, if it is what failed.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::NotFound(_) => Some(404),
            Self::Denied { status, .. }
            | Self::Status { status, .. }
            | Self::UploadLost { status, .. }
            | Self::Busy { status, .. } => Some(*status),
            Self::Auth(AuthError::Token { source, .. }) => source.status(),
            _ => None,
        }
    }

    /// How long the server asks to wait before another attempt.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            Self::Auth(error) => error.retry_after(),
            _ => None,
        }
    }
}

impl From<reqwest::Error> for RequestError {
    /// Without the address, whose query may hold a secret.
    fn from(error: reqwest::Error) -> Self {
        Self::Connection(error.without_url().into())
    }
}
