//! policy.json: which images may be taken at all.

mod file;
mod scope;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};

use crate::Environment;

use file::{Contents, Requirement};
pub use scope::Subject;

/// What policy.json asks of images.
///
/// # Examples
///
/// ```
/// use config::{Policy, Refusal, Subject};
///
/// let text = r#"{"default": [{"type": "reject"}],
///     "transports": {"docker": {"r.example/team": [{"type": "insecureAcceptAnything"}]}}}"#;
/// let policy = Policy::parse(text.as_bytes(), "policy.json".as_ref())?;
/// assert!(policy.check(&Subject::registry("r.example/team/app:v1")).is_ok());
/// let refused = policy.check(&Subject::registry("r.example/app:v1"));
/// assert!(matches!(refused, Err(Refusal::Rejected { .. })));
/// # Ok::<(), config::PolicyError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Policy {
    path: PathBuf,
    contents: Contents,
}

/// Why there is no policy to go by.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// The file is there, or was named, and cannot be read.
    #[error("read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The file is no policy. Nothing in it is passed over: what is not understood
    /// might have forbidden something.
    #[error("understand {}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where, and what was expected.
        source: serde_json::Error,
    },
}

/// Why an image is not to be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The policy says so.
    #[error("{image} is rejected by {} ({scope})", path.display())]
    Rejected {
        /// The image.
        image: String,
        /// The policy's file.
        path: PathBuf,
        /// The part of the policy that decides.
        scope: String,
    },
    /// The policy wants proof that this program cannot judge.
    #[error(
        "{} ({scope}) wants a signature of {image} ({requirement}), and reflayer does not verify \
         signatures: it is refused",
        path.display()
    )]
    Unverifiable {
        /// The image.
        image: String,
        /// The policy's file.
        path: PathBuf,
        /// The part of the policy that decides.
        scope: String,
        /// The requirement by its name in the file.
        requirement: &'static str,
    },
}

impl Policy {
    /// Reads the policy that podman 5.8.6 would go by: that of `explicit` alone, else
    /// the user's (below `~/.config`), else the system's; `None` if there is neither.
    ///
    /// Without any policy podman pulls nothing. What to do then is up to the caller.
    ///
    /// # Errors
    ///
    /// If a file is there, or was named, and cannot be read or understood.
    pub fn load(
        environment: &Environment,
        explicit: Option<&Path>,
    ) -> Result<Option<Self>, PolicyError> {
        if let Some(path) = explicit {
            let read = |source| PolicyError::Read { path: path.into(), source };
            return Self::parse(&std::fs::read(path).map_err(read)?, path).map(Some);
        }
        let user = environment.home_config().map(|home| home.join("containers/policy.json"));
        let system = environment.system("etc/containers/policy.json");
        for path in user.into_iter().chain([system]) {
            match std::fs::read(&path) {
                Ok(text) => return Self::parse(&text, &path).map(Some),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(PolicyError::Read { path, source }),
            }
        }
        Ok(None)
    }

    /// Takes the text of a policy that stands in `path`, which is for messages only.
    ///
    /// # Errors
    ///
    /// If it is no policy.
    pub fn parse(text: &[u8], path: &Path) -> Result<Self, PolicyError> {
        let contents = serde_json::from_slice(text)
            .map_err(|source| PolicyError::Json { path: path.into(), source })?;
        Ok(Self { path: path.into(), contents })
    }

    /// Whether an image may be taken.
    ///
    /// The requirements of the narrowest scope that fits decide, and all of them have
    /// to be met.
    ///
    /// # Errors
    ///
    /// If the image is rejected, or would need a signature: signatures are never
    /// verified here, and so never count as good.
    pub fn check(&self, subject: &Subject) -> Result<(), Refusal> {
        let (scope, requirements) = self.requirements(subject);
        for requirement in requirements {
            let (image, path, scope) = (subject.to_string(), self.path.clone(), scope.clone());
            match requirement {
                Requirement::InsecureAcceptAnything(_) => {}
                Requirement::Reject(_) => return Err(Refusal::Rejected { image, path, scope }),
                signed => {
                    let requirement = signed.name();
                    return Err(Refusal::Unverifiable { image, path, scope, requirement });
                }
            }
        }
        Ok(())
    }

    fn requirements(&self, subject: &Subject) -> (String, &[Requirement]) {
        let transport = self.contents.transport(subject.transport());
        let found = subject.scopes().into_iter().find_map(|scope| {
            let requirements: &[Requirement] = transport?.get(&scope)?;
            Some((format!("{} {scope:?}", subject.transport()), requirements))
        });
        found.unwrap_or_else(|| ("default".into(), &self.contents.default))
    }
}
