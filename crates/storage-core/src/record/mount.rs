//! What is remembered of a mount.

use super::Extra;
use super::json::{FieldError, Fields, Object, Record};
use crate::LayerId;

/// One mounted layer in `mountpoints.json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountRecord {
    /// The layer.
    pub id: LayerId,
    /// Where it is mounted: an absolute path.
    pub path: String,
    /// How many users the mount has.
    pub count: i64,
    /// Fields that this crate does not know.
    pub other: Extra,
}

impl MountRecord {
    /// A mount with one user.
    pub fn new(id: LayerId, path: impl Into<String>) -> Self {
        Self { id, path: path.into(), count: 1, other: Extra::default() }
    }
}

impl Record for MountRecord {
    fn read(fields: &mut Fields) -> Result<Self, FieldError> {
        Ok(Self {
            id: fields.require("id")?,
            path: fields.take("path")?,
            count: fields.take("count")?,
            other: fields.rest(),
        })
    }

    fn write(&self, object: &mut Object) {
        object.always("id", &self.id);
        object.always("path", &self.path);
        object.always("count", &self.count);
        object.extra(&self.other);
    }

    fn id(&self) -> &str {
        self.id.as_str()
    }
}
