//! Removing images, and the layers that only they needed.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::Serialize;
use storage_core::{Containers, Images, LayerRecord, Layers, LayersWrite, RecordError};
use storage_core::{FsError, ImageId, LayerId};

use crate::Store;
use crate::documents::Documents;
use crate::names::{self, LookupError};
use crate::pull::{PublishError, PullMark, Removal, set_incomplete};

/// What was removed, or would be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Removed {
    /// Names taken from an image that keeps others.
    pub untagged: Vec<String>,
    /// Images.
    pub images: Vec<ImageId>,
    /// Layers, top first.
    pub layers: Vec<LayerId>,
}

/// Why nothing was removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemoveError {
    /// No single image is meant.
    #[error("find the image")]
    Lookup(#[from] LookupError),
    /// It belongs to an additional store, where nothing is changed.
    #[error("image {image} belongs to the additional store {}", store.display())]
    ReadOnly {
        /// The image.
        image: ImageId,
        /// Root of the store that has it.
        store: PathBuf,
    },
    /// The records could not be read or written.
    #[error("change the records of the store")]
    Record(#[from] RecordError),
    /// Layers that were half made could not be cleared away.
    #[error("clear away layers that are half made")]
    Incomplete(#[from] PublishError),
    /// A directory could not be moved out of its place.
    #[error("remove a layer")]
    Fs(#[from] FsError),
    /// All is removed, but the disk is not free of it.
    #[error("delete what was removed; `gc` tries again")]
    Delete(#[source] FsError),
    /// There are layers, and no file of their records: they would all look unneeded.
    #[error("{} is missing, though there are layers", .0.display())]
    LostRecords(std::path::PathBuf),
    /// Containers of this store live in the run root, whose records are not read.
    #[error("the store keeps transient containers, whose layers are not known: nothing is removed")]
    Transient,
    /// A container is made from the image.
    #[error("image {image} is in use by container {container}")]
    InUse {
        /// The image.
        image: ImageId,
        /// Id of the container.
        container: String,
    },
    /// A layer of the image is mounted.
    #[error("image {image} is mounted (layer {layer})")]
    Mounted {
        /// The image.
        image: ImageId,
        /// The layer.
        layer: LayerId,
    },
}

impl Store {
    /// Takes a name from an image or, with its last name, removes the image and
    /// every layer that no other image, container or mount needs.
    ///
    /// An image that is named by its id is removed with all its names. With
    /// `dry_run` the answer is the same and nothing changes.
    ///
    /// # Errors
    ///
    /// If no single image is meant, or it is in use; then nothing is changed. With
    /// [`RemoveError::Delete`] the image is gone, and files of it are not.
    pub fn remove_image(&self, image: &str, dry_run: bool) -> Result<Removed, RemoveError> {
        let mut removal = Removal::default();
        let mut layers = self.layers.write()?;
        let mut images = self.images.write()?;
        let containers = self.containers.hold()?;
        self.refuse_transient()?;
        let found = names::find(images.records(), image);
        let (record, name) = match found {
            Err(LookupError::NotFound(_)) => {
                drop((containers, images, layers));
                return Err(self.not_here(image));
            }
            found => found?,
        };
        let (id, count) = (record.id.clone(), record.names.len());
        let tops: Vec<_> = record.layer.iter().chain(&record.mapped_layers).cloned().collect();
        if let Some(name) = name.filter(|_| count > 1) {
            if !dry_run {
                if let Some(record) = images.get_mut(&id) {
                    record.names.retain(|other| *other != name);
                }
                images.save()?;
            }
            return Ok(Removed { untagged: vec![name], ..Removed::default() });
        }
        let in_use = in_use(&layers, &images, &containers, Some(&id))?;
        refuse_if_used(&id, &containers)?;
        let removable = removable_layers(tops, &layers, &in_use);
        self.refuse_if_mounted(&id, &removable, &layers)?;
        if !dry_run {
            self.remove_incomplete(&mut layers, &mut removal)?;
            let _mark = self.mark_as_ours(&mut layers, &removable)?;
            images.remove(&id)?;
            self.remove_layers(&mut layers, &removable, &mut removal)?;
        }
        drop((containers, images, layers));
        removal.delete()?;
        Ok(Removed { images: vec![id], layers: removable, ..Removed::default() })
    }

    /// Marks layers that nobody has marked, so that the next collection takes them, should
    /// this process be killed when their image is gone and they are not.
    fn mark_as_ours(
        &self,
        layers: &mut LayersWrite<'_>,
        ids: &[LayerId],
    ) -> Result<Option<PullMark>, RecordError> {
        let unmarked =
            |record: &LayerRecord| ids.contains(&record.id) && record.metadata.is_empty();
        if !layers.records().iter().any(unmarked) {
            return Ok(None);
        }
        let mark = PullMark::create(&self.run_root)?;
        for record in layers.records_mut().iter_mut().filter(|record| unmarked(record)) {
            record.metadata = mark.metadata();
        }
        layers.save()?;
        Ok(Some(mark))
    }

    /// Why an image that the store does not have is not removed.
    fn not_here(&self, wanted: &str) -> RemoveError {
        let elsewhere = self.elsewhere(&[], &[]).images;
        let (records, stores): (Vec<_>, Vec<_>) = elsewhere.into_iter().unzip();
        match names::find(&records, wanted) {
            Err(error) => error.into(),
            Ok((image, _)) => {
                let index = records.iter().position(|record| record.id == image.id);
                let store = index.map(|index| stores[index].clone()).unwrap_or_default();
                RemoveError::ReadOnly { image: image.id.clone(), store }
            }
        }
    }

    /// Moves layers out of the store.
    pub(crate) fn remove_layers(
        &self,
        layers: &mut LayersWrite<'_>,
        ids: &[LayerId],
        removal: &mut Removal,
    ) -> Result<(), RemoveError> {
        if ids.is_empty() {
            return Ok(());
        }
        set_incomplete(layers, ids, true);
        layers.save()?;
        Ok(self.remove_incomplete(layers, removal)?)
    }

    fn refuse_if_mounted(
        &self,
        image: &ImageId,
        removable: &[LayerId],
        layers: &LayersWrite<'_>,
    ) -> Result<(), RemoveError> {
        let mounted = self.mounted(layers)?;
        match removable.iter().find(|layer| mounted.contains(*layer)) {
            None => Ok(()),
            Some(layer) => Err(RemoveError::Mounted { image: image.clone(), layer: layer.clone() }),
        }
    }
}

/// Layers that an image (but `except`), a container or a name stands on directly, and all
/// that configs of images tell of: of records one bit may be wrong.
pub(crate) fn in_use(
    layers: &LayersWrite<'_>,
    images: &Images<'_>,
    containers: &Containers,
    except: Option<&ImageId>,
) -> Result<BTreeSet<LayerId>, RecordError> {
    let kept = images.records().iter().filter(|image| Some(&image.id) != except);
    let of_images = kept.flat_map(|image| image.layer.iter().chain(&image.mapped_layers));
    let of_containers = containers.records().iter().filter_map(|c| c.layer.as_ref());
    let named = layers.records().iter().filter(|layer| !layer.names.is_empty());
    let of_names = named.map(|layer| &layer.id);
    let mut in_use: BTreeSet<_> = of_images.chain(of_containers).chain(of_names).cloned().collect();
    in_use.extend(Documents::of_others(images, except)?.layers.into_keys());
    Ok(in_use)
}

fn refuse_if_used(image: &ImageId, containers: &Containers) -> Result<(), RemoveError> {
    match containers.of_image(image).next() {
        None => Ok(()),
        Some(container) => {
            Err(RemoveError::InUse { image: image.clone(), container: container.id.to_string() })
        }
    }
}

/// From each of the `tops` down: the layers that lose their last user with those above them.
fn removable_layers(
    tops: Vec<LayerId>,
    layers: &Layers<'_>,
    in_use: &BTreeSet<LayerId>,
) -> Vec<LayerId> {
    let mut removable: Vec<LayerId> = Vec::new();
    for top in tops {
        // Tops may stand on one and the same layer: the last of them goes on with it.
        let mut next = Some(top);
        while let Some(id) = next.take() {
            let Some(record) = layers.get(&id) else { break };
            let last = layers.children(&id).all(|child| removable.contains(&child.id));
            if in_use.contains(&id)
                || !last
                || removable.contains(&id)
                || !layers.is_with_images(record)
            {
                break;
            }
            next.clone_from(&record.parent);
            removable.push(id);
        }
    }
    removable
}

#[cfg(test)]
mod tests {
    use storage_core::{ImageRecord, LayerRecord};

    use super::*;

    fn layer(n: u32) -> LayerId {
        format!("{n:064x}").parse().unwrap()
    }

    fn image(n: u32) -> ImageId {
        format!("{n:064x}").parse().unwrap()
    }

    /// Layers as pairs of a number and the parent's, images as their top and mapped layers.
    fn store(layers: &[(u32, u32)], images: &[&[u32]]) -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("root"), &dir.path().join("run")).unwrap();
        let mut write = store.layers.write().unwrap();
        write.records_mut().extend(layers.iter().map(|&(n, parent)| LayerRecord {
            parent: (parent > 0).then(|| layer(parent)),
            ..LayerRecord::new(layer(n))
        }));
        write.save().unwrap();
        drop(write);
        let mut write = store.images.write().unwrap();
        for (n, layers) in (1..).zip(images) {
            let mut record = ImageRecord::new(image(n));
            record.layer = Some(layer(layers[0]));
            record.mapped_layers = layers[1..].iter().copied().map(layer).collect();
            write.records_mut().push(record);
        }
        write.save().unwrap();
        drop(write);
        (dir, store)
    }

    fn removed(layers: &[(u32, u32)], images: &[&[u32]]) -> Vec<LayerId> {
        let (_dir, store) = store(layers, images);
        let would = store.remove_image(image(1).as_str(), true).unwrap();
        let removed = store.remove_image(image(1).as_str(), false).unwrap();
        assert_eq!(would, removed);
        let left = store.layers.read().unwrap();
        assert!(removed.layers.iter().all(|id| left.get(id).is_none()));
        assert_eq!(left.records().len() + removed.layers.len(), layers.len());
        removed.layers
    }

    /// 2 is the top, 3 and 4 are the same for other id maps.
    const MAPPED: [(u32, u32); 4] = [(1, 0), (2, 1), (3, 1), (4, 1)];

    #[test]
    fn layers_of_other_tools_are_collected_if_their_removal_was_killed() {
        let (_dir, store) = store(&[(1, 0), (2, 1), (3, 0)], &[&[2]]);
        let ids = [layer(2), layer(1)];
        let mut layers = store.layers.write().unwrap();
        let mark = store.mark_as_ours(&mut layers, &ids).unwrap();
        assert!(mark.is_some() && store.mark_as_ours(&mut layers, &ids).unwrap().is_none());
        drop((mark, layers));
        let garbage = || store.collect_garbage(crate::GarbageOptions::default()).unwrap();
        assert!(garbage().unreferenced_layers.is_empty(), "the image is there");
        store.images.write().unwrap().remove(&image(1)).unwrap();
        let mut collected = garbage().unreferenced_layers;
        collected.sort();
        assert_eq!(collected, [1, 2].map(layer));
        assert!(store.layers.read().unwrap().get(&layer(3)).is_some());
    }

    #[test]
    fn mapped_layers_go_with_their_image() {
        assert_eq!(removed(&MAPPED, &[&[2, 3, 4]]), [2, 3, 4, 1].map(layer));
    }

    #[test]
    fn mapped_layers_that_something_needs_stay_with_what_is_below() {
        assert_eq!(removed(&MAPPED, &[&[2, 3, 4], &[3]]), [2, 4].map(layer));
        assert_eq!(removed(&MAPPED, &[&[2, 3, 4], &[2, 3]]), [4].map(layer));
        let with_child = [&MAPPED[..], &[(5, 4)]].concat();
        assert_eq!(removed(&with_child, &[&[2, 3, 4]]), [2, 3].map(layer));
    }
}
