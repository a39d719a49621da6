//! The parts of a policy that speak of an image, from the narrowest to the widest.

use std::fmt;
use std::path::{Path, PathBuf};

/// An image as a policy sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    transport: &'static str,
    identity: String,
}

impl Subject {
    /// An image in a registry: `host[:port]/repository:tag` or `…@digest`, complete.
    pub fn registry(reference: impl Into<String>) -> Self {
        Self { transport: "docker", identity: reference.into() }
    }

    /// Any image of a layout in this directory.
    pub fn oci_layout(dir: &Path) -> Self {
        Self { transport: "oci", identity: whole(dir) }
    }

    /// Any image of an archive.
    pub fn oci_archive(file: &Path) -> Self {
        Self { transport: "oci-archive", identity: whole(file) }
    }

    pub(super) fn transport(&self) -> &'static str {
        self.transport
    }

    /// Itself, then all that it is part of, at last what stands for the whole transport.
    pub(super) fn scopes(&self) -> Vec<String> {
        let mut scopes = vec![self.identity.clone()];
        if self.transport == "docker" {
            scopes.extend(above_name(&self.identity));
        } else {
            let above = Path::new(&self.identity).ancestors().skip(1);
            let above = above.filter(|dir| dir.parent().is_some());
            scopes.extend(above.map(|dir| dir.display().to_string()));
        }
        scopes.push(String::new());
        scopes
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.transport {
            "docker" => write!(f, "docker://{}", self.identity),
            transport => write!(f, "{transport}:{}", self.identity),
        }
    }
}

/// The path with all links on it followed, as far as it is there.
fn whole(path: &Path) -> String {
    let whole = path.canonicalize().or_else(|_| std::path::absolute(path));
    whole.unwrap_or_else(|_| PathBuf::from(path)).display().to_string()
}

/// `h.example/a/b`, `h.example/a`, `h.example`, `*.example` of `h.example/a/b:v1`.
fn above_name(reference: &str) -> Vec<String> {
    let name = reference.split_once('@').map_or(reference, |(name, _)| name);
    let path = name.rfind('/').map_or(0, |slash| slash + 1);
    let name = name[path..].find(':').map_or(name, |colon| &name[..path + colon]);
    let names =
        std::iter::successors(Some(name), |name| name.rsplit_once('/').map(|(above, _)| above));
    let host = name.split('/').next().unwrap_or(name);
    let domain = host.split_once(':').map_or(host, |(domain, _)| domain);
    let domains = std::iter::successors(domain.split_once('.'), |(_, rest)| rest.split_once('.'));
    names.map(str::to_owned).chain(domains.map(|(_, rest)| format!("*.{rest}"))).collect()
}
