//! What does not add up in a store: one finding per problem.

mod beside;
mod containers;
mod content;
mod harm;
mod layer;
mod look;
mod problem;
mod records;
mod survey;

use serde::Serialize;
use storage_core::{FsError, RecordError};

use crate::Store;

pub(crate) use containers::lost_layers;
pub(crate) use content::each_piece;
pub(crate) use layer::LayerLook;
pub(crate) use look::LayerData;
pub use problem::Problem;
pub(crate) use records::{has_manifest, has_wrong_top, is_unnamed};
pub(crate) use survey::Survey;

/// How closely to look; each level includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckLevel {
    /// Records against directories, and the documents of images.
    Records,
    /// What the layers' tar-splits say of every file but its content: kind, mode,
    /// owner, length, time, links, devices, extended attributes; what is missing, and
    /// what should not be there. No file of a layer is read.
    Attributes,
    /// The content of some files as well, against the checksums in the tar-splits.
    Sample {
        /// How many of a hundred files.
        percent: u8,
        /// Which ones: the same seed chooses the same files.
        seed: u64,
    },
    /// The content of all files: every layer's tar is rebuilt and hashed; and whether what is
    /// kept beside it for later pulls says what is true.
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

/// Why the store could not be looked at.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// The records could not be read, though they are not damaged.
    #[error("read the records of the store")]
    Record(#[from] RecordError),
    /// A directory of the store could not be read.
    #[error("look through the store")]
    Fs(#[from] FsError),
    /// What was mended could not be brought to the disk.
    #[error("flush what was mended")]
    Flush(#[source] FsError),
}

impl Store {
    /// Looks for what does not add up; changes nothing.
    ///
    /// Records and directories are compared under the locks; files are looked at
    /// without one, since layers do not change. A layer that is removed meanwhile is
    /// left out. Damaged files are named one by one, by the checksums that every
    /// layer's tar-split has. Where a record file is damaged, that is the only
    /// finding: nothing else can be told without it.
    ///
    /// Layers that another tool made may lack what such tools leave out (devices,
    /// times of directories), which is then no finding.
    ///
    /// # Errors
    ///
    /// If records or directories cannot be read at all.
    pub fn check(&self, level: CheckLevel) -> Result<Vec<Finding>, CheckError> {
        Ok(self.survey(level, |_| true)?.into_findings())
    }
}
