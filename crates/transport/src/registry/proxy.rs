//! Which requests go through a proxy.

use std::net::IpAddr;

use reqwest::Url;

use super::error::RegistryError;
use super::trust::is_loopback;
use crate::Proxies;

/// Proxies that are understood.
#[derive(Debug, Clone, Default)]
pub(super) struct Detours {
    http: Option<Url>,
    https: Option<Url>,
    direct: Vec<Direct>,
}

/// Hosts that are reached without a proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Direct {
    All,
    /// The first so many bits of an address, at one port or all.
    Network(IpAddr, u8, Option<u16>),
    /// A domain with a dot before it: all below, and itself if so said.
    Domain {
        suffix: String,
        itself: bool,
        port: Option<u16>,
    },
}

impl Detours {
    pub(super) fn new(proxies: &Proxies) -> Result<Self, RegistryError> {
        let parse = |text: &Option<String>| text.as_deref().map(address).transpose();
        let direct = proxies.none_for.split(',').filter_map(|entry| direct(entry.trim()));
        Ok(Self {
            http: parse(&proxies.http)?,
            https: parse(&proxies.https)?,
            direct: direct.collect(),
        })
    }

    /// The proxy for an address; this machine is never reached by one.
    pub(super) fn of(&self, url: &Url) -> Option<Url> {
        let proxy = if url.scheme() == "https" { &self.https } else { &self.http };
        let direct = is_loopback(url) || self.direct.iter().any(|direct| direct.is_for(url));
        proxy.clone().filter(|_| !direct)
    }
}

/// Without a scheme it is that of an HTTP proxy.
fn address(text: &str) -> Result<Url, RegistryError> {
    let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let url = Url::parse(&whole).ok().filter(Url::has_host);
    let known = |url: &Url| matches!(url.scheme(), "http" | "https" | "socks5" | "socks5h");
    // The text may hold a password.
    url.filter(known).ok_or(RegistryError::Proxy)
}

fn direct(entry: &str) -> Option<Direct> {
    if entry == "*" {
        return Some(Direct::All);
    }
    if let Some((address, bits)) = entry.split_once('/') {
        return Some(Direct::Network(address.parse().ok()?, bits.parse().ok()?, None));
    }
    let (host, port) = host_and_port(entry);
    if let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Some(Direct::Network(address, 128, port));
    }
    let host = host.to_lowercase();
    let name = host.strip_prefix('*').unwrap_or(&host);
    let name = name.trim_end_matches('.');
    let itself = !name.starts_with('.');
    let suffix = format!(".{}", name.trim_start_matches('.'));
    (suffix.len() > 1).then_some(Direct::Domain { suffix, itself, port })
}

/// An IPv6 address has colons of its own.
fn host_and_port(entry: &str) -> (&str, Option<u16>) {
    match entry.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
            port.parse().map_or((entry, None), |port| (host, Some(port)))
        }
        _ => (entry, None),
    }
}

impl Direct {
    fn is_for(&self, url: &Url) -> bool {
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let at = |port: &Option<u16>| port.is_none() || *port == url.port_or_known_default();
        match self {
            Self::All => true,
            Self::Network(network, bits, port) => {
                host.parse().is_ok_and(|host| at(port) && is_inside(host, *network, *bits))
            }
            Self::Domain { suffix, itself, port } => {
                at(port) && (host.ends_with(suffix) || *itself && host == &suffix[1..])
            }
        }
    }
}

fn is_inside(host: IpAddr, network: IpAddr, bits: u8) -> bool {
    let (host, network, width) = match (host.to_canonical(), network.to_canonical()) {
        (IpAddr::V4(host), IpAddr::V4(network)) => {
            (host.to_bits().into(), network.to_bits().into(), 32)
        }
        (IpAddr::V6(host), IpAddr::V6(network)) => (host.to_bits(), network.to_bits(), 128u32),
        _ => return false,
    };
    let rest = width.saturating_sub(bits.into());
    let prefix = |address: u128| address.checked_shr(rest).unwrap_or(0);
    prefix(host) == prefix(network)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detours(none_for: &str) -> Detours {
        let https = Some("https://u:p@proxy.example:3128".into());
        let http = Some("proxy.example:80".into());
        Detours::new(&Proxies { http, https, none_for: none_for.into() }).unwrap()
    }

    /// The first eight are answers that podman 5.8.6 gave.
    #[test]
    fn hosts_without_a_proxy_are_found_as_podman_finds_them() {
        for (none_for, url, proxied) in [
            ("", "https://x.example/", true),
            ("", "http://x.example/", true),
            ("", "https://127.0.0.1:5/", false),
            (".example", "https://x.example/", false),
            (".x.example", "https://x.example/", true),
            ("x.example:44", "https://x.example/", true),
            ("x.example:443", "https://x.example/", false),
            ("*", "https://x.example/", false),
            ("", "https://localhost:5/", false),
            ("", "https://[::1]/", false),
            ("a.example, x.example", "https://x.example/", false),
            ("x.example", "https://sub.x.example/", false),
            ("x.example", "https://subx.example/", true),
            ("*.x.example", "https://sub.x.example/", false),
            ("*.x.example", "https://x.example/", true),
            ("X.Example.", "https://x.example/", false),
            ("10.1.0.0/16", "https://10.1.2.3/", false),
            ("10.1.0.0/16", "https://10.2.2.3/", true),
            ("10.1.2.3:443", "https://10.1.2.3/", false),
            ("10.1.2.3:80", "https://10.1.2.3/", true),
            ("0.0.0.0/0", "https://10.1.2.3/", false),
            ("fd00::/8", "https://[fd12::1]/", false),
            ("fd12::1", "https://[fd12::1]:5000/", false),
            ("[fd12::1]:80", "https://[fd12::1]:5000/", true),
            (",,", "https://x.example/", true),
        ] {
            let detour = detours(none_for).of(&Url::parse(url).unwrap());
            assert_eq!(detour.is_some(), proxied, "{url} with {none_for:?}");
        }
    }

    #[test]
    fn the_scheme_of_the_address_chooses_the_proxy() {
        let of = |url: &str| detours("").of(&Url::parse(url).unwrap()).map(String::from);
        assert_eq!(of("http://x.example/").as_deref(), Some("http://proxy.example/"));
        assert_eq!(of("https://x.example/").as_deref(), Some("https://u:p@proxy.example:3128/"));
    }

    #[test]
    fn a_proxy_that_is_no_address_is_an_error_without_its_text() {
        for text in ["ftp://u:secret@p.example", "http://", "://x"] {
            let proxies = Proxies { http: Some(text.into()), ..Proxies::default() };
            let error = Detours::new(&proxies).unwrap_err();
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
