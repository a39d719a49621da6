//! Layers in the making.

use std::os::fd::{AsFd, OwnedFd};

use storage_core::{Dirs, FsError, LayerId};

use crate::dir::Dir;
use crate::driver::Driver;
use crate::layout::{DIFF, PRIVATE_MODE, SLOT_ASIDE, SLOT_LAYER, SLOT_SCRATCH};
use crate::slot::Slot;

/// A layer being filled in; removed on drop.
///
/// It has a slot below `overlay/staging/` and holds its lock, so that other
/// tools leave it alone. Drop is best effort and silent; [`StagedLayer::discard`]
/// reports errors; what a killed process leaves is found by [`Driver::recover`].
#[derive(Debug)]
#[must_use = "dropping a staged layer deletes it"]
pub struct StagedLayer {
    slot: Slot,
    dest: OwnedFd,
    aside: OwnedFd,
    scratch: OwnedFd,
    root_mode: Option<u32>,
    place: Option<Place>,
}

/// A layer whose tree is complete; removed on drop, as a [`StagedLayer`] is.
///
/// It holds one descriptor, that of its lock, so that many layers can wait for
/// the one flush of [`Driver::seal`].
#[derive(Debug)]
#[must_use = "dropping a filled layer deletes it"]
pub struct FilledLayer {
    pub(crate) slot: Slot,
    pub(crate) root_mode: Option<u32>,
    pub(crate) place: Option<Place>,
}

/// Where a layer is to be committed, as far as anybody knows before it is.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) id: LayerId,
    pub(crate) parent: Option<LayerId>,
}

impl Driver {
    /// Makes room for a new layer.
    ///
    /// The directories that [`StagedLayer::dirs`] gives are empty and on one
    /// filesystem, and only their owner may enter. Takes no lock of the store.
    ///
    /// # Errors
    ///
    /// If a directory or the slot's lock cannot be made. Nothing is left then.
    pub fn stage(&self) -> Result<StagedLayer, FsError> {
        let (slot, [dest, aside, scratch]) = Slot::create(&self.home, |dir| {
            let layer = dir.make(SLOT_LAYER, PRIVATE_MODE)?;
            // The final mode, which may keep even its owner from writing, comes at the end.
            let dest = layer.make(DIFF, PRIVATE_MODE)?;
            let aside = dir.make(SLOT_ASIDE, PRIVATE_MODE)?;
            let scratch = dir.make(SLOT_SCRATCH, PRIVATE_MODE)?;
            Ok([dest, aside, scratch].map(Dir::into_fd))
        })?;
        Ok(StagedLayer { slot, dest, aside, scratch, root_mode: None, place: None })
    }
}

impl StagedLayer {
    /// Where the layer is to be built.
    pub fn dirs(&self) -> Dirs<'_> {
        Dirs { dest: self.dest.as_fd(), aside: self.aside.as_fd(), scratch: self.scratch.as_fd() }
    }

    /// Says which mode the layer's root has: for a layer with an entry `./`.
    ///
    /// Without it the root gets the mode of the parent's root, or 0555 if it has
    /// no parent. Until the layer is sealed the root can be written to by its
    /// owner, whatever this says.
    pub fn set_root_mode(&mut self, mode: u32) {
        self.root_mode = Some(mode & 0o7777);
    }

    /// Says where the layer will probably be committed.
    ///
    /// That lets [`Driver::seal`] prepare what [`Driver::commit`] would otherwise
    /// have to write and flush while a lock is held. The commit goes by what it
    /// is told itself.
    pub fn set_place(&mut self, id: &LayerId, parent: Option<&LayerId>) {
        self.place = Some(Place { id: id.clone(), parent: parent.cloned() });
    }

    /// Ends the filling: what is in scratch is removed, and the directories are closed.
    ///
    /// # Errors
    ///
    /// If scratch cannot be removed. The layer is gone then.
    pub fn finish(self) -> Result<FilledLayer, FsError> {
        self.slot.dir()?.remove_tree(SLOT_SCRATCH)?;
        Ok(FilledLayer { slot: self.slot, root_mode: self.root_mode, place: self.place })
    }

    /// Removes the layer.
    ///
    /// # Errors
    ///
    /// If something of it cannot be removed; [`Driver::recover`] tries again.
    pub fn discard(self) -> Result<(), FsError> {
        self.slot.discard()
    }
}

impl FilledLayer {
    /// Opens the root of the tree, for reading: others who want the same layer may use it as a source.
    ///
    /// # Errors
    ///
    /// If it cannot be opened.
    pub fn tree(&self) -> Result<OwnedFd, FsError> {
        Ok(self.slot.layer()?.open(DIFF)?.into_fd())
    }

    /// Opens what is kept beside the tree.
    ///
    /// # Errors
    ///
    /// If it cannot be opened.
    pub fn aside(&self) -> Result<OwnedFd, FsError> {
        Ok(self.slot.dir()?.open(SLOT_ASIDE)?.into_fd())
    }

    /// Removes the layer.
    ///
    /// # Errors
    ///
    /// If something of it cannot be removed; [`Driver::recover`] tries again.
    pub fn discard(self) -> Result<(), FsError> {
        self.slot.discard()
    }
}
