//! Taking a layer's directory away.

use std::path::PathBuf;
use std::sync::Arc;

use storage_core::{FsError, LayerId, TempDir};

use crate::driver::{Driver, Home};
use crate::fault::before_change;
use crate::layout;
use crate::lower;

/// Why a layer was not removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemoveError {
    /// A mount shows it.
    #[error("layer {id} is mounted at {}", at.display())]
    Mounted {
        /// The layer.
        id: LayerId,
        /// One of the mount points.
        at: PathBuf,
    },
    /// The kernel refused something.
    #[error(transparent)]
    Fs(#[from] FsError),
}

/// Layers that have lost their names and wait to be deleted.
///
/// Deleting takes long and needs no lock of the store: release it first. Drop is
/// best effort and silent; [`RemovedLayers::delete`] reports errors; what a
/// killed process leaves is found by [`Driver::recover`].
#[derive(Debug)]
#[must_use = "dropping it deletes the layers, which is slow: release the store's lock first"]
pub struct RemovedLayers {
    home: Arc<Home>,
    temp: TempDir,
}

impl Driver {
    /// Takes a layer's directory and its short link away, by renames.
    ///
    /// Call it under the store's layers lock, with the layer's record marked
    /// incomplete. A layer of which nothing is there is no error: the record of
    /// a killed commit may name one.
    ///
    /// # Errors
    ///
    /// If the layer is part of a mount that this process can see, or a rename fails.
    pub fn remove(&self, id: &LayerId) -> Result<RemovedLayers, RemoveError> {
        self.refuse_mounted(id)?;
        let temp_dirs = self.home.temp_dirs()?;
        before_change();
        let temp = TempDir::create(&temp_dirs).map_err(|error| temp_dirs.below(error))?;
        let mut removed = RemovedLayers { home: Arc::clone(&self.home), temp };
        removed.take(id)?;
        Ok(removed)
    }

    fn refuse_mounted(&self, id: &LayerId) -> Result<(), RemoveError> {
        match self.mounts_using()?.remove(id).and_then(|at| at.into_iter().next()) {
            Some(at) => Err(RemoveError::Mounted { id: id.clone(), at }),
            None => Ok(()),
        }
    }

    /// Removes short links that lead to no layer; tells how many.
    ///
    /// Call it under the store's layers lock. A killed commit leaves such a link;
    /// [`Driver::recover`] removes it with the commit's slot, unless another tool
    /// has taken the slot away before.
    ///
    /// # Errors
    ///
    /// If `overlay/l/` cannot be listed, or a link not be removed.
    pub fn remove_dangling_links(&self) -> Result<usize, FsError> {
        let Home { dir, links, .. } = &*self.home;
        let mut removed = 0;
        for name in links.names()? {
            let target = links.read_link(&name)?;
            let Some(id) = target.as_deref().and_then(layout::layer_of_link_target) else {
                continue;
            };
            if !dir.has(id.as_str())? {
                links.unlink(&name)?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}

impl RemovedLayers {
    /// Takes one more layer away, as [`Driver::remove`] does.
    ///
    /// # Errors
    ///
    /// Those of [`Driver::remove`].
    pub fn add(&mut self, id: &LayerId) -> Result<(), RemoveError> {
        Driver { home: Arc::clone(&self.home) }.refuse_mounted(id)?;
        Ok(self.take(id)?)
    }

    /// Deletes the layers.
    ///
    /// # Errors
    ///
    /// If something of them cannot be deleted; [`Driver::recover`] tries again.
    pub fn delete(self) -> Result<(), FsError> {
        let shown = self.home.dir.shown(layout::TEMP_DIRS);
        self.temp.delete().map_err(|error| FsError { path: shown.join(&error.path), ..error })
    }

    /// The link first: a directory without its link can be removed again, a link
    /// without its directory would be nobody's.
    fn take(&mut self, id: &LayerId) -> Result<(), FsError> {
        let Home { dir, links, .. } = &*self.home;
        let Some(layer) = dir.open_if_there(id.as_str())? else { return Ok(()) };
        // A damaged name must not keep the layer; its link is left to `remove_dangling_links`.
        if let Ok(Some(link)) = lower::read_link_name(&layer)
            && links.read_link(link.as_str())? == Some(layout::link_target(id))
        {
            before_change();
            self.temp.move_in(links, link.as_str()).map_err(|error| links.below(error))?;
        }
        before_change();
        self.temp.move_in(dir, id.as_str()).map_err(|error| dir.below(error))?;
        Ok(())
    }
}
