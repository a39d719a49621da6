//! A registry that wants tokens, and the service that gives them.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::{BASIC, Mode, State};
use crate::http::{Answer, Request, Then};

/// What is odd about the tokens of a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tokens {
    /// Nothing.
    Right,
    /// Nothing, by HTTPS.
    Protected,
    /// Each is good for so many requests, and of several ranges the first comes alone.
    OfUses(usize),
    /// None is good for anything.
    NeverGood,
    /// None is good for a blob.
    NotForBlobs,
    /// Their life in seconds, as the service says it.
    Living(&'static str),
    /// The service says this instead.
    Instead(&'static str),
    /// The answer of the service has no end.
    Endless,
    /// The service does not answer.
    Stall,
    /// The service has this status.
    Status(u16),
    /// The service has this status at first.
    StatusAtFirst(u16),
    /// The registry names this as the service.
    From(&'static str),
    /// The registry is reached by HTTPS, and names a service that is not.
    FromBelow,
    /// The service redirects to the second server, which wants no login.
    Elsewhere,
    /// The service redirects to the second server, where only a login would help.
    ElsewhereForALogin,
    /// The service is reached by HTTPS, and redirects to the second server, which is not.
    RedirectDown,
}

impl Tokens {
    /// Whether the registry, and the service if it is its own, are reached by HTTPS.
    pub(super) fn are_protected(self) -> bool {
        matches!(self, Self::Protected | Self::FromBelow | Self::RedirectDown)
    }
}

/// What every token begins with.
pub(super) const TOKEN: &str = "odd-token-";

/// The tokens that were given, and how often each was used.
#[derive(Debug, Default)]
pub(super) struct Given(Mutex<BTreeMap<String, usize>>);

impl Given {
    fn another(&self) -> String {
        let mut given = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let token = format!("{TOKEN}{}", given.len());
        given.insert(token.clone(), 0);
        token
    }

    /// Whether this header is that of a token which is good once more.
    fn take(&self, header: &str, uses: usize) -> bool {
        let mut given = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let token = header.strip_prefix("Bearer ").and_then(|token| given.get_mut(token));
        token.is_some_and(|used| {
            *used += 1;
            *used <= uses
        })
    }
}

impl State {
    /// What the registry says to those without a token that is good.
    pub(super) fn wants_a_token(&self, tokens: Tokens, request: &Request) -> Option<Answer> {
        let uses = match tokens {
            Tokens::OfUses(uses) => uses,
            Tokens::NeverGood => 0,
            Tokens::NotForBlobs if request.target.contains("/blobs/") => 0,
            _ => usize::MAX,
        };
        let header = request.header("authorization").unwrap_or_default();
        if self.given.take(header, uses) {
            return None;
        }
        let service = match tokens {
            Tokens::From(place) => place.to_owned(),
            Tokens::FromBelow => format!("{}/token", self.places().elsewhere),
            _ => format!("{}/token", self.places().tokens),
        };
        let wanted = format!("Bearer realm=\"{service}\",service=\"odd\"");
        Some(Answer::new(401, "").header("WWW-Authenticate", wanted))
    }

    /// The token service.
    pub(super) fn token(&self, request: &Request) -> Answer {
        let Mode::Tokens(tokens) = self.mode else { return Answer::new(404, "") };
        if request.header("authorization") != Some(BASIC) {
            return Answer::new(401, "").header("WWW-Authenticate", "Basic realm=\"tokens\"");
        }
        let right = self.token_for_anybody();
        match tokens {
            Tokens::Living(life) => {
                let token = self.given.another();
                Answer::new(200, format!("{{\"token\":\"{token}\",\"expires_in\":{life}}}"))
            }
            Tokens::Instead(text) => Answer::new(200, text),
            Tokens::Endless => Answer { length: None, then: Then::Endless, ..right },
            Tokens::Stall => Answer { body: Vec::new(), then: Then::Hang, ..right },
            Tokens::Status(status) => Answer::new(status, "no"),
            Tokens::StatusAtFirst(status) if self.is_first(request) => Answer::new(status, "later"),
            Tokens::Elsewhere | Tokens::ElsewhereForALogin | Tokens::RedirectDown => {
                let place = format!("{}{}", self.places().elsewhere, request.target);
                Answer::new(307, "").header("Location", place)
            }
            _ => right,
        }
    }

    pub(super) fn token_for_anybody(&self) -> Answer {
        let token = self.given.another();
        Answer::new(200, format!("{{\"token\":\"{token}\",\"expires_in\":300}}"))
    }
}
