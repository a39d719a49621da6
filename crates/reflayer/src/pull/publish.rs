//! The one locked section in which layers and image become visible.
//!
//! The order is what makes a kill or a power cut harmless at any point:
//!
//! 1. layer records marked incomplete, durable: whoever meets them removes the layer;
//! 2. the renames that take what is replaced away, and that put trees, links, tar-splits
//!    and big data in their places;
//! 3. those directories flushed;
//! 4. the image's documents;
//! 5. layer records without the mark, then the image record.
//!
//! Layers that were there already, and may have been made without a flush, are flushed
//! before, without a lock.

use std::collections::{BTreeMap, BTreeSet};

use chunked::aside;
use overlay_driver::{Aside, CommitError, RemovedLayers, SealedLayer};
use rustix::fs::{AtFlags, statat};
use rustix::io::Errno;
use storage_core::{Durability, FsError, FsResultExt as _, ImageId, LayerId, TempDir};
use storage_core::{ImagesWrite, LayerCompression, LayerRecord, LayersWrite, RecordError};
use transport::{Compression, ResolvedImage};

use super::damaged::Damaged;
use super::layer::{LayerFacts, Origin, WantedLayer};
use super::mark::PullMark;
use crate::Store;
use crate::candidates::Staged;
use crate::gc::remove_orphaned_images;
use crate::image_record;
use crate::remove::RemoveError;
use crate::sources::Elsewhere;

/// Big data of a layer that came by its TOC: the TOC, which lists its files with their digests.
pub(crate) const TOC_KEY: &str = "zstd-chunked-manifest";
/// The chunk index, by which those digests are looked up.
pub(crate) const INDEX_KEY: &str = "chunked-manifest-cache";
/// And how they are kept.
pub(crate) const FORMAT_KEY: &str = "zstd-chunked-layer-data";
/// A flag of a layer whose tar names something twice, so that it has no tar-split.
const REPEATED_FLAG: &str = "reflayer-repeated-names";
/// The file in `aside` that becomes the second.
pub(super) const FORMAT_FILE: &str = "format.json";
/// Its content for a layer whose files stand in a directory tree.
pub(crate) const FORMAT_DIRECTORY: &[u8] = br#"{"format":0}"#;

/// Why layers and image could not be recorded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// A record could not be read or written.
    #[error("write the records of the store")]
    Record(#[from] RecordError),
    /// A directory of a layer could not be put in its place.
    #[error(transparent)]
    Commit(#[from] Box<CommitError>),
    /// A directory could not be flushed.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// What a dead process left of a layer is in the way.
    #[error("clear away what is left of a layer")]
    Remove(#[from] overlay_driver::RemoveError),
}

/// Layers that are sealed, and the image that is to name them.
#[derive(Debug)]
pub(super) struct Publication<'a> {
    image: &'a ResolvedImage,
    name: &'a str,
    wanted: &'a [WantedLayer],
    metadata: String,
    durability: Durability,
    sealed: BTreeMap<usize, (SealedLayer, LayerFacts)>,
    gone: Option<LayerId>,
    /// Layers with a record that lack something.
    damaged: Damaged,
    /// Layers with a record that are known to be of no use.
    unusable: BTreeSet<LayerId>,
    /// Layers of others that were there when the filesystem was flushed.
    flushed: BTreeSet<LayerId>,
    /// Those that were not, and have to be before an image stands on them.
    unflushed: BTreeSet<LayerId>,
}

/// What became of a [`Publication`].
#[derive(Debug)]
pub(super) enum Outcome<'a> {
    /// Layers and image are in the store; these of the layers stayed damaged.
    Published { image: ImageId, kept: BTreeSet<LayerId> },
    /// A layer that was there has been removed; nothing was recorded.
    Gone(Publication<'a>),
}

impl<'a> Publication<'a> {
    pub(super) fn new(
        image: &'a ResolvedImage,
        name: &'a str,
        wanted: &'a [WantedLayer],
        mark: &PullMark,
        durability: Durability,
    ) -> Self {
        Self {
            image,
            name,
            wanted,
            metadata: mark.metadata(),
            durability,
            sealed: BTreeMap::new(),
            gone: None,
            damaged: Damaged::default(),
            unusable: BTreeSet::new(),
            flushed: BTreeSet::new(),
            unflushed: BTreeSet::new(),
        }
    }

    pub(super) fn add(&mut self, index: usize, layer: SealedLayer, facts: LayerFacts) {
        self.sealed.insert(index, (layer, facts));
    }

    pub(super) fn has(&self, index: usize) -> bool {
        self.sealed.contains_key(&index)
    }

    /// Notes layers that are there and have to be replaced.
    pub(super) fn note_unusable(&mut self, layers: BTreeSet<LayerId>) {
        self.unusable.extend(layers);
    }

    pub(super) fn unusable(&self) -> &BTreeSet<LayerId> {
        &self.unusable
    }

    /// Notes layers that were there before the last flush of the filesystem.
    pub(super) fn note_flushed(&mut self, layers: BTreeSet<LayerId>) {
        self.flushed.extend(layers);
    }

    /// The layers that are whole, base first.
    pub(super) fn staged(&self) -> Vec<Staged<'_>> {
        let id = |index: usize| &self.wanted[index].id;
        let sealed = self.sealed.iter();
        sealed.map(|(index, (layer, _))| Staged { id: Some(id(*index)), layer }).collect()
    }

    pub(super) fn durability(&self) -> Durability {
        self.durability
    }

    /// The layer that was last found to be missing.
    pub(super) fn missing(&self) -> Option<&LayerId> {
        self.gone.as_ref()
    }

    /// Forgets what the records have by now; those layers are deleted on drop.
    fn without_present(&mut self, layers: &LayersWrite<'_>) -> Vec<SealedLayer> {
        let present = |index: &usize| self.is_present(*index, layers);
        let indices: Vec<usize> = self.sealed.keys().copied().filter(present).collect();
        indices.iter().filter_map(|index| Some(self.sealed.remove(index)?.0)).collect()
    }

    /// The lowest layer that neither the records, nor those of additional stores, nor
    /// this publication have.
    fn lowest_missing(&self, layers: &LayersWrite<'_>, elsewhere: &Elsewhere) -> Option<usize> {
        let known = |i: usize| self.is_present(i, layers) || elsewhere.has(&self.wanted[i].id);
        let missing = |i: &usize| !self.has(*i) && !known(*i);
        (0..self.wanted.len()).find(missing)
    }

    /// The layers that are there and that a power cut may still empty. Those of additional
    /// stores are not ours to flush.
    fn at_risk(&self, layers: &LayersWrite<'_>) -> BTreeSet<LayerId> {
        if self.durability == Durability::Volatile {
            return BTreeSet::new();
        }
        let present = (0..self.wanted.len()).filter(|index| self.is_present(*index, layers));
        let ids = present.map(|index| &self.wanted[index].id);
        ids.filter(|id| !self.flushed.contains(id)).cloned().collect()
    }

    fn is_present(&self, index: usize, layers: &LayersWrite<'_>) -> bool {
        let id = &self.wanted[index].id;
        layers.get(id).is_some() && !self.damaged.replaced.contains(id)
    }
}

/// What is deleted once no lock is held any more.
#[derive(Debug, Default)]
struct Leftovers {
    sealed: Vec<SealedLayer>,
    removed: Removal,
    asides: Vec<Aside>,
    /// Layers of which nothing old is in its place any more.
    touched: BTreeSet<LayerId>,
}

impl Store {
    /// Records layers and image, or gives everything back if a layer is missing.
    pub(super) fn publish<'a>(
        &self,
        mut publication: Publication<'a>,
    ) -> Result<Outcome<'a>, PublishError> {
        let mut leftovers = Leftovers::default();
        let image = loop {
            let image = self.publish_locked(&mut publication, &mut leftovers, true)?;
            let unflushed = std::mem::take(&mut publication.unflushed);
            if unflushed.is_empty() {
                break image;
            }
            self.driver.flush()?;
            self.layers.flush_beside_image_store()?;
            publication.note_flushed(unflushed);
        };
        Ok(match image {
            Some(image) => Outcome::Published { image, kept: publication.damaged.kept },
            None => Outcome::Gone(publication),
        })
    }

    /// After a failure: records the layers whose parents are all there, without
    /// an image, so that the next pull goes on from them. Best effort.
    pub(super) fn keep_what_is_whole(&self, mut publication: Publication<'_>) {
        let mut leftovers = Leftovers::default();
        if let Err(error) = self.publish_locked(&mut publication, &mut leftovers, false) {
            tracing::warn!(%error, "layers that were whole could not be kept");
        }
    }

    fn publish_locked(
        &self,
        publication: &mut Publication<'_>,
        leftovers: &mut Leftovers,
        with_image: bool,
    ) -> Result<Option<ImageId>, PublishError> {
        // Before the lock: two stores that are each other's additional ones, and are both
        // written to, must not wait for each other.
        let elsewhere = self.elsewhere(&[], &[]);
        let mut layers = self.layers.write()?;
        self.remove_incomplete(&mut layers, &mut leftovers.removed)?;
        let Publication { wanted, unusable, .. } = publication;
        publication.damaged = self.damaged(wanted, unusable, &layers);
        leftovers.sealed.extend(publication.without_present(&layers));
        let missing = publication.lowest_missing(&layers, &elsewhere);
        if let Some(index) = missing {
            publication.gone = Some(publication.wanted[index].id.clone());
            if with_image {
                return Ok(None);
            }
            let above = publication.sealed.split_off(&index);
            leftovers.sealed.extend(above.into_values().map(|(layer, _)| layer));
        }
        if with_image {
            publication.unflushed = publication.at_risk(&layers);
            if !publication.unflushed.is_empty() {
                return Ok(None);
            }
        }
        let before = layers.records().to_vec();
        let result = self.commit_all(publication, &mut layers, leftovers, with_image);
        if result.is_err() {
            // The first error is the one to tell; what this leaves, the next
            // writer removes, since the records still say that it is incomplete.
            drop(put_back(&mut layers, before, &leftovers.touched));
            drop(self.remove_incomplete(&mut layers, &mut leftovers.removed));
            if let Ok(images) = self.images.write() {
                drop(remove_orphaned_images(&images));
            }
        }
        result
    }

    fn commit_all(
        &self,
        publication: &mut Publication<'_>,
        layers: &mut LayersWrite<'_>,
        leftovers: &mut Leftovers,
        with_image: bool,
    ) -> Result<Option<ImageId>, PublishError> {
        let mut ids = Vec::new();
        for (index, (_, facts)) in &publication.sealed {
            let wanted = &publication.wanted[*index];
            let mut record = layer_record(wanted, facts, &publication.metadata);
            record.file = layers.file_of_images();
            ids.push(record.id.clone());
            replace_record(layers.records_mut(), record);
        }
        if !ids.is_empty() {
            layers.save()?;
        }
        // What an error leaves in `publication` is deleted after the lock is released.
        while let Some((index, (layer, facts))) = publication.sealed.pop_first() {
            let wanted = &publication.wanted[index];
            let taken = leftovers.removed.take(self, layers, &wanted.id);
            if taken.is_ok() || !self.driver.has(&wanted.id)? {
                leftovers.touched.insert(wanted.id.clone());
            }
            taken?;
            let aside = self.driver.commit(layer, &wanted.id, wanted.parent.as_ref())?;
            let kept = keep_aside(layers, &wanted.id, &aside, &facts);
            leftovers.asides.push(aside);
            kept?;
        }
        self.restate(layers, publication.wanted, &ids)?;
        if publication.durability == Durability::Durable && !ids.is_empty() {
            self.driver.sync_dirs()?;
            layers.sync_layers(&ids)?;
        }
        let mut image = None;
        if with_image {
            let mut images = self.images.write()?;
            let top = publication.wanted.last().map(|wanted| &wanted.id);
            let Publication { image: source, name, .. } = publication;
            let id = image_record::prepare(&mut images, source, name, top, layers)?;
            image = Some((images, id));
        }
        complete(layers, &ids)?;
        image.map(|(images, id)| save_image(images, id)).transpose()
    }

    /// Removes layers that a dead process left half made; needs the write lock
    /// that the guard stands for, under which no living process has such a layer.
    pub(crate) fn remove_incomplete(
        &self,
        layers: &mut LayersWrite<'_>,
        removal: &mut Removal,
    ) -> Result<(), PublishError> {
        let mut ids = layers.incomplete();
        // Those of containers are left to whoever makes containers.
        ids.retain(|id| layers.get(id).is_some_and(|record| layers.is_with_images(record)));
        for id in &ids {
            removal.take(self, layers, id)?;
        }
        if !ids.is_empty() {
            layers.records_mut().retain(|record| !ids.contains(&record.id));
            layers.save()?;
        }
        Ok(())
    }
}

/// Trees and data that have lost their names; deleted on drop, which should be
/// after the locks are released.
#[derive(Debug, Default)]
pub(crate) struct Removal {
    trees: Option<RemovedLayers>,
    data: Option<TempDir>,
}

impl Removal {
    /// Takes away all that is there of a layer, but for its record.
    pub(crate) fn take(
        &mut self,
        store: &Store,
        layers: &LayersWrite<'_>,
        id: &LayerId,
    ) -> Result<(), PublishError> {
        match &mut self.trees {
            _ if !store.driver.has(id)? => {}
            Some(trees) => trees.add(id)?,
            None => self.trees = Some(store.driver.remove(id)?),
        }
        Ok(layers.discard_data_into(id, &mut self.data)?)
    }

    /// Deletes all of it, after the locks are released.
    pub(crate) fn delete(self) -> Result<(), RemoveError> {
        let trees = self.trees.map_or(Ok(()), RemovedLayers::delete);
        let data = self.data.map_or(Ok(()), TempDir::delete);
        trees.and(data).map_err(RemoveError::Delete)
    }
}

/// After a failure: gives layers whose old data is still in its place their old records
/// back, since an image may stand on them.
fn put_back(
    layers: &mut LayersWrite<'_>,
    before: Vec<LayerRecord>,
    touched: &BTreeSet<LayerId>,
) -> Result<(), RecordError> {
    for old in before.into_iter().filter(|old| !touched.contains(&old.id)) {
        if let Some(record) = layers.get_mut(&old.id) {
            *record = old;
        }
    }
    layers.save()
}

/// Takes the mark away: from here on the layers are part of the store. After a
/// failure it is there again.
fn complete(layers: &mut LayersWrite<'_>, ids: &[LayerId]) -> Result<(), RecordError> {
    if ids.is_empty() {
        return Ok(());
    }
    set_incomplete(layers, ids, false);
    let saved = layers.save();
    if saved.is_err() {
        set_incomplete(layers, ids, true);
    }
    saved
}

pub(crate) fn set_incomplete(layers: &mut LayersWrite<'_>, ids: &[LayerId], incomplete: bool) {
    for record in layers.records_mut() {
        if ids.contains(&record.id) {
            record.flags.set_incomplete(incomplete);
        }
    }
}

fn save_image(mut images: ImagesWrite<'_>, id: ImageId) -> Result<ImageId, PublishError> {
    images.save()?;
    Ok(id)
}

/// Moves what was kept beside the tree to the layer's records.
fn keep_aside(
    layers: &mut LayersWrite<'_>,
    id: &LayerId,
    aside: &Aside,
    facts: &LayerFacts,
) -> Result<(), PublishError> {
    if facts.has_tar_split {
        layers.adopt_tar_split(id, aside, aside::TAR_SPLIT)?;
    }
    if let Origin::Toc(_) = facts.origin {
        layers.adopt_big_data(id, TOC_KEY, aside, aside::TOC)?;
        layers.adopt_big_data(id, FORMAT_KEY, aside, FORMAT_FILE)?;
    }
    // A layer may be one that no index can describe.
    if has_file(aside, aside::INDEX)? {
        layers.adopt_big_data(id, INDEX_KEY, aside, aside::INDEX)?;
    }
    Ok(())
}

fn has_file(directory: &Aside, name: &str) -> Result<bool, FsError> {
    match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno).during("look at", name),
    }
}

/// Puts a record in the place of the one that there is, or at the end.
fn replace_record(records: &mut Vec<LayerRecord>, mut new: LayerRecord) {
    match records.iter_mut().find(|record| record.id == new.id) {
        Some(old) => {
            new.names.clone_from(&old.names);
            *old = new;
        }
        None => records.push(new),
    }
}

/// The ids that a layer's record names: of very many the highest, by which other tools tell
/// how large a user namespace has to be. All records are read by every command.
pub(crate) fn recorded_ids(ids: &BTreeSet<u32>) -> Vec<u32> {
    const MOST: usize = 4096;
    ids.iter().copied().skip(ids.len().saturating_sub(MOST)).collect()
}

/// The record of a layer in the making.
fn layer_record(wanted: &WantedLayer, facts: &LayerFacts, metadata: &str) -> LayerRecord {
    let mut record = LayerRecord::new(wanted.id.clone());
    record.parent.clone_from(&wanted.parent);
    metadata.clone_into(&mut record.metadata);
    record.diff_digest = Some(wanted.blob.diff_id);
    record.diff_size = i64::try_from(facts.diff_size).ok();
    record.uid_set = recorded_ids(&facts.uids);
    record.gid_set = recorded_ids(&facts.gids);
    match &facts.origin {
        Origin::Toc(digest) => {
            record.toc_digest = Some(*digest);
            record.big_data_names = vec![TOC_KEY.into(), FORMAT_KEY.into()];
        }
        Origin::Blob { digest, size, compression } => {
            record.compressed_diff_digest = Some(*digest);
            record.compressed_size = i64::try_from(*size).ok();
            record.compression = match compression {
                Compression::None => None,
                Compression::Gzip => Some(LayerCompression::Gzip),
                Compression::Zstd => Some(LayerCompression::Zstd),
            };
        }
    }
    if !facts.has_tar_split {
        let set = record.flags.members_mut().set(REPEATED_FLAG, Some("true"));
        set.expect("this is JSON");
    }
    record.flags.set_incomplete(true);
    record
}

/// Whether a layer was pulled without a tar-split, since none can describe it.
pub(crate) fn has_repeated_names(record: &LayerRecord) -> bool {
    record.flags.get(REPEATED_FLAG).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_very_many_ids_the_highest_are_recorded() {
        assert_eq!(recorded_ids(&BTreeSet::from([7, 0])), [0, 7]);
        let ids = recorded_ids(&(0..10_000).collect());
        assert_eq!((ids.len(), ids.first(), ids.last()), (4096, Some(&5904), Some(&9999)));
    }
}
