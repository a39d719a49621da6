//! The flags of a record.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Extra;
use super::json::{FieldError, Fields, Object};
use crate::DiffId;

/// The object `flags` of a record, with all its members.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flags(Extra);

const INCOMPLETE: &str = "incomplete";
const EXPECTED_DIFF_ID: &str = "expected-layer-diffid";

impl Flags {
    /// Whether the layer is being made or removed, so that whoever finds it
    /// without its maker should remove it.
    pub fn incomplete(&self) -> bool {
        self.get(INCOMPLETE).unwrap_or(false)
    }

    /// Sets the mark, or takes it away.
    pub fn set_incomplete(&mut self, incomplete: bool) {
        self.set(INCOMPLETE, incomplete.then_some(&true));
    }

    /// The DiffID that a layer pulled by its TOC should have, where it was recorded.
    pub fn expected_diff_id(&self) -> Option<DiffId> {
        self.get(EXPECTED_DIFF_ID)
    }

    /// Records the DiffID that a layer should have.
    pub fn set_expected_diff_id(&mut self, diff_id: Option<&DiffId>) {
        self.set(EXPECTED_DIFF_ID, diff_id);
    }

    /// A member, if it is there and of this type.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        self.0.get(key).and_then(|json| serde_json::from_str(json).ok())
    }

    /// The members and their JSON texts.
    pub fn members(&self) -> &Extra {
        &self.0
    }

    /// The members, to be changed.
    pub fn members_mut(&mut self) -> &mut Extra {
        &mut self.0
    }

    fn set<T: Serialize>(&mut self, key: &str, value: Option<&T>) {
        let json = value.map(|v| serde_json::to_string(v).expect("flags are plain values"));
        self.0.set(key, json.as_deref()).expect("what serde_json writes is JSON");
    }

    pub(super) fn read(fields: &mut Fields) -> Result<Self, FieldError> {
        let raw: Option<Box<serde_json::value::RawValue>> = fields.take("flags")?;
        let Some(raw) = raw else { return Ok(Self::default()) };
        let members = Extra::from_json(raw.get());
        members.map(Self).map_err(|source| FieldError { key: "flags", source })
    }

    pub(super) fn write(&self, object: &mut Object) {
        if !self.0.is_empty() {
            let mut members = Object::default();
            members.extra(&self.0);
            object.raw_member("flags", &members.finish());
        }
    }
}
