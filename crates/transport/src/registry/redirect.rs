//! Where a redirect may lead.

use reqwest::Url;

use super::trust::Trust;

/// Redirects in a row that are followed.
pub(super) const MOST: usize = 10;

/// A redirect that is not followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RedirectError {
    /// No place to go to, or none that can be understood.
    #[error("a redirect without a usable location")]
    Location,
    /// From HTTPS to plain HTTP.
    #[error("a redirect from HTTPS down to plain HTTP at {0}")]
    Downgrade(String),
    /// To a host that must not be reached by plain HTTP.
    #[error("a redirect to plain HTTP at {0}")]
    Plain(String),
    /// To something that is not HTTP.
    #[error("a redirect to {0:?}, which is not HTTP")]
    Scheme(String),
    /// More than are followed.
    #[error("more than {MOST} redirects")]
    TooMany,
}

/// The next address, if going there is allowed.
pub(super) fn target(from: &Url, location: &[u8], trust: &Trust) -> Result<Url, RedirectError> {
    let location = std::str::from_utf8(location).map_err(|_| RedirectError::Location)?;
    let to = from.join(location).map_err(|_| RedirectError::Location)?;
    if !to.username().is_empty() || to.password().is_some() {
        // A login in the address would be sent by the client library.
        return Err(RedirectError::Location);
    }
    let host = || to.host_str().unwrap_or_default().to_owned();
    match (from.scheme(), to.scheme()) {
        (_, "https") => Ok(to),
        ("http", "http") if trust.allows_plain(&to) => Ok(to),
        ("http", "http") => Err(RedirectError::Plain(host())),
        (_, "http") => Err(RedirectError::Downgrade(host())),
        (_, scheme) => Err(RedirectError::Scheme(scheme.into())),
    }
}

/// Whether secrets for one address may go to the other: scheme, host and port are the same.
pub(super) fn same_origin(a: &Url, b: &Url) -> bool {
    a.scheme() == b.scheme()
        && a.host_str() == b.host_str()
        && a.port_or_known_default() == b.port_or_known_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn redirects_lead_to_https_or_where_plain_http_is_allowed() {
        let trust = Trust::new(true, ["plain.example"].into_iter());
        let go = |from: &str, to: &str| {
            target(&url(from), to.as_bytes(), &trust).map(|url| url.to_string())
        };
        for (from, to, expected) in [
            ("https://a.example/x/y", "/z", "https://a.example/z"),
            ("https://a.example/x", "//b.example/z?s=1", "https://b.example/z?s=1"),
            ("http://127.0.0.1:1/x", "https://b.example/", "https://b.example/"),
            ("http://127.0.0.1:1/x", "http://127.0.0.1:2/", "http://127.0.0.1:2/"),
            ("http://127.0.0.1:1/x", "http://plain.example/", "http://plain.example/"),
        ] {
            assert_eq!(go(from, to).as_deref(), Ok(expected));
        }
        let host = "b.example".to_owned();
        for (from, to, error) in [
            ("https://a.example/", "http://b.example/", RedirectError::Downgrade(host.clone())),
            ("https://a.example/", "http://127.0.0.1/", {
                RedirectError::Downgrade("127.0.0.1".into())
            }),
            ("http://127.0.0.1:1/", "http://b.example/", RedirectError::Plain(host)),
            ("https://a.example/", "file:///etc/passwd", RedirectError::Scheme("file".into())),
            ("https://a.example/", "https://u:p@b.example/", RedirectError::Location),
            ("https://a.example/", "https://", RedirectError::Location),
        ] {
            assert_eq!(go(from, to), Err(error), "{from} {to}");
        }
    }

    #[test]
    fn another_scheme_host_or_port_is_another_origin() {
        let home = url("https://a.example/x");
        assert!(same_origin(&home, &url("https://a.example:443/y")));
        for other in [
            "http://a.example/x",
            "https://a.example:444/x",
            "https://b.example/",
            "http://a.example:443/",
        ] {
            assert!(!same_origin(&home, &url(other)), "{other}");
        }
    }
}
