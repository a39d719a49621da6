//! A configuration file that cannot be used.

use std::io;
use std::path::PathBuf;

/// Why a configuration file was not understood.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file is there and cannot be read.
    #[error("read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The file is not what its name says.
    #[error("understand {}", path.display())]
    Toml {
        /// The file.
        path: PathBuf,
        /// Where, and what was expected.
        source: Box<toml::de::Error>,
    },
    /// Nothing says where the store is.
    #[error("find the store: neither a configuration file nor a home directory names one")]
    NoHome,
}
