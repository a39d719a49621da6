//! What is remembered of a container.

use std::collections::BTreeMap;

use super::json::{FieldError, Fields, Object, Record};
use super::{AnyDigest, Extra, Flags, IdMapping, RecordTime};
use crate::{ContainerId, ImageId, LayerId};

/// One container in `containers.json` or `volatile-containers.json`.
///
/// We read them to know which images and layers are in use; other tools make them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerRecord {
    /// Name of its directory.
    pub id: ContainerId,
    /// Names that people gave it.
    pub names: Vec<String>,
    /// The image it was made from; `None` if from scratch.
    pub image: Option<ImageId>,
    /// Its writable layer.
    pub layer: Option<LayerId>,
    /// Free text of whoever made it; podman keeps JSON there.
    pub metadata: String,
    /// Keys of its big data.
    pub big_data_names: Vec<String>,
    /// Bytes of each big data item.
    pub big_data_sizes: BTreeMap<String, i64>,
    /// Digest of each big data item.
    pub big_data_digests: BTreeMap<String, AnyDigest>,
    /// When it was made.
    pub created: RecordTime,
    /// Map of user ids.
    pub uid_map: Vec<IdMapping>,
    /// Map of group ids.
    pub gid_map: Vec<IdMapping>,
    /// Marks: labels, mount options, whether it is volatile.
    pub flags: Flags,
    /// Fields that this crate does not know.
    pub other: Extra,
}

impl Record for ContainerRecord {
    fn read(fields: &mut Fields) -> Result<Self, FieldError> {
        Ok(Self {
            id: fields.require("id")?,
            names: fields.take("names")?,
            // Whoever makes containers writes these two in any case: without one of them
            // nothing says what the container needs.
            image: fields.require_text("image")?,
            layer: fields.require_text("layer")?,
            metadata: fields.take("metadata")?,
            big_data_names: fields.take("big-data-names")?,
            big_data_sizes: fields.take("big-data-sizes")?,
            big_data_digests: fields.take("big-data-digests")?,
            created: fields.take("created")?,
            uid_map: fields.take("uidmap")?,
            gid_map: fields.take("gidmap")?,
            flags: Flags::read(fields)?,
            other: fields.rest(),
        })
    }

    fn write(&self, object: &mut Object) {
        object.always("id", &self.id);
        object.some("names", &self.names);
        object.always("image", self.image.as_ref().map_or("", ImageId::as_str));
        object.always("layer", self.layer.as_ref().map_or("", LayerId::as_str));
        object.some("metadata", &self.metadata);
        object.some("big-data-names", &self.big_data_names);
        object.some("big-data-sizes", &self.big_data_sizes);
        object.some("big-data-digests", &self.big_data_digests);
        object.always("created", &self.created);
        object.some("uidmap", &self.uid_map);
        object.some("gidmap", &self.gid_map);
        self.flags.write(object);
        object.extra(&self.other);
    }

    fn id(&self) -> &str {
        self.id.as_str()
    }
}
