//! One layer of a pull: what is wanted, and what came.

use std::collections::BTreeSet;

use chunked::{ProveError, ScanError};
use overlay_driver::FilledLayer;
use storage_core::{BlobDigest, FsError, LayerId, TocDigest};
use tarball::TarError;
use transport::{Compression, LayerDescriptor, TransportError};

use crate::report::LayerReport;
use crate::unpack::UnpackError;

/// A layer that the image needs, and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct WantedLayer {
    pub(crate) blob: LayerDescriptor,
    pub(crate) id: LayerId,
    pub(crate) parent: Option<LayerId>,
}

impl WantedLayer {
    /// All layers of an image, base first.
    pub(crate) fn all(blobs: &[LayerDescriptor]) -> Vec<Self> {
        let mut parent: Option<LayerId> = None;
        let chain = blobs.iter().map(|blob| {
            let id = LayerId::of_chain(parent.as_ref(), &blob.diff_id);
            let wanted = Self { blob: blob.clone(), id: id.clone(), parent: parent.take() };
            parent = Some(id);
            wanted
        });
        chain.collect()
    }
}

/// A layer that is complete and proved, in its staging directory.
#[derive(Debug)]
pub(crate) struct FetchedLayer {
    pub(crate) layer: FilledLayer,
    pub(crate) facts: LayerFacts,
    pub(crate) report: LayerReport,
}

/// What a layer's record says beside its names.
#[derive(Debug, Clone)]
pub(crate) struct LayerFacts {
    pub(crate) origin: Origin,
    pub(crate) diff_size: u64,
    pub(crate) uids: BTreeSet<u32>,
    pub(crate) gids: BTreeSet<u32>,
    /// Whether the tar can be rebuilt from the tree.
    pub(crate) has_tar_split: bool,
}

/// How a layer came, as far as its record tells.
#[derive(Debug, Clone)]
pub(crate) enum Origin {
    /// By its TOC, which is kept.
    Toc(TocDigest),
    /// Whole.
    Blob { digest: BlobDigest, size: u64, compression: Compression },
}

/// Why a layer did not come.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayerError {
    /// Its place in the store could not be prepared.
    #[error("stage the layer")]
    Stage(#[from] FsError),
    /// Its blob cannot be had.
    #[error("reach the blob")]
    Source(#[from] TransportError),
    /// Its TOC could not be fetched or kept.
    #[error("read the layer's TOC")]
    Scan(#[from] ScanError),
    /// Its files could not be put in their places, or what was fetched is not what the
    /// TOC promised.
    #[error("make the layer's files")]
    Apply(#[from] chunked::ApplyError),
    /// The layer is not the one that the image's config names.
    #[error("prove the layer")]
    Prove(#[from] ProveError),
    /// The whole blob could not be unpacked.
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    /// It is there and damaged, and could not be mended.
    #[error("mend its damaged files")]
    Mend(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It needs more memory than the pull may take.
    #[error("the layer needs more than the {budget} bytes of memory that are allowed")]
    Memory {
        /// What is allowed.
        budget: u64,
        /// What there was too much of.
        source: Box<LayerError>,
    },
    /// A thread of the pull died.
    #[error("a thread of the pull died")]
    Died,
}

impl LayerError {
    /// Whether there are more entries, or longer windows, than the limits allow.
    pub(crate) fn is_lack_of_memory(&self) -> bool {
        let is_window = |error: &std::io::Error| error.kind() == std::io::ErrorKind::OutOfMemory;
        match self {
            Self::Unpack(UnpackError::Blob(error)) => is_window(error),
            Self::Unpack(UnpackError::Tar(TarError::Read { source, .. })) => is_window(source),
            Self::Unpack(UnpackError::Tar(error)) => {
                matches!(error, TarError::TooManyEntries { .. })
            }
            _ => false,
        }
    }

    /// Whether only the TOC, the tar-split or the annotations lie, or lack
    /// something: then the blob, taken whole, may still be good.
    pub(crate) fn is_lie_of_the_toc(&self) -> bool {
        match self {
            Self::Scan(error) => error.is_lie_of_the_toc(),
            Self::Apply(error) => error.is_lie_of_the_toc(),
            Self::Prove(error) => error.is_lie_of_the_toc(),
            _ => false,
        }
    }
}

/// An error and all its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
