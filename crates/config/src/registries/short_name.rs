//! Names without a registry.

use std::path::PathBuf;

use super::file::{Alias, Mode};
use super::{RegistriesConfig, table};
use crate::Environment;

/// Why a name without a registry stands for no image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShortNameError {
    /// No file tells where to look for it.
    #[error(
        "{name:?} names no registry, is no alias, and {} has no unqualified-search-registries",
        file.display()
    )]
    Nowhere {
        /// The name.
        name: String,
        /// The main configuration file.
        file: PathBuf,
    },
    /// A person is to choose, and is not asked.
    #[error(
        "{name:?} could be {}, and short-name-mode is enforcing: name the registry",
        candidates.join(" or ")
    )]
    Choice {
        /// The name.
        name: String,
        /// What it may stand for.
        candidates: Vec<String>,
    },
}

impl RegistriesConfig {
    /// The names that `name`, which may have a tag or a digest, stands for: itself, if
    /// it begins with a registry; else what an alias says, else itself at each registry
    /// to search, to be tried in this order. Nobody is asked, as in podman without a
    /// terminal.
    ///
    /// # Errors
    ///
    /// If nothing tells where to look, or a person would have to choose.
    ///
    /// # Examples
    ///
    /// ```
    /// use config::RegistriesConfig;
    ///
    /// let config = RegistriesConfig::default();
    /// assert_eq!(config.complete("quay.io/fedora/fedora")?, ["quay.io/fedora/fedora"]);
    /// assert!(config.complete("fedora/fedora").is_err());
    /// # Ok::<(), config::ShortNameError>(())
    /// ```
    pub fn complete(&self, name: &str) -> Result<Vec<String>, ShortNameError> {
        if !is_short(name) {
            return Ok(vec![name.to_owned()]);
        }
        let repository = table::without_tag(name);
        if let Some(Some(alias)) = self.aliases.get(repository) {
            return Ok(vec![format!("{alias}{}", &name[repository.len()..])]);
        }
        let candidates: Vec<_> = self.search.iter().map(|host| format!("{host}/{name}")).collect();
        let name = name.to_owned();
        match (candidates.len(), self.mode) {
            (0, _) => Err(ShortNameError::Nowhere { name, file: self.main.clone() }),
            (2.., Mode::Enforcing) => Err(ShortNameError::Choice { name, candidates }),
            _ => Ok(candidates),
        }
    }
}

/// Whether the first part of a name is not a registry.
fn is_short(name: &str) -> bool {
    let first = name.split_once('/').map(|(first, _)| first);
    first.is_none_or(|first| !first.contains(['.', ':']) && first != "localhost")
}

/// An alias as a file has it, checked.
pub(super) fn alias(name: &str, value: String) -> Result<Alias, String> {
    if !is_short(name) || table::without_tag(name) != name {
        return Err(format!("{name:?} is not a short name without a tag, and so no alias"));
    }
    if value.is_empty() {
        return Ok(None);
    }
    if is_short(&value) || table::without_tag(&value) != value {
        return Err(format!("alias {value:?} is not a registry and a repository without a tag"));
    }
    Ok(Some(value))
}

/// The file in which podman notes what a person has chosen.
pub(super) fn noted_aliases(environment: &Environment) -> Option<PathBuf> {
    let cache = match environment.uid() {
        0 => Some(environment.system("var/cache")),
        _ => environment.cache_home(),
    };
    cache.map(|cache| cache.join("containers/short-name-aliases.conf"))
}
