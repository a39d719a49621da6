//! The configuration files of the containers world, found and merged as podman does.
//!
//! Knows storage.conf, registries.conf, policy.json, auth.json, certs.d and the variables
//! for proxies; does not know what is done with them. Nothing here reads an environment variable on its own: what
//! may be read is handed in as an [`Environment`].
//!
//! ```
//! use config::{Environment, StorageConfig};
//!
//! let environment = Environment::for_tests("/home/ada", 1000);
//! let storage = StorageConfig::load(&environment)?;
//! assert_eq!(storage.graph_root.as_path(), "/home/ada/.local/share/containers/storage");
//! # Ok::<(), config::ConfigError>(())
//! ```

mod auth;
mod certificates;
mod environment;
mod error;
mod files;
mod policy;
mod proxy;
mod registries;
mod storage;

pub use auth::{AuthError, AuthFiles, Login, Logins};
pub use certificates::{CertificateDirs, CertificatesError, HostCertificates};
pub use environment::Environment;
pub use error::ConfigError;
pub use policy::{Policy, PolicyError, Refusal, Subject};
pub use proxy::ProxyVariables;
pub use registries::ShortNameError;
pub use registries::{BlockedError, Endpoint, Mirror, PullFrom, RegistriesConfig, Registry};
pub use storage::{DriverOptions, PullOptions, StorageConfig};
