//! The configuration files of the containers world, found and merged as podman does.
//!
//! Knows storage.conf, registries.conf and auth.json; does not know what is
//! done with them. Nothing here reads an environment variable on its own: what
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
mod environment;
mod error;
mod registries;
mod storage;

pub use auth::{AuthError, AuthFiles, Login};
pub use environment::Environment;
pub use error::ConfigError;
pub use registries::{Endpoint, RegistriesConfig, Registry};
pub use storage::{PullOptions, StorageConfig};
