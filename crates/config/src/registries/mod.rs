//! registries.conf: where the images of a name are, and which hosts may be spoken to plainly.

mod file;
mod short_name;
mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::files::{drop_ins, read_toml};
use crate::{ConfigError, Environment};

use file::{Alias, Contents, Mode};
pub use short_name::ShortNameError;
pub use table::{Mirror, PullFrom, Registry};

/// What registries.conf and its drop-in files say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RegistriesConfig {
    /// By prefix.
    registries: BTreeMap<String, Registry>,
    search: Vec<String>,
    helpers: Vec<String>,
    mode: Mode,
    aliases: BTreeMap<String, Alias>,
    /// The main file, for messages.
    main: PathBuf,
}

/// A place to ask for an image: host and repository, joined by a slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Host, with a port if one was given, and path.
    pub location: String,
    /// Plain HTTP and unverified certificates are accepted.
    pub insecure: bool,
}

/// A name from which nothing may be pulled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reference} is not to be pulled: registries.conf blocks {prefix}")]
pub struct BlockedError {
    /// What was asked for.
    pub reference: String,
    /// The prefix whose table says so.
    pub prefix: String,
}

impl RegistriesConfig {
    /// Reads the files that podman 5.8.6 would read for this user.
    ///
    /// The main file is the one that `CONTAINERS_REGISTRIES_CONF` names, else the one
    /// below `~/.config`, else that of `/etc`. On top of it come the files of
    /// `/etc/containers/registries.conf.d`, unless the main one is the user's, and then
    /// those of `~/.config/containers/registries.conf.d`. Aliases that podman has
    /// noted on a person's word go before all others.
    ///
    /// # Errors
    ///
    /// If a file is there and cannot be read or understood, or contradicts itself.
    pub fn load(environment: &Environment) -> Result<Self, ConfigError> {
        let user = environment.home_config().map(|home| home.join("containers"));
        let named = ["CONTAINERS_REGISTRIES_CONF", "REGISTRIES_CONFIG_PATH"];
        let named = named.iter().find_map(|name| environment.path(name));
        let of_user = user.as_ref().map(|user| user.join("registries.conf"));
        let of_user = of_user.filter(|path| named.is_none() && path.exists());
        let system = environment.system("etc/containers");
        let main = named.clone().or_else(|| of_user.clone());
        let main = main.unwrap_or_else(|| system.join("registries.conf"));
        let mut merged = Self { main: main.clone(), ..Self::default() };
        if !merged.read(&main)? && named.is_some() {
            let source = std::io::ErrorKind::NotFound.into();
            return Err(ConfigError::Read { path: main, source });
        }
        let system = of_user.is_none().then_some(system);
        for place in [system, user].into_iter().flatten() {
            for path in drop_ins(&place.join("registries.conf.d"))? {
                merged.read(&path)?;
            }
        }
        if let Some(noted) = short_name::noted_aliases(environment) {
            merged.read(&noted)?;
        }
        Ok(merged)
    }

    /// Takes over a file; `false` if it is not there.
    fn read(&mut self, path: &Path) -> Result<bool, ConfigError> {
        let Some(file) = read_toml::<file::File>(path)? else { return Ok(false) };
        let contents =
            file.check().map_err(|reason| ConfigError::Value { path: path.into(), reason })?;
        self.overlay(contents);
        Ok(true)
    }

    fn overlay(&mut self, contents: Contents) {
        self.registries.extend(contents.registries);
        self.aliases.extend(contents.aliases);
        self.search = contents.search.unwrap_or_else(|| std::mem::take(&mut self.search));
        self.helpers = contents.helpers.unwrap_or_else(|| std::mem::take(&mut self.helpers));
        self.mode = contents.mode.unwrap_or(self.mode);
    }

    /// The places of an image, mirrors first.
    ///
    /// `reference` is `host/repository` with a tag or a digest behind it or without; of
    /// several tables the one with the longest prefix decides.
    ///
    /// # Errors
    ///
    /// If its registry is blocked.
    ///
    /// # Examples
    ///
    /// ```
    /// use config::RegistriesConfig;
    ///
    /// let places = RegistriesConfig::default().endpoints("quay.io/fedora/fedora:42")?;
    /// assert_eq!(places[0].location, "quay.io/fedora/fedora");
    /// # Ok::<(), config::BlockedError>(())
    /// ```
    pub fn endpoints(&self, reference: &str) -> Result<Vec<Endpoint>, BlockedError> {
        let by_digest = reference.contains('@');
        let Some((registry, rest)) = self.registry(reference) else {
            let location = table::without_tag(reference).to_owned();
            return Ok(vec![Endpoint { location, insecure: false }]);
        };
        if registry.blocked {
            let (reference, prefix) = (reference.to_owned(), registry.prefix.clone());
            return Err(BlockedError { reference, prefix });
        }
        let mirrors = registry.mirrors_for(by_digest);
        let mirrors = mirrors.map(|mirror| (&mirror.location, mirror.insecure));
        let places = mirrors.chain([(&registry.location, registry.insecure)]);
        let endpoint = |(location, insecure): (&String, bool)| {
            // Only a table for a wildcard has no location: then the name says where.
            let whole = if location.is_empty() {
                reference.to_owned()
            } else {
                format!("{location}{rest}")
            };
            Endpoint { location: table::without_tag(&whole).to_owned(), insecure }
        };
        Ok(places.map(endpoint).collect())
    }

    /// The table for a name, and what follows its prefix there.
    fn registry<'a>(&self, reference: &'a str) -> Option<(&Registry, &'a str)> {
        let candidates = self.registries.values();
        let matching =
            candidates.filter_map(|r| Some((r, table::after_prefix(&r.prefix, reference)?)));
        // Of equally long prefixes the first in order, as in podman.
        matching.rev().max_by_key(|(registry, _)| registry.prefix.len())
    }

    /// The programs that know logins, in the order in which they are asked.
    ///
    /// `containers-auth.json` stands for the credentials files; it is the only entry
    /// where no file names any.
    pub fn credential_helpers(&self) -> Vec<&str> {
        let helpers: Vec<_> = self.helpers.iter().map(String::as_str).collect();
        if helpers.is_empty() { vec![crate::auth::FILES] } else { helpers }
    }
}
