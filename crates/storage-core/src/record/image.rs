//! What is remembered of an image.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

use super::json::{FieldError, Fields, Object, Record};
use super::{Extra, Flags, RecordTime};
use crate::{BlobDigest, Digest, DigestError, ImageId, LayerId};

/// One image in `images.json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageRecord {
    /// Name of its directory.
    pub id: ImageId,
    /// Digest of its manifest. One that is not sha256 stays in `other`.
    pub digest: Option<BlobDigest>,
    /// Full names; no two images of a store share one.
    pub names: Vec<String>,
    /// Names it ever had, the newest first.
    pub names_history: Vec<String>,
    /// Its top layer; `None` for an image without layers.
    pub layer: Option<LayerId>,
    /// Copies of the top layer for other maps of ids.
    pub mapped_layers: Vec<LayerId>,
    /// Free text of whoever made it.
    pub metadata: String,
    /// Keys of its big data, in the order in which they were added.
    pub big_data_names: Vec<String>,
    /// Bytes of each big data item.
    pub big_data_sizes: BTreeMap<String, i64>,
    /// Digest of each big data item.
    pub big_data_digests: BTreeMap<String, AnyDigest>,
    /// When it was made.
    pub created: RecordTime,
    /// Marks.
    pub flags: Flags,
    /// Fields that this crate does not know.
    pub other: Extra,
}

/// Keys of big data that hold a manifest begin with this.
const MANIFEST: &str = "manifest";

impl ImageRecord {
    /// A record with nothing but an id, made now.
    pub fn new(id: ImageId) -> Self {
        Self {
            id,
            digest: None,
            names: Vec::new(),
            names_history: Vec::new(),
            layer: None,
            mapped_layers: Vec::new(),
            metadata: String::new(),
            big_data_names: Vec::new(),
            big_data_sizes: BTreeMap::new(),
            big_data_digests: BTreeMap::new(),
            created: RecordTime::now(),
            flags: Flags::default(),
            other: Extra::default(),
        }
    }

    /// Whether one of its manifests has this digest.
    pub fn has_digest(&self, digest: &BlobDigest) -> bool {
        let manifests = self.big_data_digests.iter().filter(|(key, _)| key.starts_with(MANIFEST));
        self.digest.as_ref() == Some(digest)
            || manifests.filter_map(|(_, d)| d.sha256()).any(|d| d == *digest.digest())
    }

    /// Remembers names as the newest that the image ever had, the last one first.
    pub(super) fn remember_names(&mut self, names: &[String]) {
        for name in names {
            self.names_history.retain(|old| old != name);
            self.names_history.insert(0, name.clone());
        }
    }
}

impl Record for ImageRecord {
    fn read(fields: &mut Fields) -> Result<Self, FieldError> {
        Ok(Self {
            id: fields.require("id")?,
            digest: fields.digest("digest")?,
            names: fields.take("names")?,
            names_history: fields.take("names-history")?,
            layer: fields.parse_text("layer")?,
            mapped_layers: fields.take("mapped-layers")?,
            metadata: fields.take("metadata")?,
            big_data_names: fields.take("big-data-names")?,
            big_data_sizes: fields.take("big-data-sizes")?,
            big_data_digests: fields.take("big-data-digests")?,
            created: fields.take("created")?,
            flags: Flags::read(fields)?,
            other: fields.rest(),
        })
    }

    fn write(&self, object: &mut Object) {
        object.always("id", &self.id);
        object.some("digest", &self.digest);
        object.some("names", &self.names);
        object.some("names-history", &self.names_history);
        object.some("layer", &self.layer);
        object.some("mapped-layers", &self.mapped_layers);
        object.some("metadata", &self.metadata);
        object.some("big-data-names", &self.big_data_names);
        object.some("big-data-sizes", &self.big_data_sizes);
        object.some("big-data-digests", &self.big_data_digests);
        object.always("created", &self.created);
        self.flags.write(object);
        object.extra(&self.other);
    }

    fn id(&self) -> &str {
        self.id.as_str()
    }
}

/// The text of a digest by any algorithm that the layout allows: sha256, sha384, sha512.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct AnyDigest(String);

impl AnyDigest {
    /// The digest, if it is by sha256.
    pub fn sha256(&self) -> Option<Digest> {
        self.0.parse().ok()
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Digest> for AnyDigest {
    fn from(digest: Digest) -> Self {
        Self(digest.to_string())
    }
}

impl FromStr for AnyDigest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let digits = match text.split_once(':') {
            Some(("sha384", digits)) if digits.len() == 96 => digits,
            Some(("sha512", digits)) if digits.len() == 128 => digits,
            _ => return text.parse::<Digest>().map(Self::from),
        };
        let hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        if digits.bytes().all(hex) {
            Ok(Self(text.into()))
        } else {
            Err(DigestError::Hex(text.into()))
        }
    }
}

impl<'de> Deserialize<'de> for AnyDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for AnyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for AnyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
