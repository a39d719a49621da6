//! HTTP proxies, as the environment has them.

use crate::Environment;

/// The variables that name proxies, by either of their spellings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProxyVariables {
    /// `HTTP_PROXY`: for plain HTTP.
    pub http: Option<String>,
    /// `HTTPS_PROXY`: for HTTPS.
    pub https: Option<String>,
    /// `NO_PROXY`: hosts that are reached without one, between commas.
    pub none_for: Option<String>,
}

impl ProxyVariables {
    /// Those of an environment.
    ///
    /// In a CGI program `HTTP_PROXY` is a header of the request, and not to be trusted.
    pub fn of(environment: &Environment) -> Self {
        let either = |upper: &str, lower: &str| {
            environment.get(upper).or_else(|| environment.get(lower)).map(str::to_owned)
        };
        let cgi = environment.get("REQUEST_METHOD").is_some();
        Self {
            http: either("HTTP_PROXY", "http_proxy").filter(|_| !cgi),
            https: either("HTTPS_PROXY", "https_proxy"),
            none_for: either("NO_PROXY", "no_proxy"),
        }
    }
}
