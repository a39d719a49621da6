//! Which files make up one configuration.
//!
//! ```text
//! main, the first that is there:     drop-ins, of each name the last:
//! 1. ~/.config/containers/X.conf     1. /usr/share/containers/X.conf.d/
//! 2. /etc/containers/X.conf             …/X.rootful.conf.d/, or for users
//! 3. /usr/share/containers/X.conf       …/X.rootless.conf.d/ and …/X.rootless.conf.d/UID/
//!                                    2. the same below /etc/containers/
//!                                    3. ~/.config/containers/X.conf.d/
//! ```

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::{ConfigError, Environment};

/// The files of `storage.conf` in the order in which they are read, each on top of
/// those before it.
///
/// The file that `variable` names takes the place of all others; the one that
/// `<variable>_OVERRIDE` names comes last in any case. These two must be there.
///
/// # Errors
///
/// If a directory with drop-ins is there and cannot be read.
pub(crate) fn layered(
    environment: &Environment,
    name: &str,
    variable: &str,
) -> Result<Vec<Named>, ConfigError> {
    let over = environment.path(&format!("{variable}_OVERRIDE")).map(Named::Demanded);
    let mut files = if let Some(path) = environment.path(variable) {
        vec![Named::Demanded(path)]
    } else {
        let user = environment.config_home().map(|home| home.join("containers"));
        let system = environment.system("etc/containers");
        let vendor = environment.system("usr/share/containers");
        let main = user.iter().chain([&system, &vendor]).map(|place| place.join(name));
        let main = main.into_iter().find(|path| path.exists());
        let mut files: Vec<_> = main.into_iter().map(Named::Expected).collect();
        let mut places = Vec::new();
        for place in [&vendor, &system] {
            places.extend(drop_in_places(place, name, environment.uid()));
        }
        places.extend(user.map(|place| place.join(format!("{name}.d"))));
        files.extend(drop_ins_by_name(&places)?.into_iter().map(Named::Expected));
        files
    };
    files.extend(over);
    Ok(files)
}

/// A file to read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Named {
    /// It may have gone since it was found.
    Expected(PathBuf),
    /// The user named it, so it must be there.
    Demanded(PathBuf),
}

impl Named {
    /// What stands in it; `None` if it is not there and need not be.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<Option<T>, ConfigError> {
        match self {
            Self::Expected(path) => read_toml(path),
            Self::Demanded(path) => read_toml(path)?.map(Some).ok_or_else(|| ConfigError::Read {
                path: path.clone(),
                source: io::ErrorKind::NotFound.into(),
            }),
        }
    }
}

/// `storage.conf.d`, `storage.rootful.conf.d` and so on below `place`.
fn drop_in_places(place: &Path, name: &str, uid: u32) -> Vec<PathBuf> {
    let stem = name.trim_end_matches(".conf");
    let kind = if uid == 0 { "rootful" } else { "rootless" };
    let special = place.join(format!("{stem}.{kind}.conf.d"));
    let mut places = vec![place.join(format!("{name}.d")), special.clone()];
    if uid != 0 {
        places.push(special.join(uid.to_string()));
    }
    places
}

/// The drop-ins of several directories, ordered by their names alone; a name in a
/// later directory hides the same name in an earlier one.
fn drop_ins_by_name(places: &[PathBuf]) -> Result<Vec<PathBuf>, ConfigError> {
    let mut by_name = BTreeMap::new();
    for place in places {
        // As in podman, a link is not a drop-in here (and is one for registries.conf).
        let regular = |path: &PathBuf| path.symlink_metadata().is_ok_and(|meta| meta.is_file());
        for path in drop_ins(place)?.into_iter().filter(regular) {
            by_name.insert(path.file_name().map(ToOwned::to_owned), path);
        }
    }
    Ok(by_name.into_values().collect())
}

/// The files called `*.conf` in a directory that may be missing, in order of their
/// names; links count by what they lead to.
pub(crate) fn drop_ins(directory: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let failed = |source| ConfigError::Read { path: directory.into(), source };
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(failed(source)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "conf") && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Reads a file that may be missing.
pub(crate) fn read_toml<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, ConfigError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(ConfigError::Read { path: path.into(), source }),
    };
    toml::from_str(&text)
        .map(Some)
        .map_err(|source| ConfigError::Toml { path: path.into(), source: Box::new(source) })
}
