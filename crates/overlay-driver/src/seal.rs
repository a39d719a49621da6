//! Layers that are complete and on disk, and not yet visible.

use std::collections::HashMap;
use std::os::fd::OwnedFd;

use rustix::fs::syncfs;
use rustix::io::retry_on_intr;
use storage_core::{Durability, FsError, FsResultExt, LayerId};

use crate::below::Below;
use crate::driver::Driver;
use crate::layout::{
    DIFF, DIFF_MODE, FILE_MODE, HOME, LINK, MERGED, PRIVATE_MODE, SLOT_ASIDE, WORK,
};
use crate::link::LinkId;
use crate::slot::Slot;
use crate::stage::{FilledLayer, Place};

/// A layer that is complete and durable but not yet visible; removed on drop.
///
/// Drop is best effort and silent; [`SealedLayer::discard`] reports errors; what
/// a killed process leaves is found by [`Driver::recover`].
#[derive(Debug)]
#[must_use = "a sealed layer is invisible until committed, and dropping it deletes it"]
pub struct SealedLayer {
    pub(crate) slot: Slot,
    pub(crate) link: LinkId,
    /// The mode its own entries give to the root.
    pub(crate) root_mode: Option<u32>,
    /// The mode that the root has.
    pub(crate) mode: u32,
    /// What the layer's directory says of the layers below, if it says anything yet.
    pub(crate) written: Option<Below>,
    pub(crate) durability: Durability,
}

/// What the later layers of a batch must know of an earlier one.
struct Earlier {
    lowers_above: crate::lower::Lowers,
    root_mode: u32,
}

impl Driver {
    /// Flushes layers to disk and closes them to further writes.
    ///
    /// One flush of the whole filesystem for all of them: it takes as long as it
    /// takes, so hold no lock of the store. Afterwards each layer is durable but
    /// invisible, and [`Driver::commit`] is two names. Give parents before their
    /// children (see [`FilledLayer`] and `set_place`). With
    /// [`Durability::Volatile`] nothing is flushed, here or by the commit.
    ///
    /// # Errors
    ///
    /// If a layer's small files cannot be written, or the flush fails. What
    /// reached the disk is then unknown, so the layers are removed rather than
    /// returned.
    pub fn seal(
        &self,
        layers: Vec<FilledLayer>,
        durability: Durability,
    ) -> Result<Vec<SealedLayer>, FsError> {
        let mut earlier = HashMap::new();
        let sealed = layers
            .into_iter()
            .map(|layer| self.prepare(layer, durability, &mut earlier))
            .collect::<Result<Vec<_>, _>>()?;
        if durability == Durability::Durable && !sealed.is_empty() {
            self.flush()?;
        }
        Ok(sealed)
    }

    /// Makes all layers that are there by now durable, whoever made them.
    ///
    /// One flush of the whole filesystem, as [`Driver::seal`] makes: hold no lock of the store.
    ///
    /// # Errors
    ///
    /// If the flush fails. What reached the disk is then unknown.
    pub fn flush(&self) -> Result<(), FsError> {
        retry_on_intr(|| syncfs(&self.home.dir)).during("flush the filesystem of", HOME)
    }

    /// Makes all of a layer's directory that can be made without knowing its parent,
    /// and the rest if the parent is told.
    fn prepare(
        &self,
        layer: FilledLayer,
        durability: Durability,
        earlier: &mut HashMap<LayerId, Earlier>,
    ) -> Result<SealedLayer, FsError> {
        let FilledLayer { slot, root_mode, place } = layer;
        let dir = slot.layer()?;
        let link = LinkId::random()?;
        dir.write(LINK, link.as_str(), FILE_MODE, false)?;
        dir.make(WORK, PRIVATE_MODE)?;
        dir.make(MERGED, PRIVATE_MODE)?;
        let below = match &place {
            Some(place) => self.foresee(place, earlier)?,
            None => None,
        };
        let inherited = below.as_ref().map_or(DIFF_MODE, |(_, mode)| *mode);
        let mode = root_mode.unwrap_or(inherited);
        dir.open(DIFF)?.set_mode(mode)?;
        let written = below.map(|(below, _)| below);
        if let Some(below) = &written {
            below.write(&dir, false)?;
        }
        if let (Some(Place { id, .. }), Some(below)) = (place, &written) {
            let lowers_above = below.lowers().with(&id, &link);
            earlier.insert(id, Earlier { lowers_above, root_mode: mode });
        }
        Ok(SealedLayer { slot, link, root_mode, mode, written, durability })
    }

    /// What will lie below a layer at `place`, and its root's mode; `None` if that can't be known yet.
    fn foresee(
        &self,
        place: &Place,
        earlier: &HashMap<LayerId, Earlier>,
    ) -> Result<Option<(Below, u32)>, FsError> {
        let Some(parent) = &place.parent else { return Ok(Some((Below::Nothing, DIFF_MODE))) };
        if let Some(earlier) = earlier.get(parent) {
            return Ok(Some((Below::Layers(earlier.lowers_above.clone()), earlier.root_mode)));
        }
        Below::of_parent(&self.home, parent)
    }
}

impl SealedLayer {
    /// Opens what is kept beside the tree.
    ///
    /// # Errors
    ///
    /// If it cannot be opened.
    pub fn aside(&self) -> Result<OwnedFd, FsError> {
        Ok(self.slot.dir()?.open(SLOT_ASIDE)?.into_fd())
    }

    /// Opens the root of the tree, for reading.
    ///
    /// # Errors
    ///
    /// If it cannot be opened.
    pub fn tree(&self) -> Result<OwnedFd, FsError> {
        Ok(self.slot.layer()?.open(DIFF)?.into_fd())
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
