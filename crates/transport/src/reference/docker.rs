//! Names of images in registries, and how short ones are completed.

use std::fmt;
use std::str::FromStr;

use storage_core::BlobDigest;

use super::ReferenceError;

const HUB: &str = "docker.io";

/// `host[:port]/repository[:tag][@digest]`, completed: `alpine` is
/// `docker.io/library/alpine:latest`.
///
/// Where a tag and a digest are given, the digest says which image it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DockerReference {
    host: String,
    repository: String,
    tag: Option<String>,
    digest: Option<BlobDigest>,
}

impl DockerReference {
    /// The registry as names spell it, with its port: `docker.io`, `127.0.0.1:5000`, `[::1]:5000`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The path below the registry, without tag and digest: `library/alpine`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag, if one was given or completed.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest of the manifest or index, if one was given.
    pub fn digest(&self) -> Option<&BlobDigest> {
        self.digest.as_ref()
    }

    /// Whether a mirror's `host[:port]` and repository can be part of an address.
    pub(crate) fn check_location(host: &str, repository: &str) -> Result<(), ReferenceError> {
        check_host(host)?;
        check_repository(repository)
    }

    /// Host and repository: the key under which credentials and mirrors are found.
    pub fn name(&self) -> String {
        format!("{}/{}", self.host, self.repository)
    }
}

impl FromStr for DockerReference {
    type Err = ReferenceError;

    /// Parses a name without `docker://`.
    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest.parse()?)),
            None => (text, None),
        };
        // A colon after the last slash begins a tag; before it, a port.
        let path = name.rfind('/').map_or(0, |slash| slash + 1);
        let (name, tag) = match name[path..].find(':') {
            Some(colon) => (&name[..path + colon], Some(&name[path + colon + 1..])),
            None => (name, None),
        };
        let (host, repository) = host_and_repository(name);
        check_host(&host)?;
        check_repository(&repository)?;
        let tag = match tag {
            Some(tag) if is_tag(tag) => Some(tag.to_owned()),
            Some(tag) => return Err(ReferenceError::Tag(tag.into())),
            None if digest.is_none() => Some("latest".into()),
            None => None,
        };
        Ok(Self { host, repository, tag, digest })
    }
}

/// The first part is a host if it could not be the name of a user at the hub.
fn host_and_repository(name: &str) -> (String, String) {
    let is_host = |part: &str| {
        part == "localhost" || part.contains(['.', ':']) || part.chars().any(char::is_uppercase)
    };
    let (host, path) = match name.split_once('/') {
        Some((host, path)) if is_host(host) => (host, path),
        _ => (HUB, name),
    };
    let host = if host == "index.docker.io" { HUB } else { host };
    let official = host == HUB && !path.contains('/');
    (host.into(), if official { format!("library/{path}") } else { path.into() })
}

/// A host is letters, digits and dashes between dots, or an IPv6 address in brackets.
fn check_host(host: &str) -> Result<(), ReferenceError> {
    let (name_ok, port) = if let Some(rest) = host.strip_prefix('[') {
        match rest.split_once(']') {
            Some((address, port)) => (address.parse::<std::net::Ipv6Addr>().is_ok(), port),
            None => (false, ""),
        }
    } else {
        let end = host.find(':').unwrap_or(host.len());
        (host[..end].split('.').all(is_label), &host[end..])
    };
    if name_ok && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port)) {
        Ok(())
    } else {
        Err(ReferenceError::Host(host.into()))
    }
}

fn is_label(label: &str) -> bool {
    let inside = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    inside && !label.is_empty() && !label.starts_with('-') && !label.ends_with('-')
}

fn is_port(port: &str) -> bool {
    port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// Parts of lower-case letters and digits, joined inside by `.`, `_`, `__` or dashes.
///
/// Checked here because the repository becomes part of a URL.
fn check_repository(repository: &str) -> Result<(), ReferenceError> {
    if repository.len() <= 255 && repository.split('/').all(is_component) {
        Ok(())
    } else {
        Err(ReferenceError::Repository(repository.into()))
    }
}

fn is_component(component: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let ends = |end: Option<&u8>| end.is_some_and(|&b| alphanumeric(b));
    let separators = component.split(|c: char| c.is_ascii() && alphanumeric(c as u8));
    ends(component.as_bytes().first())
        && ends(component.as_bytes().last())
        && separators.into_iter().all(|separator| {
            matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|b| b == b'-')
        })
}

fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    tag.len() <= 128
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|b| word(b) || matches!(b, b'.' | b'-'))
}

impl fmt::Display for DockerReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.repository)?;
        self.tag.iter().try_for_each(|tag| write!(f, ":{tag}"))?;
        self.digest.iter().try_for_each(|digest| write!(f, "@{digest}"))
    }
}
