//! The names that make a layer visible, in their order.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use storage_core::{Durability, FsError, LayerId};

use crate::below::Below;
use crate::dir::Dir;
use crate::driver::Driver;
use crate::layout::{self, DIFF, DIFF_MODE, MAX_LOWERS, SLOT_ASIDE, SLOT_LAYER};
use crate::seal::SealedLayer;
use crate::slot::Slot;

/// Why a sealed layer did not become a committed one.
///
/// The layer comes back inside, still sealed, so the caller can retry under
/// another id or discard it on purpose.
#[derive(Debug, thiserror::Error)]
#[error("commit layer {id}")]
pub struct CommitError {
    /// Where it should have gone.
    pub id: LayerId,
    /// The layer, as it was.
    pub layer: SealedLayer,
    /// What was in the way.
    #[source]
    pub reason: CommitReason,
}

/// What was in the way of a commit.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitReason {
    /// There is a directory of that layer: another commit's, or what a dead one left.
    #[error("the layer has a directory already")]
    AlreadyExists,
    /// The parent has no directory.
    #[error("its parent {0} has no directory")]
    ParentMissing(LayerId),
    /// More layers below it than overlayfs can stack.
    #[error("{0} layers would lie below it, more than {MAX_LOWERS}")]
    TooDeep(usize),
    /// The kernel refused something.
    #[error(transparent)]
    Fs(#[from] FsError),
}

/// What is left of a committed layer's slot: the files kept beside the tree.
///
/// Move them to their places, then drop this: it removes the rest. Drop is best
/// effort and silent; [`Aside::discard`] reports errors; what a killed process
/// leaves is found by [`Driver::recover`].
#[derive(Debug)]
#[must_use = "dropping it deletes what was kept beside the layer"]
pub struct Aside {
    slot: Slot,
    fd: OwnedFd,
}

impl AsFd for Aside {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Aside {
    /// Removes it.
    ///
    /// # Errors
    ///
    /// If something of it cannot be removed; [`Driver::recover`] tries again.
    pub fn discard(self) -> Result<(), FsError> {
        self.slot.discard()
    }
}

impl Driver {
    /// Gives a layer its place on top of `parent`.
    ///
    /// Call it under the store's layers lock, with the layer's record on disk and
    /// marked incomplete; an old directory of the same id must have been removed
    /// (see [`Driver::remove`]). It is quick: what was told by
    /// [`set_place`](crate::StagedLayer::set_place) has been written and flushed
    /// by [`Driver::seal`], anything else is now. Then come two changes, in this order:
    ///
    /// 1. the short link `l/<link>`, which leads nowhere yet;
    /// 2. the rename of the layer's directory to `<id>`.
    ///
    /// A process killed before the second leaves a slot, from which
    /// [`Driver::recover`] also knows the short link; after it, the layer is whole.
    /// Both names are durable only after [`Driver::sync_dirs`].
    ///
    /// # Errors
    ///
    /// If something is in the way. The layer comes back in the error, and nothing
    /// of it is visible.
    pub fn commit(
        &self,
        layer: SealedLayer,
        id: &LayerId,
        parent: Option<&LayerId>,
    ) -> Result<Aside, Box<CommitError>> {
        let mut layer = layer;
        match self.place(&mut layer, id, parent) {
            Ok(fd) => Ok(Aside { slot: layer.slot, fd }),
            Err(reason) => Err(Box::new(CommitError { id: id.clone(), layer, reason })),
        }
    }

    fn place(
        &self,
        layer: &mut SealedLayer,
        id: &LayerId,
        parent: Option<&LayerId>,
    ) -> Result<OwnedFd, CommitReason> {
        if self.home.dir.has(id.as_str())? {
            return Err(CommitReason::AlreadyExists);
        }
        let (below, inherited_mode) = self.below(parent)?;
        let slot = layer.slot.dir()?;
        // Opened now, so that nothing can fail once the layer is visible.
        let aside = slot.open(SLOT_ASIDE)?.into_fd();
        complete(layer, &slot.open(SLOT_LAYER)?, below, inherited_mode)?;
        self.name(layer, &slot, id)?;
        Ok(aside)
    }

    fn below(&self, parent: Option<&LayerId>) -> Result<(Below, u32), CommitReason> {
        let Some(parent) = parent else { return Ok((Below::Nothing, DIFF_MODE)) };
        let (below, mode) = Below::of_parent(&self.home, parent)?
            .ok_or_else(|| CommitReason::ParentMissing(parent.clone()))?;
        match below.lowers().count() {
            ..=MAX_LOWERS => Ok((below, mode)),
            count => Err(CommitReason::TooDeep(count)),
        }
    }

    fn name(&self, layer: &SealedLayer, slot: &Dir, id: &LayerId) -> Result<(), CommitReason> {
        let link = layer.link.as_str();
        self.home.links.symlink(&layout::link_target(id), link)?;
        slot.rename(SLOT_LAYER, &self.home.dir, id.as_str()).map_err(|error| {
            // The first failure is the one to report; the slot's removal tries again.
            drop(self.home.links.unlink(link));
            match error.kind() {
                io::ErrorKind::AlreadyExists => CommitReason::AlreadyExists,
                _ => CommitReason::Fs(error),
            }
        })
    }
}

/// Writes what the layer's directory still lacks, or has wrong, now that the parent is certain.
fn complete(
    layer: &mut SealedLayer,
    dir: &Dir,
    below: Below,
    inherited_mode: u32,
) -> Result<(), FsError> {
    let durable = layer.durability == Durability::Durable;
    if layer.written.as_ref() != Some(&below) {
        layer.written = None;
        below.write(dir, durable)?;
        if durable {
            dir.sync()?;
        }
        layer.written = Some(below);
    }
    let mode = layer.root_mode.unwrap_or(inherited_mode);
    if layer.mode != mode {
        let root = dir.open(DIFF)?;
        root.set_mode(mode)?;
        layer.mode = mode;
        if durable {
            root.sync()?;
        }
    }
    Ok(())
}
