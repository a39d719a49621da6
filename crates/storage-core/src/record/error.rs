//! Why records could not be read or written.

use std::path::{Path, PathBuf};

use crate::{FsError, LayerId};

/// A record file, or an operation on what it describes, that is not as it should be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// A file or directory could not be used.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// A record file without a single byte, as power cuts leave them, though it is one that
    /// is always flushed.
    #[error("record file {} is empty", file.display())]
    Empty {
        /// Relative to the store's root.
        file: PathBuf,
    },
    /// A record file that is missing, though there is what it should speak of.
    #[error("record file {} is missing, though there are images", file.display())]
    Lost {
        /// Relative to the store's root.
        file: PathBuf,
    },
    /// A record file that is not a JSON array of objects: cut or damaged.
    #[error("record file {} is damaged", file.display())]
    Damaged {
        /// Relative to the store's root.
        file: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A record with a field that we cannot accept.
    #[error("field {key:?} of record {number} in {}", file.display())]
    Field {
        /// Relative to the store's root.
        file: PathBuf,
        /// Which record, counted from zero.
        number: usize,
        /// The field's name in the file.
        key: &'static str,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// Two records with one id.
    #[error("two records in {} have the id {id}", file.display())]
    DuplicateId {
        /// Relative to the store's root.
        file: PathBuf,
        /// Their id.
        id: String,
    },
    /// There is no record with this id.
    #[error("no record {id} in {}", file.display())]
    Unknown {
        /// Where it should be; relative to the store's root.
        file: PathBuf,
        /// What was looked for.
        id: String,
    },
    /// Data that belongs to a record cannot be removed without it.
    #[error("{id} has a record in {}", file.display())]
    InUse {
        /// Where its record is; relative to the store's root.
        file: PathBuf,
        /// What should be removed.
        id: String,
    },
    /// A layer that is its own ancestor.
    #[error("the parents of layer {id} go round in a circle")]
    Circle {
        /// Where the search began.
        id: LayerId,
    },
    /// A key whose file name would not be a file in its directory.
    #[error("big data key {key:?} cannot be a file name")]
    Key {
        /// The key.
        key: String,
    },
    /// A change to a store that was opened for reading.
    #[error("{} belongs to a read-only store", directory.display())]
    ReadOnly {
        /// Relative to the store's root.
        directory: PathBuf,
    },
}

impl RecordError {
    /// The record file that is missing, empty, cut or otherwise not what such a file can be, if
    /// that is the reason; relative to the store's root.
    pub fn damaged_file(&self) -> Option<&Path> {
        match self {
            Self::Empty { file }
            | Self::Lost { file }
            | Self::Damaged { file, .. }
            | Self::Field { file, .. }
            | Self::DuplicateId { file, .. } => Some(file),
            _ => None,
        }
    }
}
