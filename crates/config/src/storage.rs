//! storage.conf: where the store is, and how it is pulled into.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::{ConfigError, Environment};

/// The settings of storage.conf that matter to a store.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StorageConfig {
    /// Name of the storage driver; `overlay` unless a file says otherwise.
    pub driver: String,
    /// The store's root directory.
    pub graph_root: PathBuf,
    /// The store's directory for state that a reboot clears.
    pub run_root: PathBuf,
    /// Where images live if not in the graph root.
    pub image_store: Option<PathBuf>,
    /// Read-only stores that serve as well.
    pub additional_image_stores: Vec<PathBuf>,
    /// How layers are pulled.
    pub pull_options: PullOptions,
}

/// The table `storage.options.pull_options`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PullOptions {
    /// Pull by the TOC; `None` where no file says so.
    pub enable_partial_images: Option<bool>,
    /// Share whole files by hard links.
    pub use_hard_links: bool,
    /// Make every layer a chunked one.
    pub convert_images: bool,
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
    options: Options,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Options {
    additionalimagestores: Option<Vec<String>>,
    pull_options: Option<PullTable>,
}

/// Values are text; true is any spelling of `true`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PullTable {
    enable_partial_images: Option<String>,
    use_hard_links: Option<String>,
    convert_images: Option<String>,
}

impl StorageConfig {
    /// Reads the files that podman would read for this user.
    ///
    /// A file named by `CONTAINERS_STORAGE_CONF` is read alone. Else the
    /// system's file, from `/etc` or, without one there, from `/usr/share`;
    /// then, for a user other than root, the user's own file on top of it.
    ///
    /// # Errors
    ///
    /// If a file is there and cannot be read or understood, or if nothing
    /// tells where a user's store is.
    pub fn load(environment: &Environment) -> Result<Self, ConfigError> {
        let mut merged = Storage::default();
        for (path, is_of_system) in files(environment) {
            if let Some(mut file) = read_toml::<File>(&path)? {
                if environment.uid() != 0 && is_of_system {
                    // There these are meant for root.
                    (file.storage.graphroot, file.storage.runroot) = (None, None);
                }
                merged.overlay(file.storage);
            }
        }
        merged.resolve(environment)
    }
}

/// The files to read, the least important first, and whether each is the system's.
fn files(environment: &Environment) -> Vec<(PathBuf, bool)> {
    if let Some(path) = environment.path("CONTAINERS_STORAGE_CONF") {
        return vec![(path, false)];
    }
    let system = environment.system("etc/containers/storage.conf");
    let vendor = environment.system("usr/share/containers/storage.conf");
    let mut files = vec![(if system.exists() { system } else { vendor }, true)];
    if environment.uid() != 0 {
        let own = environment.config_home().map(|home| home.join("containers/storage.conf"));
        files.extend(own.map(|path| (path, false)));
    }
    files
}

/// Reads a file that may be missing.
pub(crate) fn read_toml<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, ConfigError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(ConfigError::Read { path: path.into(), source }),
    };
    toml::from_str(&text)
        .map(Some)
        .map_err(|source| ConfigError::Toml { path: path.into(), source: Box::new(source) })
}

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
        let (mine, other) = (&mut self.options, other.options);
        replace(&mut mine.additionalimagestores, other.additionalimagestores);
        if let Some(pull) = other.pull_options {
            let mine = mine.pull_options.get_or_insert_default();
            replace(&mut mine.enable_partial_images, pull.enable_partial_images);
            replace(&mut mine.use_hard_links, pull.use_hard_links);
            replace(&mut mine.convert_images, pull.convert_images);
        }
    }

    fn resolve(self, environment: &Environment) -> Result<StorageConfig, ConfigError> {
        let path = |text: Option<String>| {
            text.filter(|text| !text.is_empty()).map(|text| environment.expand(&text))
        };
        let (graph_root, run_root) = if environment.uid() == 0 {
            (
                path(self.graphroot).unwrap_or_else(|| "/var/lib/containers/storage".into()),
                path(self.runroot).unwrap_or_else(|| "/run/containers/storage".into()),
            )
        } else {
            let data = || Some(environment.data_home()?.join("containers/storage"));
            let run = || Some(environment.runtime_dir()?.join("containers"));
            let own = path(self.graphroot).or_else(|| path(self.rootless_storage_path));
            let graph = own.or_else(data).ok_or(ConfigError::NoHome)?;
            let run = || path(self.runroot).or_else(run);
            let temporary = || format!("/tmp/storage-run-{}/containers", environment.uid()).into();
            (graph, run().unwrap_or_else(temporary))
        };
        let pull = self.options.pull_options.unwrap_or_default();
        let is_true =
            |text: &Option<String>| text.as_deref().map(|t| t.eq_ignore_ascii_case("true"));
        Ok(StorageConfig {
            driver: self.driver.unwrap_or_else(|| "overlay".into()),
            graph_root,
            run_root,
            image_store: path(self.imagestore),
            additional_image_stores: self
                .options
                .additionalimagestores
                .unwrap_or_default()
                .iter()
                .map(|text| environment.expand(text))
                .collect(),
            pull_options: PullOptions {
                enable_partial_images: is_true(&pull.enable_partial_images),
                use_hard_links: is_true(&pull.use_hard_links).unwrap_or(false),
                convert_images: is_true(&pull.convert_images).unwrap_or(false),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_without_files_has_the_usual_store() {
        let storage = StorageConfig::load(&Environment::for_tests("/root", 0)).unwrap();
        assert_eq!(storage.graph_root.to_str(), Some("/var/lib/containers/storage"));
        assert_eq!(storage.run_root.to_str(), Some("/run/containers/storage"));
        assert_eq!(storage.driver, "overlay");
        assert_eq!(storage.pull_options.enable_partial_images, None);
    }

    #[test]
    fn a_users_file_goes_on_top_of_the_systems() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write(
            "sys/etc/containers/storage.conf",
            "[storage]\ndriver = \"overlay\"\ngraphroot = \"/srv\"\nrootless_storage_path = \"/big/$UID\"\n\
             [storage.options]\nadditionalimagestores = [\"/a\"]\n\
             pull_options = {enable_partial_images = \"True\", use_hard_links = \"false\"}\n",
        );
        write(
            "home/.config/containers/storage.conf",
            "[storage.options.pull_options]\nuse_hard_links = \"true\"\n",
        );
        let home = dir.path().join("home");
        let environment = Environment::for_tests(home.to_str().unwrap(), 1000)
            .with_system_root(dir.path().join("sys"));
        let storage = StorageConfig::load(&environment).unwrap();
        assert_eq!(storage.graph_root.to_str(), Some("/big/1000"));
        assert_eq!(storage.additional_image_stores, [PathBuf::from("/a")]);
        assert_eq!(storage.pull_options.enable_partial_images, Some(true));
        assert!(storage.pull_options.use_hard_links);
    }

    #[test]
    fn a_users_own_roots_are_taken_and_the_systems_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("storage.conf");
        std::fs::write(&path, "[storage]\ngraphroot = \"$HOME/g\"\nrunroot = \"/r\"\n").unwrap();
        let environment = Environment::for_tests("/home/ada", 1000)
            .with("CONTAINERS_STORAGE_CONF", path.to_str().unwrap());
        let storage = StorageConfig::load(&environment).unwrap();
        assert_eq!(storage.graph_root.to_str(), Some("/home/ada/g"));
        assert_eq!(storage.run_root.to_str(), Some("/r"));
    }

    #[test]
    fn a_file_that_is_no_toml_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("storage.conf");
        std::fs::write(&path, "[storage").unwrap();
        let environment = Environment::for_tests("/root", 0)
            .with("CONTAINERS_STORAGE_CONF", path.to_str().unwrap());
        let error = StorageConfig::load(&environment).unwrap_err();
        assert!(error.to_string().contains(path.to_str().unwrap()));
    }
}
