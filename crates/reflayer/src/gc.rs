//! Removing what nothing refers to and nobody is making.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use rustix::fs::{AtFlags, statat};
use rustix::io::Errno;
use serde::Serialize;
use storage_core::{FsError, LayerId};
use storage_core::{ImagesWrite, Layers, LayersWrite, RecordError};

use crate::Store;
use crate::check::lost_layers;
use crate::pull::{Removal, pull_is_alive, pull_of, remove_dead_blob_locks, remove_dead_marks};
use crate::remove::{RemoveError, in_use};

/// What was collected, or would be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Garbage {
    /// Staging and deletion directories of dead processes.
    pub dead_directories: usize,
    /// Layers that a dead process left half made.
    pub incomplete_layers: Vec<LayerId>,
    /// Layers with a record that nothing refers to.
    pub unreferenced_layers: Vec<LayerId>,
    /// Layer directories and data without a record.
    pub orphans: Vec<LayerId>,
}

/// What [`Store::collect_garbage`] may remove.
#[derive(Debug, Clone, Copy, Default)]
pub struct GarbageOptions {
    /// Unreferenced layers of other tools, too. They may belong to a pull that
    /// is still going on: podman records layers minutes before the image.
    pub all: bool,
    /// Only say what would be removed.
    pub dry_run: bool,
}

impl Store {
    /// Removes what dead processes left and what nothing refers to.
    ///
    /// Layers that stand under an image, a container or a mount, or that a
    /// living pull is making, are never touched. Where a container names a layer that has
    /// no record, [`GarbageOptions::all`] counts for nothing: its layer may be any.
    ///
    /// # Errors
    ///
    /// If the records cannot be read or written, or a directory cannot be moved. If
    /// something cannot be deleted, when all else is done.
    pub fn collect_garbage(&self, options: GarbageOptions) -> Result<Garbage, RemoveError> {
        // What cannot be deleted keeps nothing else from being collected.
        let recovered = if options.dry_run { Ok(0) } else { self.recover_dead() };
        let dead_directories = *recovered.as_ref().unwrap_or(&0);
        let mut garbage = Garbage { dead_directories, ..Garbage::default() };
        let mut removal = Removal::default();
        let mut layers = self.layers.write()?;
        let images = self.images.write()?;
        let containers = self.containers.hold()?;
        self.refuse_transient()?;
        if self.lacks_records(&layers)? {
            return Err(RemoveError::LostRecords(layers.file()));
        }
        garbage.incomplete_layers = layers.incomplete();
        if !options.dry_run {
            self.remove_incomplete(&mut layers, &mut removal)?;
        }
        let needed = in_use(&layers, &images, &containers, None)?;
        // Where a container's layer is not known, any that nothing refers to may be it.
        let lost = lost_layers(&containers, layers.records());
        if options.all && !lost.is_empty() {
            tracing::warn!(?lost, "containers name layers without a record: other ones are kept");
        }
        let all = options.all && lost.is_empty();
        garbage.orphans = self.orphans(&layers)?;
        garbage.orphans.retain(|id| !lost.contains(id) && !needed.contains(id));
        garbage.unreferenced_layers = self.unreferenced(&layers, needed, all)?;
        if !options.dry_run {
            self.remove_layers(&mut layers, &garbage.unreferenced_layers, &mut removal)?;
            for orphan in &garbage.orphans {
                removal.take(self, &layers, orphan)?;
            }
            self.driver.remove_dangling_links()?;
            layers.sweep()?;
            self.mounts.write(&layers)?.sweep()?;
            remove_orphaned_images(&images)?;
        }
        drop((containers, images, layers));
        recovered?;
        removal.delete()?;
        Ok(garbage)
    }

    /// Clears staging and deletion directories of dead processes away.
    pub(crate) fn recover_dead(&self) -> Result<usize, RecordError> {
        remove_dead_blob_locks(&self.run_root)?;
        remove_dead_marks(&self.run_root)?;
        let recovered = self.driver.recover()?;
        Ok(recovered.slots + recovered.temp_dirs + self.layers.recover()?)
    }

    /// Layers that are neither `needed` nor below one that is, nor mounted;
    /// without `all` only those of our own pulls that have died.
    fn unreferenced(
        &self,
        layers: &LayersWrite<'_>,
        mut needed: BTreeSet<LayerId>,
        all: bool,
    ) -> Result<Vec<LayerId>, RemoveError> {
        needed.extend(self.mounted(layers)?);
        for record in layers.records() {
            if !all && self.may_be_wanted(&record.metadata)? {
                needed.insert(record.id.clone());
            }
        }
        let needed = with_parents(needed, layers);
        let whole = layers.records().iter().filter(|record| !record.is_incomplete());
        let whole = whole.filter(|record| layers.is_with_images(record));
        let ids = whole.map(|record| record.id.clone());
        Ok(ids.filter(|id| !needed.contains(id)).collect())
    }

    /// Layers that a mount shows, in whatever mount namespace: one that we find in the
    /// tables of all processes, or one that another tool recorded and that is there.
    ///
    /// A record alone proves nothing: who wrote it may have died, and its mount with it.
    pub(crate) fn mounted(&self, layers: &Layers<'_>) -> Result<BTreeSet<LayerId>, RecordError> {
        let mut mounted = self.driver.layers_mounted_anywhere()?;
        let recorded = self.mounts.read(layers)?;
        let recorded = recorded.records().iter().filter(|mount| mount.count > 0);
        let unseen = recorded.filter(|mount| !mounted.contains(&mount.id));
        let unseen: BTreeMap<_, _> =
            unseen.map(|mount| (PathBuf::from(&mount.path), mount.id.clone())).collect();
        if !unseen.is_empty() {
            let found = overlay_driver::mounted_anywhere(&unseen.keys().cloned().collect())?;
            mounted.extend(found.iter().filter_map(|path| unseen.get(path)).cloned());
        }
        Ok(mounted)
    }

    /// The layers that a mount shows, with all below them.
    pub(crate) fn mounted_with_lowers(
        &self,
        layers: &Layers<'_>,
    ) -> Result<BTreeSet<LayerId>, RecordError> {
        Ok(with_parents(self.mounted(layers)?, layers))
    }

    /// Whether a layer with this `metadata` may still get an image.
    fn may_be_wanted(&self, metadata: &str) -> Result<bool, storage_core::FsError> {
        match pull_of(metadata) {
            Some(pull) => pull_is_alive(&self.run_root, pull),
            None => Ok(true),
        }
    }

    /// Ids that have a directory or data, and no record.
    ///
    /// A store whose containers are transient keeps records of layers in the run
    /// root, where they are not looked for: there nothing counts as an orphan.
    pub(crate) fn orphans(&self, layers: &Layers<'_>) -> Result<Vec<LayerId>, RecordError> {
        if self.has_transient_layers()? {
            return Ok(Vec::new());
        }
        let mut ids: BTreeSet<LayerId> = self.driver.layer_dirs()?.into_iter().collect();
        ids.extend(layers.orphans()?);
        ids.retain(|id| layers.get(id).is_none());
        // What is mounted is asked for only where it matters: it takes a look at all processes.
        let mounted = if ids.is_empty() { BTreeSet::new() } else { self.mounted(layers)? };
        Ok(ids.into_iter().filter(|id| !mounted.contains(id)).collect())
    }

    /// Refuses to remove anything where records that are not read may need it.
    pub(crate) fn refuse_transient(&self) -> Result<(), RemoveError> {
        if self.has_transient_layers()? { Err(RemoveError::Transient) } else { Ok(()) }
    }

    fn has_transient_layers(&self) -> Result<bool, FsError> {
        let path = "overlay-layers/volatile-layers.json";
        match statat(&self.run_root, path, AtFlags::empty()) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
            Err(error) => Err(FsError::new("look at", path, error)),
        }
    }
}

/// Removes documents of images that have no record.
pub(crate) fn remove_orphaned_images(images: &ImagesWrite<'_>) -> Result<(), RecordError> {
    for id in images.orphans()? {
        images.remove_orphan(&id)?;
    }
    images.sweep().map(drop)
}

/// The layers and all below them.
fn with_parents(ids: BTreeSet<LayerId>, layers: &Layers<'_>) -> BTreeSet<LayerId> {
    let mut all = BTreeSet::new();
    let mut open: Vec<LayerId> = ids.into_iter().collect();
    while let Some(id) = open.pop() {
        let parent = layers.get(&id).and_then(|record| record.parent.clone());
        if all.insert(id) {
            open.extend(parent);
        }
    }
    all
}
