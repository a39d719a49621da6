//! Which hosts may be reached without protection.

use std::net::IpAddr;

use reqwest::Url;

/// What the caller allows.
#[derive(Debug, Clone)]
pub(super) struct Trust {
    tls_verify: bool,
    /// Host and port; none is the default port of the scheme.
    insecure: Vec<(String, Option<u16>)>,
}

impl Trust {
    pub(super) fn new<'h>(tls_verify: bool, insecure: impl Iterator<Item = &'h str>) -> Self {
        let host = |text: &str| {
            let url = Url::parse(&format!("https://{text}/")).ok()?;
            // Port 443 would be gone from a URL of https.
            let port = url.port().or_else(|| text.ends_with(":443").then_some(443));
            Some((url.host_str()?.to_owned(), port))
        };
        Self { tls_verify, insecure: insecure.filter_map(host).collect() }
    }

    /// Whether any certificate will do.
    pub(super) fn is_insecure(&self, url: &Url) -> bool {
        let named = |(host, port): &(String, Option<u16>)| {
            url.host_str() == Some(host)
                && (*port == url.port() || *port == url.port_or_known_default())
        };
        !self.tls_verify || self.insecure.iter().any(named)
    }

    /// Whether the host of `url` may be reached by plain HTTP.
    pub(super) fn allows_plain(&self, url: &Url) -> bool {
        is_loopback(url) || self.is_insecure(url)
    }
}

/// Whether the host is this machine, by address or by its reserved name.
pub(super) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn plain_http_is_for_loopback_and_named_hosts() {
        let hosts = ["plain.example:5000", "bare.example", "tls.example:443"];
        let trust = Trust::new(true, hosts.into_iter());
        for allowed in [
            "http://127.0.0.1:5000/",
            "http://127.9.9.9/",
            "http://[::1]:80/",
            "http://[::ffff:127.0.0.1]:80/",
            "http://localhost:1/",
            "http://plain.example:5000/v2/",
            "http://bare.example/",
            "https://tls.example/",
        ] {
            assert!(trust.allows_plain(&url(allowed)), "{allowed}");
        }
        for refused in [
            "http://plain.example/",
            "http://plain.example:5001/",
            "http://bare.example:5000/",
            "http://x.plain.example:5000/",
            "http://localhost.example/",
            "http://127.0.0.1.example/",
            "http://10.0.0.1/",
        ] {
            assert!(!trust.allows_plain(&url(refused)), "{refused}");
            assert!(Trust::new(false, hosts.into_iter()).allows_plain(&url(refused)));
        }
    }
}
