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
    /// The file is well-formed, and what it says makes no sense.
    #[error("understand {}: {reason}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A path that has to begin with a slash does not.
    #[error("storage.conf names {}, which is not an absolute path", .0.display())]
    Relative(PathBuf),
    /// The place of images is the store itself.
    #[error("storage.conf has {} as graphroot and as imagestore: they must differ", .0.display())]
    SameImageStore(PathBuf),
    /// Nothing says where the store is.
    #[error("find the store: neither a configuration file nor a home directory names one")]
    NoHome,
}
