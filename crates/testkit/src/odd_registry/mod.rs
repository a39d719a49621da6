//! A registry that does one thing wrong.
//!
//! It holds one image, wants a login or a token, and misbehaves in one way wherever it can.
//! Beside it stand its token service, and a second server to which some of the ways lead.
//! All three remember whether anybody told them a secret that is not for them.

mod answer;
mod documents;
mod mode;
mod tokens;

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

pub use mode::Mode;
pub use tokens::Tokens;

use self::tokens::{Given, TOKEN};
use crate::forged::Forged;
use crate::http::{Answer, Request, Server};
use crate::tls::Authority;

/// A running registry with one image, `odd/image:v1`.
#[derive(Debug)]
pub struct OddRegistry {
    server: Server,
    authority: Option<Vec<u8>>,
    state: Arc<State>,
}

/// What the servers share.
#[derive(Debug)]
struct State {
    mode: Mode,
    manifest: Vec<u8>,
    blobs: BTreeMap<String, Vec<u8>>,
    places: OnceLock<Places>,
    asked: Mutex<HashSet<String>>,
    given: Given,
    leaked: AtomicBool,
}

/// Where the servers are: `http://127.0.0.1:PORT`, or the same with `https`.
#[derive(Debug)]
struct Places {
    registry: String,
    elsewhere: String,
    tokens: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Registry,
    Elsewhere,
    Tokens,
}

/// Who may pull: user and password.
pub const LOGIN: (&str, &str) = ("someone", "something");

/// [`LOGIN`], as a header says it.
const BASIC: &str = "Basic c29tZW9uZTpzb21ldGhpbmc=";

/// The other name of 127.0.0.1.
const OTHER_NAME: &str = "localhost";

impl OddRegistry {
    /// Starts a registry that holds an image of these layers, base first.
    ///
    /// # Panics
    ///
    /// If there is no port to be had.
    pub fn start(mode: Mode, layers: &[Forged]) -> Self {
        let (manifest, blobs) = documents::documents(layers);
        let state = Arc::new(State {
            mode,
            manifest,
            blobs,
            places: OnceLock::new(),
            asked: Mutex::default(),
            given: Given::default(),
            leaked: AtomicBool::new(false),
        });
        let (registry, elsewhere) = (mode.protects_registry(), mode.protects_elsewhere());
        let authority = (registry || elsewhere).then(Authority::new);
        let start = |role, protected, name| {
            let state = Arc::clone(&state);
            let handler = move |request: &Request| state.answer(role, request);
            let (scheme, server) = match &authority {
                Some(authority) if protected => ("https", authority.serve(&[name], handler)),
                _ => ("http", Server::start(handler)),
            };
            (format!("{scheme}://{}", server.host()), server)
        };
        let (registry, server) = start(Role::Registry, registry, mode.name());
        let (elsewhere, _) = start(Role::Elsewhere, elsewhere, "127.0.0.1");
        let (tokens, _) = start(Role::Tokens, mode.protects_registry(), "127.0.0.1");
        let places = Places { registry, elsewhere, tokens };
        state.places.set(places).expect("they were not known");
        let known = if mode == Mode::UnknownAuthority { Some(Authority::new()) } else { authority };
        Self { server, authority: known.map(|authority| authority.pem()), state }
    }

    /// `127.0.0.1:PORT/odd/image`.
    pub fn location(&self) -> String {
        format!("{}/odd/image", self.server.host())
    }

    /// The authority that its clients know, in PEM, if it has to do with certificates.
    pub fn authority(&self) -> Option<&[u8]> {
        self.authority.as_deref()
    }

    /// Whether one of the servers was told a secret that is not for it.
    pub fn leaked(&self) -> bool {
        self.state.leaked.load(Ordering::SeqCst)
    }
}

impl State {
    fn answer(&self, role: Role, request: &Request) -> Answer {
        if self.is_leak(role, request) {
            self.leaked.store(true, Ordering::SeqCst);
        }
        match role {
            Role::Registry => self.answer_as_registry(request),
            Role::Elsewhere => self.answer_elsewhere(request),
            Role::Tokens => self.token(request),
        }
    }

    /// The login is for one server, tokens are for the registry, by the names that they
    /// were asked for; and nothing is for the second server.
    fn is_leak(&self, role: Role, request: &Request) -> bool {
        let texts = || request.headers.values().chain([&request.target, &request.body]);
        let says = |secret: &str| texts().any(|text| text.contains(secret));
        let login = says(BASIC.trim_start_matches("Basic ")) || says(LOGIN.1);
        let token = says(TOKEN);
        let asked_for = |place: &str| {
            let host = place.split("://").nth(1);
            request.header("host") == host && !request.target.ends_with(answer::BACK)
        };
        let places = self.places();
        match (role, self.mode) {
            (Role::Registry, Mode::Tokens(_)) => login || token && !asked_for(&places.registry),
            (Role::Registry, _) => token || login && !asked_for(&places.registry),
            (Role::Tokens, _) => token || login && !asked_for(&places.tokens),
            (Role::Elsewhere, _) => {
                let header = |name: &String| matches!(&**name, "authorization" | "cookie");
                login || token || request.headers.keys().any(header)
            }
        }
    }

    fn answer_as_registry(&self, request: &Request) -> Answer {
        let by_other_name = request.header("host").is_some_and(|host| host.starts_with(OTHER_NAME));
        let refused = match self.mode {
            Mode::RedirectToOtherName if by_other_name => return self.plain_blob(request),
            Mode::Tokens(tokens) => self.wants_a_token(tokens, request),
            _ if request.header("authorization") == Some(BASIC) => None,
            Mode::AsksFor(wanted) => Some(Answer::new(401, "").header("WWW-Authenticate", wanted)),
            _ => Some(Answer::new(401, "").header("WWW-Authenticate", "Basic realm=\"odd\"")),
        };
        if let Some(refused) = refused {
            return refused;
        }
        if request.target.contains("/manifests/") {
            return self.manifest(request);
        }
        match self.blob(request) {
            // The config is what it should be.
            Some(blob) if blob.starts_with(b"{") => answer::ranged(request, blob),
            Some(blob) => self.blob_answer(request, blob),
            None if request.target.contains("/blobs/") => Answer::new(404, ""),
            None => Answer::new(200, "{}"),
        }
    }

    /// The second server asks for nothing, but listens.
    fn answer_elsewhere(&self, request: &Request) -> Answer {
        match self.mode {
            Mode::RedirectToALogin | Mode::Tokens(Tokens::ElsewhereForALogin) => {
                Answer::new(401, "").header("WWW-Authenticate", "Basic realm=\"trap\"")
            }
            Mode::RedirectThereAndBack => {
                let place = format!("{}{}{}", self.places().registry, request.target, answer::BACK);
                Answer::new(307, "").header("Location", place)
            }
            Mode::Tokens(_) => self.token_for_anybody(),
            _ => self.plain_blob(request),
        }
    }

    fn plain_blob(&self, request: &Request) -> Answer {
        self.blob(request).map_or(Answer::new(404, ""), |blob| answer::ranged(request, blob))
    }

    fn blob(&self, request: &Request) -> Option<&Vec<u8>> {
        self.blobs.get(request.target.rsplit_once("sha256:")?.1)
    }

    /// Whether nobody asked for this before.
    fn is_first(&self, request: &Request) -> bool {
        // What goes on behind a break has the same end.
        let last = request.ranges().last().map(|(_, last)| *last);
        let what = format!("{} {last:?}", request.target);
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).insert(what)
    }

    fn places(&self) -> &Places {
        self.places.get().expect("nobody asks before all are there")
    }
}
