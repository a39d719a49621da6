//! JSON members that are kept as they were written.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::value::RawValue;

/// Members of a JSON object whose meaning we do not know, with their exact text.
///
/// Numbers keep all their digits, and objects their order.
#[derive(Clone, Default)]
pub struct Extra(BTreeMap<String, Box<RawValue>>);

impl Extra {
    /// The JSON text of a member.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(|value| value.get())
    }

    /// Sets a member to a JSON text, or removes it.
    ///
    /// # Errors
    ///
    /// If the text is not one JSON value.
    pub fn set(&mut self, key: &str, json: Option<&str>) -> Result<(), serde_json::Error> {
        match json {
            Some(json) => {
                self.0.insert(key.into(), RawValue::from_string(json.into())?);
            }
            None => {
                self.0.remove(key);
            }
        }
        Ok(())
    }

    /// Names and JSON texts, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.get()))
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn from_json(json: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(json).map(Self)
    }

    pub(super) fn take(&mut self, key: &str) -> Option<Box<RawValue>> {
        self.0.remove(key)
    }

    pub(super) fn put(&mut self, key: &str, value: Box<RawValue>) {
        self.0.insert(key.into(), value);
    }
}

impl PartialEq for Extra {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Extra {}

impl fmt::Debug for Extra {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}
