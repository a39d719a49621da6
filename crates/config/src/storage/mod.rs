//! storage.conf: where the store is, and how it is pulled into.

mod list;
mod options;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use serde::Deserialize;

use crate::files::layered;
use crate::{ConfigError, Environment};

use options::Options;
pub use options::{DriverOptions, PullOptions};

/// The settings of storage.conf that matter to a store.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StorageConfig {
    /// Name of the storage driver; `overlay` unless a file or `STORAGE_DRIVER` says otherwise.
    pub driver: String,
    /// The store's root directory.
    pub graph_root: PathBuf,
    /// The store's directory for state that a reboot clears.
    pub run_root: PathBuf,
    /// Where images live if not in the graph root.
    pub image_store: Option<PathBuf>,
    /// Read-only stores that serve as well.
    pub additional_image_stores: Vec<PathBuf>,
    /// Containers live in the run root and end with the machine.
    pub transient_store: bool,
    /// How layers are pulled.
    pub pull_options: PullOptions,
    /// How layers are kept and mounted.
    pub driver_options: DriverOptions,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct File {
    storage: Storage,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Storage {
    driver: Option<String>,
    graphroot: Option<String>,
    runroot: Option<String>,
    imagestore: Option<String>,
    rootless_storage_path: Option<String>,
    transient_store: Option<bool>,
    options: Options,
}

impl StorageConfig {
    /// Reads the files that podman 5.8.6 would read for this user.
    ///
    /// Of the user's, the system's and the vendor's `storage.conf` only the first that
    /// is there; drop-ins of all three places go on top of it in order of their names.
    /// `CONTAINERS_STORAGE_CONF` names a file in place of all these, and
    /// `CONTAINERS_STORAGE_CONF_OVERRIDE` one on top of them; `STORAGE_DRIVER` and
    /// `STORAGE_OPTS` replace the driver and its options.
    ///
    /// # Errors
    ///
    /// If a file is there and cannot be read or understood, if one that a variable
    /// names is not there, or if nothing tells where a user's store is.
    pub fn load(environment: &Environment) -> Result<Self, ConfigError> {
        let mut merged = Storage::default();
        for file in layered(environment, "storage.conf", "CONTAINERS_STORAGE_CONF")? {
            if let Some(file) = file.read::<File>()? {
                merged.overlay(file.storage);
            }
        }
        merged.resolve(environment)
    }
}

/// Takes over a value if there is one.
fn replace<T>(slot: &mut Option<T>, with: Option<T>) {
    if with.is_some() {
        *slot = with;
    }
}

impl Storage {
    /// Takes over what a more important file says.
    fn overlay(&mut self, other: Self) {
        replace(&mut self.driver, other.driver);
        replace(&mut self.graphroot, other.graphroot);
        replace(&mut self.runroot, other.runroot);
        replace(&mut self.imagestore, other.imagestore);
        replace(&mut self.rootless_storage_path, other.rootless_storage_path);
        replace(&mut self.transient_store, other.transient_store);
        self.options.overlay(other.options);
    }

    fn resolve(self, environment: &Environment) -> Result<StorageConfig, ConfigError> {
        let driver = environment.get("STORAGE_DRIVER").map(str::to_owned).or(self.driver.clone());
        let graph_root = self.graph_root(environment)?;
        let image_store = self.imagestore.filter(|text| !text.is_empty()).map(PathBuf::from);
        if image_store.as_ref() == Some(&graph_root) {
            return Err(ConfigError::SameImageStore(graph_root));
        }
        let (stores, pull_options, driver_options) =
            self.options.resolve(environment.get_even_empty("STORAGE_OPTS"));
        let absolute = |text: String| match PathBuf::from(text) {
            path if path.is_absolute() => Ok(path),
            path => Err(ConfigError::Relative(path)),
        };
        Ok(StorageConfig {
            driver: driver.filter(|name| !name.is_empty()).unwrap_or_else(|| "overlay".into()),
            run_root: match self.runroot.filter(|text| !text.is_empty()) {
                Some(text) => environment.expand(&text),
                None => default_run_root(environment),
            },
            graph_root,
            image_store,
            additional_image_stores: stores.into_iter().map(absolute).collect::<Result<_, _>>()?,
            transient_store: self.transient_store.unwrap_or(false),
            pull_options,
            driver_options,
        })
    }

    /// A graph root goes before a `rootless_storage_path`, which is for users only.
    fn graph_root(&self, environment: &Environment) -> Result<PathBuf, ConfigError> {
        let given = |text: &Option<String>| {
            text.as_ref().filter(|text| !text.is_empty()).map(|text| environment.expand(text))
        };
        if let Some(path) = given(&self.graphroot) {
            return Ok(path);
        }
        if environment.uid() == 0 {
            return Ok("/var/lib/containers/storage".into());
        }
        given(&self.rootless_storage_path)
            .or_else(|| Some(environment.data_home()?.join("containers/storage")))
            .ok_or(ConfigError::NoHome)
    }
}

fn default_run_root(environment: &Environment) -> PathBuf {
    if environment.uid() == 0 {
        return "/run/containers/storage".into();
    }
    let session = environment.runtime_dir().or_else(|| environment.runtime_dir_of_system());
    let temporary = || format!("/tmp/storage-run-{}", environment.uid()).into();
    session.unwrap_or_else(temporary).join("containers")
}
