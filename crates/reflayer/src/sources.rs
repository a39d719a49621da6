//! Other stores beside the store, and the layers of all of them that a pull or an export
//! may read: the store's own first. The others are read in place and never changed.

use std::collections::HashSet;
use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use overlay_driver::LayerTrees;
use rustix::fs::{Mode, OFlags, fstat, open};
use storage_core::{FsError, FsResultExt as _, LayerId, LayerRecord, RecordError};
use storage_core::{ImageRecord, ImageStore, LayerStore};

use crate::Store;

/// Another store, perhaps on a read-only filesystem.
#[derive(Debug)]
pub(crate) struct AdditionalStore {
    pub(crate) path: PathBuf,
    pub(crate) layers: LayerStore,
    pub(crate) images: ImageStore,
    pub(crate) trees: Arc<LayerTrees>,
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
            images: ImageStore::open_read_only(&root)?,
            trees: Arc::new(LayerTrees::open(&root)?),
        };
        Ok((store, root))
    }

    /// Its layers that are whole and may be used, and its images; none if it cannot be
    /// read, with a warning.
    fn records(&self) -> (Vec<LayerRecord>, Vec<ImageRecord>) {
        let read = || -> Result<_, RecordError> {
            let layers = self.layers.read()?;
            let images = self.images.read()?;
            let whole = layers.records().iter().filter(|layer| !layer.is_incomplete());
            let whole = whole.filter(|layer| self.trees.has(&layer.id));
            Ok((whole.cloned().collect(), images.records().to_vec()))
        };
        read().unwrap_or_else(|error| {
            warn(&self.path, &error);
            (Vec::new(), Vec::new())
        })
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

/// What the additional stores have and the store itself has not.
#[derive(Debug, Default)]
pub(crate) struct Elsewhere {
    /// Whole layers, each once.
    pub(crate) layers: Vec<LayerRecord>,
    /// Images, each once, with the path of the store that has it.
    pub(crate) images: Vec<(ImageRecord, PathBuf)>,
}

impl Elsewhere {
    pub(crate) fn has(&self, id: &LayerId) -> bool {
        self.layers.iter().any(|layer| layer.id == *id)
    }

    /// Says of layers that are present where they are, if that is not the store itself.
    pub(crate) fn explain<'r>(&self, reasons: impl Iterator<Item = (&'r LayerId, &'r mut String)>) {
        for (id, reason) in reasons {
            if self.has(id) {
                *reason = "in an additional store".into();
            }
        }
    }
}

/// A layer that may be read, and the store that has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SourceLayer {
    pub(crate) id: LayerId,
    /// Number of the additional store; `None` for the store that is pulled into.
    additional: Option<usize>,
}

impl Store {
    /// What the additional stores add to these records of the store's own.
    ///
    /// A name that the store or an earlier one has is taken from the later ones.
    pub(crate) fn elsewhere(&self, layers: &[LayerRecord], images: &[ImageRecord]) -> Elsewhere {
        let mut elsewhere = Elsewhere::default();
        if self.additional.is_empty() {
            return elsewhere;
        }
        let mut known: HashSet<_> = layers.iter().map(|layer| layer.id.clone()).collect();
        let mut known_images: HashSet<_> = images.iter().map(|image| image.id.clone()).collect();
        let mut names: HashSet<_> = images.iter().flat_map(|image| image.names.clone()).collect();
        for store in &self.additional {
            let (layers, images) = store.records();
            elsewhere.layers.extend(layers.into_iter().filter(|l| known.insert(l.id.clone())));
            for mut image in images {
                if known_images.insert(image.id.clone()) {
                    image.names.retain(|name| names.insert(name.clone()));
                    elsewhere.images.push((image, store.path.clone()));
                }
            }
        }
        elsewhere
    }

    /// The layers that only additional stores have.
    pub(crate) fn only_elsewhere(&self) -> Result<Elsewhere, RecordError> {
        if self.additional.is_empty() {
            return Ok(Elsewhere::default());
        }
        let layers = self.layers.read()?.records().to_vec();
        Ok(self.elsewhere(&layers, &[]))
    }

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
        let mut known = HashSet::new();
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
        self.records_of(layer).peek_big_data(&layer.id, key)
    }

    /// Who has a layer: the store itself, or else the first other one that has it whole.
    pub(crate) fn holder(&self, id: &LayerId) -> Result<Option<SourceLayer>, RecordError> {
        let found = |additional| SourceLayer { id: id.clone(), additional };
        if self.layers.read()?.get(id).is_some() {
            return Ok(Some(found(None)));
        }
        let has = |store: &AdditionalStore| store.records().0.iter().any(|layer| layer.id == *id);
        Ok(self.additional.iter().position(has).map(|number| found(Some(number))))
    }

    /// Opens the tar-split of a layer, without a lock; `None` if there is none any more.
    pub(crate) fn open_source_tar_split(
        &self,
        layer: &SourceLayer,
    ) -> Result<Option<File>, RecordError> {
        self.records_of(layer).peek_tar_split(&layer.id)
    }

    fn records_of(&self, layer: &SourceLayer) -> &LayerStore {
        layer.additional.map_or(&self.layers, |number| &self.additional[number].layers)
    }

    /// Opens the root of a layer's tree.
    pub(crate) fn open_source_tree(&self, layer: &SourceLayer) -> Result<OwnedFd, FsError> {
        match layer.additional {
            None => self.driver.diff(&layer.id),
            Some(number) => self.additional[number].trees.diff(&layer.id),
        }
    }
}
