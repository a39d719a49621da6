//! The layers that a pull may take from: those of the store, then those of
//! additional stores, which are read in place and never changed.

use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use overlay_driver::LayerTrees;
use rustix::fs::{Mode, OFlags, fstat, open};
use storage_core::{FsError, FsResultExt as _, LayerId, LayerRecord, LayerStore, RecordError};

use crate::Store;

/// Another store, perhaps on a read-only filesystem.
#[derive(Debug)]
pub(crate) struct AdditionalStore {
    path: PathBuf,
    layers: LayerStore,
    trees: LayerTrees,
}

/// Why an additional store gives nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AdditionalError {
    #[error(transparent)]
    Fs(#[from] FsError),
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl AdditionalStore {
    fn open(path: &Path) -> Result<(Self, OwnedFd), AdditionalError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = open(path, flags, Mode::empty()).during("open directory", path)?;
        let store = Self {
            path: path.into(),
            layers: LayerStore::open_read_only(&root)?,
            trees: LayerTrees::open(&root)?,
        };
        Ok((store, root))
    }

    /// Those of `paths` that can be opened and are not the store at `own` itself.
    ///
    /// They only save work, so that one that is missing or broken is a warning.
    pub(crate) fn open_all(paths: &[PathBuf], own: &OwnedFd) -> Vec<Self> {
        let place = |root: &OwnedFd| fstat(root.as_fd()).map(|stat| (stat.st_dev, stat.st_ino));
        let mut known = vec![place(own)];
        let mut stores = Vec::new();
        for path in paths {
            match Self::open(path) {
                Ok((_, root)) if known.contains(&place(&root)) => {}
                Ok((store, root)) => {
                    known.push(place(&root));
                    stores.push(store);
                }
                Err(error) => warn(path, &error),
            }
        }
        stores
    }
}

fn warn(path: &Path, error: &dyn std::error::Error) {
    let (store, error) = (path.display(), crate::pull::error_chain(error));
    tracing::warn!(%store, error, "nothing is taken from this additional store");
}

/// A layer that may be taken from, and the store that has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SourceLayer {
    pub(crate) id: LayerId,
    /// Number of the additional store; `None` for the store that is pulled into.
    additional: Option<usize>,
}

impl Store {
    /// All complete layers with big data under one of `keys`: the store's own
    /// first, then those of each additional store; in each the newest first.
    ///
    /// A layer that several stores have is listed once. A store that cannot be
    /// read gives none.
    pub(crate) fn source_layers(&self, keys: &[&str]) -> Vec<SourceLayer> {
        let own = [(None, self.root_path.as_path(), &self.layers)];
        let additional = self.additional.iter().enumerate();
        let additional =
            additional.map(|(number, store)| (Some(number), &*store.path, &store.layers));
        let mut found = Vec::new();
        let mut known = std::collections::HashSet::new();
        for (additional, path, store) in own.into_iter().chain(additional) {
            let layers = match store.read() {
                Ok(layers) => layers,
                Err(error) => {
                    warn(path, &error);
                    continue;
                }
            };
            let usable = |record: &&LayerRecord| {
                let mut names = record.big_data_names.iter();
                !record.is_incomplete() && names.any(|key| keys.contains(&key.as_str()))
            };
            for record in layers.records().iter().rev().filter(usable) {
                if known.insert(record.id.clone()) {
                    found.push(SourceLayer { id: record.id.clone(), additional });
                }
            }
        }
        found
    }

    /// Opens big data of a layer, without a lock; `None` if there is none any more.
    pub(crate) fn open_source_data(
        &self,
        layer: &SourceLayer,
        key: &str,
    ) -> Result<Option<File>, RecordError> {
        let store = layer.additional.map_or(&self.layers, |n| &self.additional[n].layers);
        store.peek_big_data(&layer.id, key)
    }

    /// Opens the root of a layer's tree.
    pub(crate) fn open_source_tree(&self, layer: &SourceLayer) -> Result<OwnedFd, FsError> {
        match layer.additional {
            None => self.driver.diff(&layer.id),
            Some(number) => self.additional[number].trees.diff(&layer.id),
        }
    }
}
