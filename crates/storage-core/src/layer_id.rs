//! Names of layers and images that are safe to join to a path.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{BlobDigest, DiffId, Digest};

/// Text that is not 64 lower-case hex digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an id of 64 lower-case hex digits")]
pub struct LayerIdError(pub String);

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// Only parsing makes one, so it is always a single safe path component.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The 64 hex digits.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<std::path::Path> for $name {
            fn as_ref(&self) -> &std::path::Path {
                self.0.as_ref()
            }
        }

        impl FromStr for $name {
            type Err = LayerIdError;

            fn from_str(text: &str) -> Result<Self, LayerIdError> {
                let hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
                if text.len() == 64 && text.bytes().all(hex) {
                    Ok(Self(text.into()))
                } else {
                    Err(LayerIdError(text.into()))
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

id! {
    /// Name of a committed layer and of its directory.
    LayerId
}
id! {
    /// Name of an image in a store.
    ImageId
}
id! {
    /// Name of a container in a store.
    ContainerId
}

impl LayerId {
    /// The id that every tool of this layout gives to a pulled layer.
    ///
    /// The lowest layer has the hex digits of its DiffID; any other one the
    /// sha256 of `<parent id>+<diff id hex>`.
    pub fn of_chain(parent: Option<&Self>, diff_id: &DiffId) -> Self {
        let hex = diff_id.digest().hex();
        match parent {
            None => Self(hex),
            Some(parent) => Self(Digest::of(format!("{parent}+{hex}").as_bytes()).hex()),
        }
    }
}

impl ImageId {
    /// The id of an image whose layers are all known by their DiffIDs: that of its config.
    pub fn of_config(config: &BlobDigest) -> Self {
        Self(config.digest().hex())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_64_lower_case_hex_digits_are_an_id() {
        let good = "0123456789abcdef".repeat(4);
        assert_eq!(good.parse::<LayerId>().unwrap().as_str(), good);
        for bad in ["", "..", "l", &good[1..], &good.to_uppercase(), &format!("{good}/")] {
            assert!(bad.parse::<LayerId>().is_err(), "{bad}");
        }
    }
}
