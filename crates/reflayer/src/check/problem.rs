//! The kinds of findings.

use std::fmt;
use std::path::PathBuf;

use serde::{Serialize, Serializer};
use storage_core::{DiffId, LayerId, LayerPath};
use tree::Aspect;

/// What is wrong with what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "problem", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Problem {
    /// A record file that is empty, cut, or not what such a file can be; or that is
    /// missing though there are layers or images.
    DamagedRecords {
        /// The file, relative to the store's root.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A record says something else, or nothing, where what is on disk has another word:
    /// the configs of images, the files beside the layer, and what else the record says. Or a
    /// container's names a layer or an image that has no record.
    WrongRecord {
        /// The layer or image.
        id: String,
        /// The field, as record files spell it.
        field: &'static str,
    },
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
    /// A file beside a layer or an image that its record names is not there. The key
    /// of a tar-split is `tar-split`.
    MissingBigData {
        /// The layer or image.
        id: String,
        /// The key of the file.
        key: String,
    },
    /// A file beside a layer or an image is not what it should be.
    DamagedBigData {
        /// The layer or image.
        id: String,
        /// The key of the file; see [`Problem::MissingBigData`].
        key: String,
    },
    /// A file, directory, link or device of a layer is not as it was pulled.
    File {
        /// The layer.
        layer: LayerId,
        /// Where in the layer; the root is `.`.
        #[serde(serialize_with = "serialize_path")]
        path: LayerPath,
        /// In what it differs.
        #[serde(serialize_with = "serialize_words")]
        differs: Vec<Aspect>,
    },
    /// The tree cannot be looked at.
    Unreadable {
        /// The layer.
        layer: LayerId,
        /// What went wrong.
        reason: String,
    },
    /// The layer's content is not what was pulled, and no single file could be found
    /// that differs.
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

/// The key of a tar-split in findings, which it does not have in records.
pub(crate) const TAR_SPLIT: &str = "tar-split";

fn serialize_path<S: Serializer>(path: &LayerPath, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&shown(path))
}

fn serialize_words<S: Serializer>(aspects: &[Aspect], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(aspects.iter().map(|aspect| aspect.word()))
}

fn shown(path: &LayerPath) -> String {
    if path.is_root() { ".".into() } else { path.to_string() }
}

impl Problem {
    /// The layer that it is about, if it is about one; or the id of an image, which
    /// looks alike and is no layer's.
    pub(crate) fn layer(&self) -> Option<LayerId> {
        match self {
            Self::MissingTree { layer, .. }
            | Self::MissingParent { layer, .. }
            | Self::WrongLowers { layer, .. }
            | Self::Incomplete { layer }
            | Self::File { layer, .. }
            | Self::Unreadable { layer, .. }
            | Self::Changed { layer, .. }
            | Self::MissingLayer { layer, .. } => Some(layer.clone()),
            Self::Orphan { id }
            | Self::WrongRecord { id, .. }
            | Self::MissingBigData { id, .. }
            | Self::DamagedBigData { id, .. } => id.parse().ok(),
            Self::DamagedRecords { .. } => None,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DamagedRecords { file, reason } => {
                write!(f, "record file {} is damaged: {reason}", file.display())
            }
            Self::WrongRecord { id, field } => {
                write!(f, "the record of {id} has a wrong {field}")
            }
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
            Self::DamagedBigData { id, key } => write!(f, "{key} of {id} is damaged"),
            Self::File { layer, path, differs } => {
                let words: Vec<_> = differs.iter().map(|aspect| aspect.word()).collect();
                write!(f, "{} of layer {layer}: {}", shown(path), words.join(", "))
            }
            Self::Unreadable { layer, reason } => {
                write!(f, "layer {layer} cannot be read: {reason}")
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
