//! What does not add up in a store: one finding per problem.

use std::fmt;
use std::io;

use serde::Serialize;
use storage_core::{DiffId, Digest, FsError, LayerId};
use storage_core::{ImageRecord, Images, LayerRecord, Layers, RecordError};

use crate::Store;
use crate::layer_tar::{LayerTar, RebuiltTar};
use crate::listing::chain;

/// How closely to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckLevel {
    /// Records against directories, and the documents of images.
    Records,
    /// All content as well: every layer's tar is rebuilt and hashed.
    Content,
}

/// One thing that does not add up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// What is wrong with what.
    #[serde(flatten)]
    pub problem: Problem,
    /// Names or ids of the images that it harms.
    pub images: Vec<String>,
}

/// The kinds of [`Finding`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "problem", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Problem {
    /// A record without a tree.
    MissingTree {
        /// The layer.
        layer: LayerId,
        /// What the kernel said.
        reason: String,
    },
    /// A record that names a parent which has none.
    MissingParent {
        /// The layer.
        layer: LayerId,
        /// The parent.
        parent: LayerId,
    },
    /// The directories below it are not those that its record names.
    WrongLowers {
        /// The layer.
        layer: LayerId,
        /// What its files say, or why they cannot be read.
        found: String,
    },
    /// Left half made by a process that died.
    Incomplete {
        /// The layer.
        layer: LayerId,
    },
    /// A tree or data without a record.
    Orphan {
        /// The directory's name.
        id: String,
    },
    /// A file that the record names is not there.
    MissingBigData {
        /// The layer or image.
        id: String,
        /// The key of the file.
        key: String,
    },
    /// A document of an image is not what its record says.
    DamagedBigData {
        /// The image.
        id: String,
        /// The key of the file.
        key: String,
    },
    /// The tar stream cannot be rebuilt from the layer's files.
    Unreadable {
        /// The layer.
        layer: LayerId,
        /// What went wrong, and at which file.
        reason: String,
    },
    /// The layer's files are not those that were pulled.
    Changed {
        /// The layer.
        layer: LayerId,
        /// What its record says.
        expected: DiffId,
        /// What its files give.
        actual: DiffId,
    },
    /// An image whose top layer has no record.
    MissingLayer {
        /// The image.
        image: String,
        /// The layer.
        layer: LayerId,
    },
}

/// Why the store could not be looked at.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// The records could not be read; the file named is damaged or not readable.
    #[error("read the records of the store")]
    Record(#[from] RecordError),
    /// A directory of the store could not be read.
    #[error("look through the store")]
    Fs(#[from] FsError),
}

impl Store {
    /// Looks for what does not add up; changes nothing.
    ///
    /// Records and directories are compared under the locks; content is read
    /// without one, since layers do not change. A layer that is removed
    /// meanwhile is left out.
    ///
    /// # Errors
    ///
    /// If records or directories cannot be read at all.
    pub fn check(&self, level: CheckLevel) -> Result<Vec<Finding>, CheckError> {
        let mut problems = Vec::new();
        let (layer_records, image_records) = {
            let layers = self.layers.read()?;
            let images = self.images.read()?;
            let elsewhere = self.elsewhere(layers.records(), &[]).layers;
            self.check_layers(&layers, &elsewhere, &mut problems)?;
            check_images(&layers, &elsewhere, &images, &mut problems)?;
            (layers.records().to_vec(), images.records().to_vec())
        };
        if level == CheckLevel::Content {
            for record in &layer_records {
                problems.extend(self.check_content(record)?);
            }
        }
        let harmed = |problem: &Problem| harmed(problem, &layer_records, &image_records);
        let finding = |problem: Problem| Finding { images: harmed(&problem), problem };
        Ok(problems.into_iter().map(finding).collect())
    }

    fn check_layers(
        &self,
        layers: &Layers<'_>,
        elsewhere: &[LayerRecord],
        problems: &mut Vec<Problem>,
    ) -> Result<(), CheckError> {
        let all = [layers.records(), elsewhere].concat();
        for record in layers.records() {
            let layer = record.id.clone();
            if record.is_incomplete() {
                problems.push(Problem::Incomplete { layer });
                continue;
            }
            if let Err(error) = self.driver.diff(&layer) {
                let reason = error.source.to_string();
                problems.push(Problem::MissingTree { layer, reason });
                continue;
            }
            problems.extend(self.check_parents(record, &all));
            for key in &record.big_data_names {
                if layers.open_big_data(&layer, key)?.is_none() {
                    let (id, key) = (layer.to_string(), key.clone());
                    problems.push(Problem::MissingBigData { id, key });
                }
            }
        }
        let orphans = self.orphans(layers)?.into_iter();
        problems.extend(orphans.map(|id| Problem::Orphan { id: id.to_string() }));
        Ok(())
    }

    /// Compares the chain of records with the chain of directories.
    fn check_parents(&self, record: &LayerRecord, layers: &[LayerRecord]) -> Option<Problem> {
        let layer = record.id.clone();
        let known = |id: &LayerId| layers.iter().any(|layer| layer.id == *id);
        if let Some(parent) = record.parent.clone().filter(|parent| !known(parent)) {
            return Some(Problem::MissingParent { layer, parent });
        }
        let mut expected: Vec<&LayerId> =
            chain(Some(&layer), layers).into_iter().map(|l| &l.id).rev().collect();
        expected.remove(0);
        match self.driver.lowers(&layer) {
            Ok(found) if found.iter().eq(expected) => None,
            Ok(found) => Some(Problem::WrongLowers { layer, found: join(&found) }),
            Err(error) => Some(Problem::WrongLowers { layer, found: error.to_string() }),
        }
    }

    /// Rebuilds a layer's tar and compares its digest.
    fn check_content(&self, record: &LayerRecord) -> Result<Option<Problem>, CheckError> {
        let layer = record.id.clone();
        let Some(expected) = record.diff_digest else { return Ok(None) };
        let tar_split = self.layers.read()?.open_tar_split(&layer)?;
        let (Some(tar_split), Ok(diff)) = (tar_split, self.driver.diff(&layer)) else {
            return Ok(None);
        };
        Ok(match LayerTar::new(diff, tar_split).write(io::sink()) {
            Err(error) => {
                let reason = crate::pull::error_chain(&error);
                let removed = self.layers.read()?.get(&layer).is_none();
                (!removed).then_some(Problem::Unreadable { layer, reason })
            }
            Ok(RebuiltTar { diff_id: actual, .. }) => {
                (actual != expected).then_some(Problem::Changed { layer, expected, actual })
            }
        })
    }
}

fn check_images(
    layers: &Layers<'_>,
    elsewhere: &[LayerRecord],
    images: &Images<'_>,
    problems: &mut Vec<Problem>,
) -> Result<(), CheckError> {
    for record in images.records() {
        let known = |id: &LayerId| {
            layers.get(id).is_some() || elsewhere.iter().any(|layer| layer.id == *id)
        };
        if let Some(layer) = record.layer.clone().filter(|layer| !known(layer)) {
            problems.push(Problem::MissingLayer { image: label(record), layer });
        }
        for key in &record.big_data_names {
            problems.extend(check_document(record, key, images)?);
        }
    }
    let orphans = images.orphans()?.into_iter();
    problems.extend(orphans.map(|id| Problem::Orphan { id: id.to_string() }));
    Ok(())
}

/// Compares one document of an image with its record.
fn check_document(
    record: &ImageRecord,
    key: &str,
    images: &Images<'_>,
) -> Result<Option<Problem>, CheckError> {
    let (id, key) = (record.id.to_string(), key.to_owned());
    let Some(content) = images.read_big_data(&record.id, &key)? else {
        return Ok(Some(Problem::MissingBigData { id, key }));
    };
    let size = record.big_data_sizes.get(&key).copied();
    let right_size = size.is_none_or(|size| u64::try_from(size) == Ok(content.len() as u64));
    let digest = record.big_data_digests.get(&key).map(ToString::to_string);
    let right_digest = digest.is_none_or(|digest| digest == Digest::of(&content).to_string());
    let good = right_size && right_digest;
    Ok((!good).then_some(Problem::DamagedBigData { id, key }))
}

/// The images that stand on the layer, or are the image, that a problem speaks of.
fn harmed(problem: &Problem, layers: &[LayerRecord], images: &[ImageRecord]) -> Vec<String> {
    let stands_on = |image: &&ImageRecord, layer: &LayerId| {
        chain(image.layer.as_ref(), layers).iter().any(|below| &below.id == layer)
    };
    let hit = |image: &&ImageRecord| match problem {
        Problem::MissingTree { layer, .. }
        | Problem::MissingParent { layer, .. }
        | Problem::WrongLowers { layer, .. }
        | Problem::Incomplete { layer }
        | Problem::Unreadable { layer, .. }
        | Problem::Changed { layer, .. } => stands_on(image, layer),
        Problem::MissingLayer { layer, .. } => image.layer.as_ref() == Some(layer),
        Problem::MissingBigData { id, .. } | Problem::DamagedBigData { id, .. } => {
            let layer = id.parse().ok();
            image.id.as_str() == id || layer.is_some_and(|layer| stands_on(image, &layer))
        }
        Problem::Orphan { .. } => false,
    };
    images.iter().filter(hit).map(label).collect()
}

/// What a person calls an image.
fn label(image: &ImageRecord) -> String {
    image.names.first().cloned().unwrap_or_else(|| image.id.to_string())
}

fn join(ids: &[LayerId]) -> String {
    ids.iter().map(LayerId::as_str).collect::<Vec<_>>().join(":")
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MissingTree { layer, reason } => write!(f, "layer {layer} has no tree: {reason}"),
            Self::MissingParent { layer, parent } => {
                write!(f, "layer {layer} stands on {parent}, which has no record")
            }
            Self::WrongLowers { layer, found } => {
                write!(f, "layer {layer} stands on other layers than its record says: {found}")
            }
            Self::Incomplete { layer } => write!(f, "layer {layer} is half made"),
            Self::Orphan { id } => write!(f, "{id} has a directory or data, and no record"),
            Self::MissingBigData { id, key } => write!(f, "{key} of {id} is not there"),
            Self::DamagedBigData { id, key } => {
                write!(f, "{key} of {id} is not what its record says")
            }
            Self::Unreadable { layer, reason } => {
                write!(f, "layer {layer} cannot be rebuilt: {reason}")
            }
            Self::Changed { layer, expected, actual } => write!(
                f,
                "layer {layer} has changed: its tar has digest {actual}, its record says {expected}"
            ),
            Self::MissingLayer { image, layer } => {
                write!(f, "image {image} stands on layer {layer}, which has no record")
            }
        }
    }
}
