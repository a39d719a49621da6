//! The exact tar of a layer.

use std::io::Write;

use serde::Serialize;
use storage_core::{DiffId, FsError, LayerId, LayerRecord, RecordError};
use tarball::RebuildError;

use crate::Store;
use crate::layer_tar::{LayerTar, RebuiltTar};
use crate::names::{self, LookupError};

/// A layer whose tar was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ExportedLayer {
    /// The layer.
    pub layer: LayerId,
    /// Digest of the tar stream, computed while it was written.
    pub diff_id: DiffId,
    /// Length of the tar stream in bytes.
    pub size: u64,
}

/// Why the tar of a layer was not written, or is not to be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// No single layer is meant.
    #[error("find the layer")]
    Lookup(#[from] LookupError),
    /// The records could not be read.
    #[error("read the records of the store")]
    Record(#[from] RecordError),
    /// Its tree is not there.
    #[error("open the tree of layer {layer}")]
    Tree {
        /// The layer.
        layer: LayerId,
        /// The kernel's reason.
        source: FsError,
    },
    /// Nothing says how its tar was: it was built by hand, or a name stands twice in it.
    #[error("layer {0} has no tar-split, so its tar cannot be rebuilt")]
    NoTarSplit(LayerId),
    /// It is still being made, or was left half made.
    #[error("layer {0} is half made")]
    Incomplete(LayerId),
    /// Somebody removed it meanwhile.
    #[error("layer {0} was removed while it was read")]
    Removed(LayerId),
    /// A file is missing, unreadable or changed; or the output failed.
    #[error("rebuild the tar of layer {layer}")]
    Rebuild {
        /// The layer.
        layer: LayerId,
        /// Which file, and why.
        source: RebuildError,
    },
    /// The stream is complete, and is not the layer.
    #[error("layer {layer} has changed: its tar has digest {actual}, it should be {expected}")]
    Changed {
        /// The layer.
        layer: LayerId,
        /// What the layer's record or the image's config says.
        expected: DiffId,
        /// What its files give.
        actual: DiffId,
    },
}

impl ExportError {
    /// Whether it is what somebody meets whose layer is removed meanwhile.
    fn is_of_a_removal(&self) -> bool {
        match self {
            Self::Tree { .. } | Self::NoTarSplit(_) => true,
            Self::Rebuild { source, .. } => {
                matches!(source, RebuildError::File { .. } | RebuildError::Changed { .. })
            }
            _ => false,
        }
    }
}

impl Store {
    /// Writes the exact tar of a layer: what it was made of, byte for byte.
    ///
    /// `layer` is its id, a unique prefix of it, or a `DiffID`, with `sha256:` or
    /// without; a layer of an additional store is meant where this one has none that
    /// fits. Who pulled the layer, and how, makes no difference. No lock is held while
    /// the stream is written.
    ///
    /// # Errors
    ///
    /// As [`ExportError`] says. What was written then is to be thrown away: that the
    /// digest is right is known only at the end.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use reflayer::Store;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let store = Store::open("/root".as_ref(), "/run".as_ref())?;
    /// let mut tar = Vec::new();
    /// let exported = store.export("5f70bf18a086", &mut tar)?;
    /// assert_eq!(exported.size, tar.len() as u64);
    /// # Ok(())
    /// # }
    /// ```
    pub fn export(&self, layer: &str, out: impl Write) -> Result<ExportedLayer, ExportError> {
        let own = self.layers.read()?.records().to_vec();
        let others = self.elsewhere(&own, &[]).layers;
        let record = names::find_layer_in(&own, &others, layer)?;
        let RebuiltTar { diff_id, size } = self.rebuild_tar(record, record.diff_digest, out)?;
        Ok(ExportedLayer { layer: record.id.clone(), diff_id, size })
    }

    /// Writes the tar of a layer, and fails at the end if it is not the expected one.
    pub(crate) fn rebuild_tar(
        &self,
        record: &LayerRecord,
        expected: Option<DiffId>,
        out: impl Write,
    ) -> Result<RebuiltTar, ExportError> {
        let layer = || record.id.clone();
        let rebuilt = self.open_tar(record).and_then(|tar| {
            tar.write(out).map_err(|source| ExportError::Rebuild { layer: layer(), source })
        });
        let rebuilt = match rebuilt {
            // That something is missing says little where all of it is.
            Err(error) if error.is_of_a_removal() && self.holder(&record.id)?.is_none() => {
                return Err(ExportError::Removed(layer()));
            }
            rebuilt => rebuilt?,
        };
        match expected.filter(|expected| *expected != rebuilt.diff_id) {
            None => Ok(rebuilt),
            Some(expected) => {
                let actual = rebuilt.diff_id;
                Err(ExportError::Changed { layer: layer(), expected, actual })
            }
        }
    }

    fn open_tar(&self, record: &LayerRecord) -> Result<LayerTar, ExportError> {
        let layer = || record.id.clone();
        if record.is_incomplete() {
            return Err(ExportError::Incomplete(layer()));
        }
        let holder = self.holder(&record.id)?.ok_or_else(|| ExportError::Removed(layer()))?;
        let tar_split = self.open_source_tar_split(&holder)?;
        let tar_split = tar_split.ok_or_else(|| ExportError::NoTarSplit(layer()))?;
        let tree = self.open_source_tree(&holder);
        let tree = tree.map_err(|source| ExportError::Tree { layer: layer(), source })?;
        Ok(LayerTar::new(tree, tar_split))
    }
}
