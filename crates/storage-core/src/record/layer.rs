//! What is remembered of a layer.

use serde::{Deserialize, Serialize};

use super::json::{FieldError, Fields, Object, Record};
use super::{Extra, Flags, RecordTime};
use crate::{BlobDigest, DiffId, LayerId, TocDigest};

/// One layer in `layers.json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerRecord {
    /// Name of its directory.
    pub id: LayerId,
    /// Names that people gave it; no two layers of a store share one.
    pub names: Vec<String>,
    /// The layer below; `None` for the lowest.
    pub parent: Option<LayerId>,
    /// Free text of whoever made it.
    pub metadata: String,
    /// `SELinux` label for mounts.
    pub mount_label: String,
    /// When it was made.
    pub created: RecordTime,
    /// Digest of the blob as it was fetched; full pulls only. One that is not
    /// sha256 stays in `other`; so for the next two digests.
    pub compressed_diff_digest: Option<BlobDigest>,
    /// Bytes of that blob.
    pub compressed_size: Option<i64>,
    /// Digest of the uncompressed tar.
    pub diff_digest: Option<DiffId>,
    /// Digest of the TOC, of layers that were pulled by it.
    pub toc_digest: Option<TocDigest>,
    /// Bytes of the uncompressed tar; -1 if only the TOC is known, `None` where nothing was said.
    pub diff_size: Option<i64>,
    /// Compression of the blob; `None` if it had none or it is not known.
    pub compression: Option<LayerCompression>,
    /// User ids that occur in the layer.
    pub uid_set: Vec<u32>,
    /// Group ids that occur in the layer.
    pub gid_set: Vec<u32>,
    /// Marks, [`Flags::incomplete`] among them.
    pub flags: Flags,
    /// Map of user ids, if the layer is not to be seen as it is on disk.
    pub uid_map: Vec<IdMapping>,
    /// Map of group ids.
    pub gid_map: Vec<IdMapping>,
    /// Keys of its big data, in the order in which they were added.
    pub big_data_names: Vec<String>,
    /// Fields that this crate does not know.
    pub other: Extra,
    /// The file that it is kept in.
    pub file: LayerFile,
}

/// Which of the record files a layer is kept in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LayerFile {
    /// `layers.json`.
    #[default]
    Durable,
    /// `volatile-layers.json`, which is not flushed: layers that need not survive.
    Volatile,
    /// `layers.json` of the image store, if there is one: the layers of images.
    ImageStore,
}

impl LayerFile {
    pub(super) const ALL: [Self; 3] = [Self::Durable, Self::Volatile, Self::ImageStore];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Durable | Self::ImageStore => "layers.json",
            Self::Volatile => "volatile-layers.json",
        }
    }
}

/// Compression of a layer's blob, by the numbers of the layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "i64", into = "i64")]
pub enum LayerCompression {
    /// 1
    Bzip2,
    /// 2
    Gzip,
    /// 3
    Xz,
    /// 4
    Zstd,
    /// A number that has no meaning yet.
    Other(i64),
}

impl From<i64> for LayerCompression {
    fn from(number: i64) -> Self {
        match number {
            1 => Self::Bzip2,
            2 => Self::Gzip,
            3 => Self::Xz,
            4 => Self::Zstd,
            other => Self::Other(other),
        }
    }
}

impl From<LayerCompression> for i64 {
    fn from(compression: LayerCompression) -> Self {
        match compression {
            LayerCompression::Bzip2 => 1,
            LayerCompression::Gzip => 2,
            LayerCompression::Xz => 3,
            LayerCompression::Zstd => 4,
            LayerCompression::Other(other) => other,
        }
    }
}

/// A range of ids and what it is mapped to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMapping {
    /// First id inside.
    pub container_id: u32,
    /// First id outside.
    pub host_id: u32,
    /// How many.
    pub size: u32,
}

impl LayerRecord {
    /// A record with nothing but an id, made now.
    pub fn new(id: LayerId) -> Self {
        Self {
            id,
            names: Vec::new(),
            parent: None,
            metadata: String::new(),
            mount_label: String::new(),
            created: RecordTime::now(),
            compressed_diff_digest: None,
            compressed_size: None,
            diff_digest: None,
            toc_digest: None,
            diff_size: None,
            compression: None,
            uid_set: Vec::new(),
            gid_set: Vec::new(),
            flags: Flags::default(),
            uid_map: Vec::new(),
            gid_map: Vec::new(),
            big_data_names: Vec::new(),
            other: Extra::default(),
            file: LayerFile::default(),
        }
    }

    /// Whether the layer is being made or removed; see [`Flags::incomplete`].
    pub fn is_incomplete(&self) -> bool {
        self.flags.incomplete()
    }
}

impl Record for LayerRecord {
    fn read(fields: &mut Fields) -> Result<Self, FieldError> {
        Ok(Self {
            id: fields.require("id")?,
            names: fields.take("names")?,
            parent: fields.parse_text("parent")?,
            metadata: fields.take("metadata")?,
            mount_label: fields.take("mountlabel")?,
            created: fields.take("created")?,
            compressed_diff_digest: fields.digest("compressed-diff-digest")?,
            compressed_size: fields.number("compressed-size")?,
            diff_digest: fields.digest("diff-digest")?,
            toc_digest: fields.digest("toc-digest")?,
            diff_size: fields.number("diff-size")?,
            compression: fields.number("compression")?.map(LayerCompression::from),
            uid_set: fields.take("uidset")?,
            gid_set: fields.take("gidset")?,
            flags: Flags::read(fields)?,
            uid_map: fields.take("uidmap")?,
            gid_map: fields.take("gidmap")?,
            big_data_names: fields.take("big-data-names")?,
            other: fields.rest(),
            file: LayerFile::default(),
        })
    }

    fn write(&self, object: &mut Object) {
        object.always("id", &self.id);
        object.some("names", &self.names);
        object.some("parent", &self.parent);
        object.some("metadata", &self.metadata);
        object.some("mountlabel", &self.mount_label);
        object.always("created", &self.created);
        object.some("compressed-diff-digest", &self.compressed_diff_digest);
        object.some("compressed-size", &self.compressed_size.filter(|&size| size != 0));
        object.some("diff-digest", &self.diff_digest);
        object.some("toc-digest", &self.toc_digest);
        object.some("diff-size", &self.diff_size.filter(|&size| size != 0));
        object.some("compression", &self.compression);
        object.some("uidset", &self.uid_set);
        object.some("gidset", &self.gid_set);
        self.flags.write(object);
        object.some("uidmap", &self.uid_map);
        object.some("gidmap", &self.gid_map);
        object.some("big-data-names", &self.big_data_names);
        object.extra(&self.other);
    }

    fn id(&self) -> &str {
        self.id.as_str()
    }
}
