//! Directories with certificates for single registries.
//!
//! ```text
//! certs.d/HOST[:PORT]/
//! ├── *.crt      authorities that are trusted there, beside those of the system
//! ├── NAME.cert  who we are there
//! └── NAME.key   and its key
//! ```

use std::io;
use std::path::{Path, PathBuf};

use crate::Environment;

/// Where to look.
#[derive(Debug, Clone)]
pub struct CertificateDirs {
    explicit: Option<PathBuf>,
    /// Directories of directories, each called like a host.
    places: Vec<PathBuf>,
}

/// What a directory holds; all of it in PEM.
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HostCertificates {
    /// Authorities.
    pub authorities: Vec<Vec<u8>>,
    /// Certificates with their keys behind them.
    pub identities: Vec<Vec<u8>>,
}

/// Shows no key.
impl std::fmt::Debug for HostCertificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (authorities, identities) = (self.authorities.len(), self.identities.len());
        write!(f, "HostCertificates({authorities} authorities, {identities} identities)")
    }
}

/// Why the certificates for a host are not known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificatesError {
    /// A directory or file is there and cannot be read.
    #[error("read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
    /// A certificate without its key, or a key without its certificate.
    #[error("{} is there, and {} is not", there.display(), missing.display())]
    Half {
        /// What is there.
        there: PathBuf,
        /// What belongs to it.
        missing: PathBuf,
    },
}

impl CertificateDirs {
    /// Those that podman would look into: `explicit` for every host, else the user's
    /// `~/.config/containers/certs.d`, `/etc/containers/certs.d` and
    /// `/etc/docker/certs.d`.
    pub fn of(environment: &Environment, explicit: Option<&Path>) -> Self {
        let user = environment.home_config().map(|home| home.join("containers/certs.d"));
        let system = ["etc/containers/certs.d", "etc/docker/certs.d"];
        let system = system.iter().map(|path| environment.system(path));
        let explicit = explicit.map(Path::to_owned);
        Self { explicit, places: user.into_iter().chain(system).collect() }
    }

    /// The certificates for `host[:port]`, from the first place that knows it; none
    /// if no place does.
    ///
    /// # Errors
    ///
    /// If something is there and cannot be read, or lacks its other half.
    pub fn for_host(&self, host: &str) -> Result<HostCertificates, CertificatesError> {
        // A place that may not be looked into has nothing for us.
        let known = |place: &PathBuf| Some(place.join(host)).filter(|dir| dir.exists());
        let dir = self.explicit.clone().or_else(|| self.places.iter().find_map(known));
        let mut found = HostCertificates::default();
        let Some(dir) = dir else { return Ok(found) };
        let failed = |source| CertificatesError::Read { path: dir.clone(), source };
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&dir).map_err(failed)? {
            files.push(entry.map_err(failed)?.path());
        }
        files.sort();
        for path in files {
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("crt") => found.authorities.push(read(&path)?),
                Some("cert") => {
                    let mut identity = read(&path)?;
                    identity.push(b'\n');
                    identity.extend(read(&other_half(&path, "key")?)?);
                    found.identities.push(identity);
                }
                Some("key") => drop(other_half(&path, "cert")?),
                _ => {}
            }
        }
        Ok(found)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, CertificatesError> {
    std::fs::read(path).map_err(|source| CertificatesError::Read { path: path.into(), source })
}

fn other_half(there: &Path, extension: &str) -> Result<PathBuf, CertificatesError> {
    let missing = there.with_extension(extension);
    if missing.exists() {
        return Ok(missing);
    }
    Err(CertificatesError::Half { there: there.into(), missing })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_place_that_knows_a_host_is_the_only_one() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("home");
        let environment =
            Environment::for_tests(home.to_str().unwrap(), 0).with_system_root(dir.path());
        let write = |path: &str| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, path.file_name().unwrap().to_str().unwrap()).unwrap();
        };
        let found = |host: &str| CertificateDirs::of(&environment, None).for_host(host);
        let texts = |parts: Vec<Vec<u8>>| {
            parts.into_iter().map(|part| String::from_utf8(part).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(found("h:1").unwrap(), HostCertificates::default());
        write("etc/docker/certs.d/h:1/docker.crt");
        write("etc/docker/certs.d/h:1/me.cert");
        write("etc/docker/certs.d/h:1/me.key");
        let docker = found("h:1").unwrap();
        assert_eq!(texts(docker.authorities), ["docker.crt"]);
        assert_eq!(texts(docker.identities), ["me.cert\nme.key"]);
        write("home/.config/containers/certs.d/h:1/own.crt");
        let own = found("h:1").unwrap();
        assert_eq!(texts(own.authorities), ["own.crt"]);
        assert_eq!(texts(own.identities), [""; 0]);
        assert_eq!(found("h").unwrap(), HostCertificates::default());
        let explicit = dir.path().join("etc/docker/certs.d/h:1");
        let explicit = CertificateDirs::of(&environment, Some(&explicit));
        assert_eq!(texts(explicit.for_host("x").unwrap().authorities), ["docker.crt"]);
    }

    #[test]
    fn half_an_identity_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let environment = Environment::for_tests("/nowhere", 0);
        let dirs = CertificateDirs::of(&environment, Some(dir.path()));
        std::fs::write(dir.path().join("a.key"), "").unwrap();
        assert!(matches!(dirs.for_host("h"), Err(CertificatesError::Half { .. })));
        std::fs::rename(dir.path().join("a.key"), dir.path().join("a.cert")).unwrap();
        assert!(matches!(dirs.for_host("h"), Err(CertificatesError::Half { .. })));
    }
}
