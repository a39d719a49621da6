//! Why something could not be mended; ends as text in the report.

use std::io;

use chunked::{ExtractError, IndexError, ScanError};
use storage_core::{DiffId, FsError, LayerPath, RecordError};
use tarball::TarError;
use transport::TransportError;
use tree::TreeError;

use crate::pull::{PublishError, PullError};

#[derive(Debug, thiserror::Error)]
pub(crate) enum MendError {
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error(transparent)]
    Fs(#[from] FsError),
    #[error(transparent)]
    Tree(#[from] TreeError),
    #[error(transparent)]
    Extract(#[from] ExtractError),
    #[error(transparent)]
    Index(#[from] IndexError),
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error(transparent)]
    Flush(FsError),
    #[error("reach the blob")]
    Transport(#[from] TransportError),
    #[error("read the layer's TOC")]
    Toc(#[from] ScanError),
    #[error("read the blob")]
    Blob(#[source] io::Error),
    #[error("read the layer's tar stream")]
    Tar(#[source] TarError),
    #[error("the blob's tar stream has digest {actual}, the layer's record says {expected}")]
    DiffId { expected: DiffId, actual: DiffId },
    #[error("its tar-split cannot be read: {0}")]
    TarSplit(String),
    #[error("it is mounted, or below a mount: unmount it first")]
    Mounted,
    #[error("it has no tar-split")]
    NoTarSplit,
    #[error("{0} is not what was pulled")]
    Changed(LayerPath),
    #[error("the image has no name to pull it by")]
    Nameless,
    #[error("pull it again")]
    Pull(#[source] Box<PullError>),
    #[error("the layer was removed meanwhile")]
    Gone,
    #[error("{0}")]
    Unreachable(String),
}

impl From<PullError> for MendError {
    fn from(error: PullError) -> Self {
        Self::Pull(Box::new(error))
    }
}
