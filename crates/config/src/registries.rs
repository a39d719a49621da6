//! registries.conf: where the images of a name are, and which hosts may be spoken to plainly.

use serde::Deserialize;

use crate::storage::read_toml;
use crate::{ConfigError, Environment};

/// What registries.conf and its drop-in files say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RegistriesConfig {
    /// Hosts to try for names without one.
    pub unqualified_search: Vec<String>,
    /// The `[[registry]]` tables.
    pub registries: Vec<Registry>,
}

/// One `[[registry]]` table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Registry {
    /// Host and path that names of this table begin with; empty means `location`.
    pub prefix: String,
    /// Where the images really are.
    pub location: String,
    /// Plain HTTP and unverified certificates are accepted.
    pub insecure: bool,
    /// Nothing may be pulled from here.
    pub blocked: bool,
    /// Places to try first.
    #[serde(rename = "mirror")]
    pub mirrors: Vec<Mirror>,
}

/// One `[[registry.mirror]]` table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Mirror {
    /// Host and path.
    pub location: String,
    /// Plain HTTP and unverified certificates are accepted.
    pub insecure: bool,
}

/// A place to ask for an image: host and repository, joined by a slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Host, with a port if one was given, and path.
    pub location: String,
    /// Plain HTTP and unverified certificates are accepted.
    pub insecure: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct File {
    #[serde(rename = "unqualified-search-registries")]
    unqualified_search: Option<Vec<String>>,
    #[serde(rename = "registry")]
    registries: Vec<Registry>,
}

impl RegistriesConfig {
    /// Reads the files that podman would read for this user.
    ///
    /// A file named by `CONTAINERS_REGISTRIES_CONF` is read alone; else the
    /// user's file or, without one, the system's, and after it the files of
    /// `registries.conf.d` in order of their names.
    ///
    /// # Errors
    ///
    /// If a file is there and cannot be read or understood.
    pub fn load(environment: &Environment) -> Result<Self, ConfigError> {
        let mut merged = Self::default();
        for path in files(environment)? {
            if let Some(file) = read_toml::<File>(&path)? {
                merged.overlay(file);
            }
        }
        Ok(merged)
    }

    /// The places to ask for `name` (host and repository), the best first; none if it is blocked.
    pub fn endpoints(&self, name: &str) -> Vec<Endpoint> {
        let Some((registry, rest)) = self.lookup(name) else {
            return vec![Endpoint { location: name.into(), insecure: false }];
        };
        if registry.blocked {
            return Vec::new();
        }
        let place =
            |location: &str, insecure| Endpoint { location: format!("{location}{rest}"), insecure };
        let location =
            if registry.location.is_empty() { registry.prefix() } else { &registry.location };
        let mirrors = registry.mirrors.iter().map(|m| place(&m.location, m.insecure));
        mirrors.chain([place(location, registry.insecure)]).collect()
    }

    /// The table with the longest prefix of `name`, and what follows the prefix.
    fn lookup<'a>(&self, name: &'a str) -> Option<(&Registry, &'a str)> {
        let candidates = self.registries.iter();
        let matching = candidates.filter_map(|r| Some((r, match_prefix(r.prefix(), name)?)));
        matching.min_by_key(|(_, rest)| rest.len())
    }

    fn overlay(&mut self, file: File) {
        if let Some(search) = file.unqualified_search {
            self.unqualified_search = search;
        }
        for registry in file.registries {
            self.registries.retain(|old| old.prefix() != registry.prefix());
            self.registries.push(registry);
        }
    }
}

impl Registry {
    fn prefix(&self) -> &str {
        if self.prefix.is_empty() { &self.location } else { &self.prefix }
    }
}

/// What follows `prefix` in `name`, if it ends where a part of the name ends.
///
/// `*.example.com` stands for every host below it.
fn match_prefix<'a>(prefix: &str, name: &'a str) -> Option<&'a str> {
    if let Some(suffix) = prefix.strip_prefix('*') {
        let host = &name[..name.find('/').unwrap_or(name.len())];
        return host.ends_with(suffix).then(|| &name[host.len()..]);
    }
    let rest = name.strip_prefix(prefix)?;
    (rest.is_empty() || rest.starts_with(['/', ':', '@'])).then_some(rest)
}

/// The files to read, the least important first.
fn files(environment: &Environment) -> Result<Vec<std::path::PathBuf>, ConfigError> {
    if let Some(path) = environment.path("CONTAINERS_REGISTRIES_CONF") {
        return Ok(vec![path]);
    }
    let user = environment.config_home().map(|home| home.join("containers"));
    let system = environment.system("etc/containers");
    let main = user.clone().filter(|user| user.join("registries.conf").exists());
    let mut files = vec![main.unwrap_or_else(|| system.clone()).join("registries.conf")];
    for directory in [Some(system), user].into_iter().flatten() {
        files.extend(drop_ins(&directory.join("registries.conf.d"))?);
    }
    Ok(files)
}

fn drop_ins(directory: &std::path::Path) -> Result<Vec<std::path::PathBuf>, ConfigError> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(ConfigError::Read { path: directory.into(), source }),
    };
    let mut files: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "conf"))
        .collect();
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> RegistriesConfig {
        let mut config = RegistriesConfig::default();
        config.overlay(toml::from_str(text).unwrap());
        config
    }

    fn places(config: &RegistriesConfig, name: &str) -> Vec<(String, bool)> {
        config.endpoints(name).into_iter().map(|e| (e.location, e.insecure)).collect()
    }

    #[test]
    fn the_longest_prefix_decides() {
        let config = config(
            "[[registry]]\nlocation = \"a.example\"\ninsecure = true\n\
             [[registry]]\nprefix = \"a.example/team\"\nlocation = \"b.example/x\"\n\
             [[registry.mirror]]\nlocation = \"m.example:5000\"\ninsecure = true\n\
             [[registry]]\nprefix = \"*.bad.example\"\nblocked = true\n",
        );
        let expect = |name, places_: &[(&str, bool)]| {
            let places_: Vec<_> = places_.iter().map(|(p, i)| ((*p).to_owned(), *i)).collect();
            assert_eq!(places(&config, name), places_, "{name}");
        };
        expect("a.example/app", &[("a.example/app", true)]);
        expect("a.example/team/app", &[("m.example:5000/app", true), ("b.example/x/app", false)]);
        expect("a.example/teams/app", &[("a.example/teams/app", true)]);
        expect("a.example.org/app", &[("a.example.org/app", false)]);
        expect("x.bad.example/app", &[]);
    }

    #[test]
    fn a_later_table_of_the_same_prefix_replaces_the_earlier() {
        let mut merged = config("[[registry]]\nlocation = \"a.example\"\ninsecure = true\n");
        merged.overlay(toml::from_str("[[registry]]\nlocation = \"a.example\"\n").unwrap());
        assert_eq!(places(&merged, "a.example/app"), [("a.example/app".to_owned(), false)]);
    }
}
