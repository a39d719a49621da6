//! One `[[registry]]` table, and the names that it is for.

use serde::Deserialize;

/// One `[[registry]]` table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Registry {
    /// Host and path that names of this table begin with, or `*.example.com` for all
    /// hosts below one.
    pub prefix: String,
    /// Where the images really are; empty only behind a wildcard.
    pub location: String,
    /// Plain HTTP and unverified certificates are accepted.
    pub insecure: bool,
    /// Nothing may be pulled from here.
    pub blocked: bool,
    /// Places to try first.
    #[serde(rename = "mirror")]
    pub mirrors: Vec<Mirror>,
    /// Mirrors are for pulls by digest only.
    #[serde(rename = "mirror-by-digest-only")]
    pub mirror_by_digest_only: bool,
    /// Only to be refused: it belongs to mirrors.
    #[serde(rename = "pull-from-mirror")]
    pub(super) pull_from: Option<String>,
}

/// One `[[registry.mirror]]` table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Mirror {
    /// Host and path.
    pub location: String,
    /// Plain HTTP and unverified certificates are accepted.
    pub insecure: bool,
    /// The pulls that it is for.
    #[serde(rename = "pull-from-mirror")]
    pub pull_from: Option<PullFrom>,
}

/// The pulls that a mirror is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum PullFrom {
    /// All.
    #[serde(rename = "all")]
    All,
    /// Those of a digest, which any mirror answers alike.
    #[serde(rename = "digest-only")]
    DigestOnly,
    /// Those of a tag.
    #[serde(rename = "tag-only")]
    TagOnly,
}

impl Registry {
    /// The mirrors for a pull by digest, or for one by tag.
    pub(super) fn mirrors_for(&self, by_digest: bool) -> impl Iterator<Item = &Mirror> {
        let fits = move |mirror: &&Mirror| match mirror.pull_from {
            _ if self.mirror_by_digest_only => by_digest,
            None | Some(PullFrom::All) => true,
            Some(PullFrom::DigestOnly) => by_digest,
            Some(PullFrom::TagOnly) => !by_digest,
        };
        self.mirrors.iter().filter(fits)
    }

    /// Fills in the prefix and refuses what contradicts itself.
    pub(super) fn check(mut self) -> Result<Self, String> {
        self.location = location(&self.location)?;
        self.prefix = location(&self.prefix)?;
        if self.prefix.is_empty() {
            self.prefix.clone_from(&self.location);
        }
        let wildcard = self.prefix.starts_with("*.");
        if self.prefix.is_empty() {
            return Err("a registry has neither a location nor a prefix".into());
        }
        if self.location.is_empty() && !wildcard {
            return Err(format!("registry {} has no location", self.prefix));
        }
        if wildcard && self.prefix.contains(['/', '@', ':']) {
            return Err(format!("prefix {} is not like *.example.com", self.prefix));
        }
        if self.pull_from.is_some() {
            return Err(format!("pull-from-mirror is for mirrors, not for {}", self.prefix));
        }
        for mirror in &mut self.mirrors {
            mirror.location = location(&mirror.location)?;
            if mirror.location.is_empty() {
                return Err(format!("a mirror of {} has no location", self.prefix));
            }
            if self.mirror_by_digest_only && mirror.pull_from.is_some() {
                return Err(format!(
                    "{} has both mirror-by-digest-only and pull-from-mirror",
                    self.prefix
                ));
            }
        }
        Ok(self)
    }
}

/// A location without slashes at its end.
pub(super) fn location(text: &str) -> Result<String, String> {
    let location = text.trim_end_matches('/');
    if location.starts_with("http://") || location.starts_with("https://") {
        return Err(format!("location {text:?} is an address, not a host and a path"));
    }
    Ok(location.to_owned())
}

/// What follows `prefix` in `name`, if it ends where a part of the name ends.
///
/// `*.example.com` stands for every host below it.
pub(super) fn after_prefix<'a>(prefix: &str, name: &'a str) -> Option<&'a str> {
    let rest = match prefix.strip_prefix('*') {
        Some(suffix) => {
            let end = name.find(suffix)? + suffix.len();
            let in_host = !name[..end].contains('/');
            in_host.then(|| &name[end..])?
        }
        None => name.strip_prefix(prefix)?,
    };
    (rest.is_empty() || rest.starts_with(['/', ':', '@'])).then_some(rest)
}

/// `host:port/repository` of `host:port/repository:tag@digest`.
pub(super) fn without_tag(reference: &str) -> &str {
    let name = reference.split_once('@').map_or(reference, |(name, _)| name);
    let path = name.rfind('/').map_or(0, |slash| slash + 1);
    name[path..].find(':').map_or(name, |colon| &name[..path + colon])
}
