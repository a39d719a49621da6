//! The driver's directory, opened.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use storage_core::{FsError, LayerId};

use crate::dir::Dir;
use crate::layout::{self, DIFF};
use crate::link::LinkId;
use crate::lower;
use crate::trees::LayerTrees;

/// The layer directories of one store: `overlay/` below its graph root.
///
/// A handle, cheap to clone and free to be shared between threads. It takes no
/// lock of the store: what must happen under the store's layers lock says so.
#[derive(Debug, Clone)]
pub struct Driver {
    pub(crate) home: Arc<Home>,
}

/// The directories that every part of the driver works in.
#[derive(Debug)]
pub(crate) struct Home {
    /// The graph root.
    root: Dir,
    /// `overlay/`
    pub(crate) dir: Dir,
    /// `overlay/l/`
    pub(crate) links: Dir,
    /// Where else layers may be that this store's layers stand on.
    pub(crate) others: Vec<Arc<LayerTrees>>,
}

/// The directory of a layer, wherever it is.
pub(crate) struct Found {
    pub(crate) dir: Dir,
    /// The store that it is in, if it is another one.
    pub(crate) elsewhere: Option<Arc<LayerTrees>>,
}

impl Home {
    /// `overlay/staging/`, made if it is missing.
    pub(crate) fn staging(&self) -> Result<Dir, FsError> {
        self.dir.ensure(layout::STAGING, layout::PRIVATE_MODE)
    }

    /// `overlay/tempdirs/`, made if it is missing.
    pub(crate) fn temp_dirs(&self) -> Result<Dir, FsError> {
        self.dir.ensure(layout::TEMP_DIRS, layout::PRIVATE_MODE)
    }

    /// The directory of a layer of this store.
    pub(crate) fn layer(&self, id: &LayerId) -> Result<Dir, FsError> {
        self.dir.open(id.as_str())
    }

    /// The directory of a layer of this store, or else of the first other that has it.
    pub(crate) fn find(&self, id: &LayerId) -> Result<Option<Found>, FsError> {
        if let Some(dir) = self.dir.open_if_there(id.as_str())? {
            return Ok(Some(Found { dir, elsewhere: None }));
        }
        for other in &self.others {
            if let Some(dir) = other.layer_if_there(id)? {
                return Ok(Some(Found { dir, elsewhere: Some(Arc::clone(other)) }));
            }
        }
        Ok(None)
    }

    /// The same for a layer that has to be somewhere.
    pub(crate) fn expect(&self, id: &LayerId) -> Result<Found, FsError> {
        // What this store says of a missing one names the usual place.
        let missing = || Ok(Found { dir: self.layer(id)?, elsewhere: None });
        self.find(id)?.map_or_else(missing, Ok)
    }

    /// The layer that a short link of this store or of another leads to.
    pub(crate) fn layer_of_link(&self, link: &LinkId) -> Result<Option<LayerId>, FsError> {
        let links = self.others.iter().filter_map(|other| other.links());
        for links in std::iter::once(&self.links).chain(links) {
            let target = links.read_link(link.as_str())?;
            if let Some(id) = target.as_deref().and_then(layout::layer_of_link_target) {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }
}

impl Driver {
    /// Opens `overlay/` below the graph root `root`, and makes what is missing of it.
    ///
    /// # Errors
    ///
    /// If the directories can be neither opened nor made.
    pub fn open(root: impl AsFd) -> Result<Self, FsError> {
        let root = Dir::duplicate(root, "")?;
        let dir = root.ensure(layout::HOME, layout::HOME_MODE)?;
        let links = dir.ensure(layout::LINKS, layout::LINKS_MODE)?;
        Ok(Self { home: Arc::new(Home { root, dir, links, others: Vec::new() }) })
    }

    /// The same driver, for a store whose layers may stand on layers of these others,
    /// which are never changed.
    ///
    /// # Errors
    ///
    /// If there are no more file descriptors.
    pub fn beside(&self, others: Vec<Arc<LayerTrees>>) -> Result<Self, FsError> {
        let dir = Dir::duplicate(&self.home.dir, layout::HOME)?;
        let links = Dir::duplicate(&self.home.links, self.home.dir.shown(layout::LINKS))?;
        let root = Dir::duplicate(&self.home.root, "")?;
        Ok(Self { home: Arc::new(Home { root, dir, links, others }) })
    }

    /// The same driver with its directory opened again.
    ///
    /// podman mounts `overlay/` on itself when it starts, and takes that mount away when it
    /// ends. A handle of such a mount goes on to give files, but none that can be mounted.
    pub(crate) fn reopened(&self) -> Result<Self, FsError> {
        Self::open(&self.home.root)?.beside(self.home.others.clone())
    }

    /// Whether its directory is still the one that its path leads to, mounts included.
    pub(crate) fn is_current(&self) -> Result<bool, FsError> {
        let now = self.home.root.open(layout::HOME)?;
        Ok(self.home.dir.mount_id()? == now.mount_id()?)
    }

    /// The layers that have a directory, in the order of their ids.
    ///
    /// Not all of them need have a record: see the store above.
    ///
    /// # Errors
    ///
    /// If `overlay/` cannot be listed.
    pub fn layer_dirs(&self) -> Result<Vec<LayerId>, FsError> {
        Ok(self.home.dir.names()?.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// Whether a layer has a directory, whatever is in it.
    ///
    /// # Errors
    ///
    /// If that cannot be told.
    pub fn has(&self, id: &LayerId) -> Result<bool, FsError> {
        self.home.dir.has(id.as_str())
    }

    /// Opens the root of a layer's tree.
    ///
    /// The handle outlives the layer: of one that is removed meanwhile it shows
    /// what is not deleted yet.
    ///
    /// # Errors
    ///
    /// If the layer has no directory, or it cannot be opened.
    pub fn diff(&self, id: &LayerId) -> Result<OwnedFd, FsError> {
        Ok(self.home.expect(id)?.dir.open(DIFF)?.into_fd())
    }

    /// The layers below a layer, the nearest first.
    ///
    /// # Errors
    ///
    /// If the layer has no directory, or the files in it that tell are damaged.
    pub fn lowers(&self, id: &LayerId) -> Result<Vec<LayerId>, FsError> {
        lower::read_ids(&self.home.expect(id)?.dir, &self.home)
    }

    /// Makes the renames of all commits and removals so far durable.
    ///
    /// Everything inside a committed layer's directory is on disk before the
    /// directory gets its name; this flushes the names: first `overlay/l/`, then
    /// `overlay/`, so that a layer that is there has its short link. Call it
    /// once after a batch and before a record says that its layers are complete.
    ///
    /// # Errors
    ///
    /// If a flush fails. What reached the disk is then unknown.
    pub fn sync_dirs(&self) -> Result<(), FsError> {
        self.home.links.sync()?;
        self.home.dir.sync()
    }
}
