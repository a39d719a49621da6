//! auth.json and credential helpers: who we are to a registry.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use docker_credential::DockerCredential;
use serde::Deserialize;

use crate::Environment;

/// What is shown to a registry.
#[derive(Clone, PartialEq, Eq)]
pub enum Login {
    /// A user with a password.
    Password {
        /// The user.
        username: String,
        /// The password.
        password: String,
    },
    /// A token that is exchanged for access tokens.
    IdentityToken(String),
}

/// Shows no secret.
impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Password { username, .. } => write!(f, "Password({username})"),
            Self::IdentityToken(_) => f.write_str("IdentityToken"),
        }
    }
}

/// Why a credentials file could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// The file is there and cannot be read.
    #[error("read credentials from {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The file is not a credentials file.
    #[error("understand credentials in {}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where, and what was expected.
        source: serde_json::Error,
    },
    /// An entry is not base64 of `user:password`.
    #[error("understand credentials of {key} in {}", path.display())]
    Entry {
        /// The file.
        path: PathBuf,
        /// The entry's key.
        key: String,
    },
    /// A credential helper failed.
    #[error("ask the credential helper {helper} for {server}: {reason}")]
    Helper {
        /// The helper's name without `docker-credential-`.
        helper: String,
        /// What it was asked for.
        server: String,
        /// What it said.
        reason: String,
    },
}

/// The credentials files in the order in which they are asked.
#[derive(Debug, Clone, Default)]
pub struct AuthFiles(Vec<PathBuf>);

/// What stands for the credentials files among the credential helpers of registries.conf.
pub(crate) const FILES: &str = "containers-auth.json";

/// All that knows logins: credential helpers, and credentials files among them.
#[derive(Debug, Clone)]
pub struct Logins {
    files: AuthFiles,
    helpers: Vec<String>,
}

impl Logins {
    /// Helpers in the order in which they are asked, where `containers-auth.json`
    /// stands for the files.
    pub fn new(files: AuthFiles, helpers: &[&str]) -> Self {
        Self { files, helpers: helpers.iter().map(|&helper| helper.to_owned()).collect() }
    }

    /// The login for `name`, a host with or without a repository behind it, from the
    /// first that has one.
    ///
    /// # Errors
    ///
    /// If none has one, and a file or a helper is broken.
    pub fn login(&self, name: &str) -> Result<Option<Login>, AuthError> {
        let mut failed = None;
        for helper in &self.helpers {
            let answer = match helper.as_str() {
                FILES => self.files.login(name),
                helper => ask(helper, name.split('/').next().unwrap_or(name)),
            };
            match answer {
                Ok(Some(login)) => return Ok(Some(login)),
                Ok(None) => {}
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(None), Err)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct AuthFile {
    auths: BTreeMap<String, AuthEntry>,
    #[serde(rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
    #[serde(rename = "credsStore")]
    store: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct AuthEntry {
    auth: String,
    identitytoken: String,
}

impl AuthFiles {
    /// The files that podman would ask for this user.
    ///
    /// `explicit`, or what `REGISTRY_AUTH_FILE` names, is asked alone. Else
    /// `containers/auth.json` in the runtime directory, then in the user's
    /// configuration, then docker's `config.json`.
    pub fn of(environment: &Environment, explicit: Option<&Path>) -> Self {
        let alone = explicit.map(Path::to_owned).or_else(|| environment.path("REGISTRY_AUTH_FILE"));
        if let Some(path) = alone {
            return Self(vec![path]);
        }
        let runtime = match environment.runtime_dir() {
            Some(directory) => directory.join("containers/auth.json"),
            None => format!("/run/containers/{}/auth.json", environment.uid()).into(),
        };
        let user = environment.config_home().map(|home| home.join("containers/auth.json"));
        let docker = environment
            .path("DOCKER_CONFIG")
            .or_else(|| Some(environment.path("HOME")?.join(".docker")))
            .map(|directory| directory.join("config.json"));
        Self([Some(runtime), user, docker].into_iter().flatten().collect())
    }

    /// The login for `name`, a host with or without a repository behind it.
    ///
    /// A file's entry for the repository goes before one for a path above it,
    /// and that before one for the host; within a file, helpers named for the
    /// host go first and the general helper goes last.
    ///
    /// # Errors
    ///
    /// If a file or a helper that had to be asked is broken.
    pub fn login(&self, name: &str) -> Result<Option<Login>, AuthError> {
        for path in &self.0 {
            let Some(file) = read(path)? else { continue };
            if let Some(login) = file.login(path, name)? {
                return Ok(Some(login));
            }
        }
        Ok(None)
    }
}

fn read(path: &Path) -> Result<Option<AuthFile>, AuthError> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(AuthError::Read { path: path.into(), source }),
    };
    if text.is_empty() {
        return Ok(None);
    }
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|source| AuthError::Json { path: path.into(), source })
}

impl AuthFile {
    fn login(&self, path: &Path, name: &str) -> Result<Option<Login>, AuthError> {
        let host = name.split('/').next().unwrap_or(name);
        if let Some(helper) = self.helpers.get(host) {
            return ask(helper, host);
        }
        for key in keys(name) {
            if let Some(entry) = self.entry(key)
                && let Some(login) = entry.login(path, key)?
            {
                return Ok(Some(login));
            }
        }
        match &self.store {
            Some(helper) => ask(helper, host),
            None => Ok(None),
        }
    }

    /// The entry of a key; docker writes keys of hosts as URLs.
    fn entry(&self, key: &str) -> Option<&AuthEntry> {
        self.auths.get(key).or_else(|| {
            let host = |url: &str| {
                let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
                rest.split('/').next().map(str::to_owned)
            };
            let wanted = if key == "docker.io" { "index.docker.io" } else { key };
            let mut entries = self.auths.iter();
            entries.find(|(url, _)| host(url).as_deref() == Some(wanted)).map(|(_, entry)| entry)
        })
    }
}

/// `a/b/c`, then `a/b`, then `a`.
fn keys(name: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(name), |name| name.rsplit_once('/').map(|(above, _)| above))
}

impl AuthEntry {
    fn login(&self, path: &Path, key: &str) -> Result<Option<Login>, AuthError> {
        if !self.identitytoken.is_empty() {
            return Ok(Some(Login::IdentityToken(self.identitytoken.clone())));
        }
        if self.auth.is_empty() {
            return Ok(None);
        }
        let broken = || AuthError::Entry { path: path.into(), key: key.into() };
        let bytes = STANDARD.decode(&self.auth).map_err(|_| broken())?;
        let text = String::from_utf8(bytes).map_err(|_| broken())?;
        let (username, password) = text.split_once(':').ok_or_else(broken)?;
        let password = password.trim_end_matches('\0').to_owned();
        Ok(Some(Login::Password { username: username.into(), password }))
    }
}

fn ask(helper: &str, server: &str) -> Result<Option<Login>, AuthError> {
    use docker_credential::CredentialRetrievalError as E;
    if cfg!(fuzzing) {
        // What is made up must not name a program that is run.
        return Ok(None);
    }
    let question = serde_json::json!({ "credsStore": helper }).to_string();
    match docker_credential::get_credential_from_reader(question.as_bytes(), server) {
        Ok(DockerCredential::UsernamePassword(username, password)) => {
            Ok(Some(Login::Password { username, password }))
        }
        Ok(DockerCredential::IdentityToken(token)) => Ok(Some(Login::IdentityToken(token))),
        Err(E::NoCredentialConfigured) => Ok(None),
        Err(E::HelperFailure { stdout, .. }) if stdout.contains("credentials not found") => {
            Ok(None)
        }
        Err(error) => Err(AuthError::Helper {
            helper: helper.into(),
            server: server.into(),
            reason: error.to_string(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(json: &str, name: &str) -> Result<Option<Login>, AuthError> {
        serde_json::from_str::<AuthFile>(json).unwrap().login(Path::new("auth.json"), name)
    }

    fn user(json: &str, name: &str) -> Option<String> {
        match login(json, name).unwrap()? {
            Login::Password { username, .. } => Some(username),
            Login::IdentityToken(token) => Some(format!("token {token}")),
        }
    }

    #[test]
    fn the_most_specific_entry_is_taken() {
        // base64 of "host:p", "team:p", "app:p:q"
        let json = r#"{"auths": {"r.example": {"auth": "aG9zdDpw"}, "r.example/team": {"auth": "dGVhbTpw"},
            "r.example/team/app": {"auth": "YXBwOnA6cQ=="}, "https://index.docker.io/v1/": {"auth": "aG9zdDpw"},
            "t.example": {"identitytoken": "x"}}}"#;
        assert_eq!(user(json, "r.example/team/app").as_deref(), Some("app"));
        assert_eq!(user(json, "r.example/team/other").as_deref(), Some("team"));
        assert_eq!(user(json, "r.example/teams").as_deref(), Some("host"));
        assert_eq!(user(json, "docker.io/library/app").as_deref(), Some("host"));
        assert_eq!(user(json, "t.example/a").as_deref(), Some("token x"));
        assert_eq!(user(json, "other.example/a"), None);
        let Ok(Some(Login::Password { password, .. })) = login(json, "r.example/team/app") else {
            panic!("a password")
        };
        assert_eq!(password, "p:q");
    }

    #[test]
    fn a_broken_entry_is_named_and_no_secret_is_shown() {
        let error =
            login(r#"{"auths": {"r.example": {"auth": "%%"}}}"#, "r.example/a").unwrap_err();
        assert!(error.to_string().contains("r.example"));
        let shown = format!("{:?}", Login::Password { username: "u".into(), password: "p".into() });
        assert_eq!(shown, "Password(u)");
    }
}
