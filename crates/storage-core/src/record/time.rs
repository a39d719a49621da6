//! Moments as records tell them.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A moment, with the exact text it was read as: RFC 3339 with up to nine decimals.
///
/// The zero value is the one that the Go tools write for "unknown".
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RecordTime(String);

const UNKNOWN: &str = "0001-01-01T00:00:00Z";

impl RecordTime {
    /// This moment.
    pub fn now() -> Self {
        Timestamp::now().into()
    }

    /// Whether it is the zero value.
    pub fn is_unknown(&self) -> bool {
        self.0 == UNKNOWN
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As a time to reckon with.
    ///
    /// # Panics
    ///
    /// Never: a text that is no time does not become a `RecordTime`.
    pub fn timestamp(&self) -> Timestamp {
        self.0.parse().expect("the text was parsed before")
    }
}

impl Default for RecordTime {
    fn default() -> Self {
        Self(UNKNOWN.into())
    }
}

impl From<Timestamp> for RecordTime {
    fn from(time: Timestamp) -> Self {
        Self(time.to_string())
    }
}

impl FromStr for RecordTime {
    type Err = jiff::Error;

    fn from_str(text: &str) -> Result<Self, jiff::Error> {
        text.parse::<Timestamp>().map(|_| Self(text.into()))
    }
}

impl fmt::Display for RecordTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RecordTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for RecordTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for RecordTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
