//! Why something was not mounted.

use std::io;
use std::path::{Path, PathBuf};

use storage_core::{FsError, LayerId};

/// Why a layer was not mounted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MountError {
    /// The layer holds content-addressed files, of which an overlay alone makes no tree.
    #[error("layer {0} is a composefs layer")]
    Composefs(LayerId),
    /// This kernel takes all layers in one page of text, and they don't fit.
    #[error("{layers} layers are too many for one mount with this kernel")]
    TooManyLayers {
        /// How many there are.
        layers: usize,
    },
    /// The directories of a writable mount don't go together.
    #[error("{} cannot be the work directory of {}: {why}", work.display(), upper.display())]
    UnfitWork {
        /// Where changes should go.
        upper: PathBuf,
        /// The directory that doesn't fit.
        work: PathBuf,
        /// What overlayfs wants.
        why: &'static str,
    },
    /// The kernel refused the mount.
    #[error("mount overlay at {} ({})", target.display(), said(log))]
    Refused {
        /// The mount point.
        target: PathBuf,
        /// What the kernel said besides; may be empty.
        log: String,
        /// The reason.
        source: io::Error,
    },
    /// A layer or the mount point cannot be opened.
    #[error(transparent)]
    Fs(#[from] FsError),
}

impl MountError {
    pub(crate) fn refused(target: &Path, log: String, source: impl Into<io::Error>) -> Self {
        Self::Refused { target: target.to_owned(), log, source: source.into() }
    }
}

/// Overlayfs tells most of its reasons to the kernel's log alone.
fn said(log: &str) -> &str {
    if log.is_empty() { "the kernel's log may say why" } else { log }
}
