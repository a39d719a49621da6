//! Records as JSON objects: known fields taken out, the others kept.

use std::str::FromStr;

use serde::Serialize;
use serde::de::{DeserializeOwned, Error as _};
use serde_json::Error;

use super::{AnyDigest, Extra};
use crate::Digest;

/// Something that is an object in a record file.
pub(super) trait Record: Clone + PartialEq {
    /// Takes the known fields; what is left in `fields` afterwards is unknown.
    fn read(fields: &mut Fields) -> Result<Self, FieldError>
    where
        Self: Sized;

    /// Writes all fields, unknown ones last.
    fn write(&self, object: &mut Object);

    /// What must be unique in its file.
    fn id(&self) -> &str;
}

/// A field that could not be read.
#[derive(Debug)]
pub(super) struct FieldError {
    pub(super) key: &'static str,
    pub(super) source: Error,
}

/// The fields of a record that have not been taken yet.
pub(super) struct Fields(Extra);

impl Fields {
    pub(super) fn parse(json: &str) -> Result<Self, Error> {
        Extra::from_json(json).map(Self)
    }

    /// A field that may be missing or null, which is the same as its zero value.
    pub(super) fn take<T>(&mut self, key: &'static str) -> Result<T, FieldError>
    where
        T: DeserializeOwned + Default,
    {
        let Some(value) = self.0.take(key) else { return Ok(T::default()) };
        let value: Option<T> =
            serde_json::from_str(value.get()).map_err(|source| FieldError { key, source })?;
        Ok(value.unwrap_or_default())
    }

    /// A field that must be there.
    pub(super) fn require<T: DeserializeOwned>(
        &mut self,
        key: &'static str,
    ) -> Result<T, FieldError> {
        let error = |source| FieldError { key, source };
        let value = self.0.take(key).ok_or_else(|| error(Error::custom("missing")))?;
        serde_json::from_str(value.get()).map_err(error)
    }

    /// A field that holds something parsed from text; an empty text is none.
    pub(super) fn parse_text<T>(&mut self, key: &'static str) -> Result<Option<T>, FieldError>
    where
        T: FromStr,
        T::Err: std::fmt::Display,
    {
        let text: String = self.take(key)?;
        let parsed = (!text.is_empty()).then(|| text.parse()).transpose();
        parsed.map_err(|e| FieldError { key, source: Error::custom(e) })
    }

    /// The same for one that must be there, though its text may be empty.
    pub(super) fn require_text<T>(&mut self, key: &'static str) -> Result<Option<T>, FieldError>
    where
        T: FromStr,
        T::Err: std::fmt::Display,
    {
        let error = |source| FieldError { key, source };
        let text: String = self.require(key)?;
        let parsed = (!text.is_empty()).then(|| text.parse()).transpose();
        parsed.map_err(|e| error(Error::custom(e)))
    }

    /// A number; zero is none.
    pub(super) fn number(&mut self, key: &'static str) -> Result<Option<i64>, FieldError> {
        self.take(key).map(|number: i64| (number != 0).then_some(number))
    }

    /// A digest. One that is valid but not sha256 stays among the unknown fields.
    pub(super) fn digest<T: From<Digest>>(
        &mut self,
        key: &'static str,
    ) -> Result<Option<T>, FieldError> {
        let error = |source| FieldError { key, source };
        let Some(raw) = self.0.take(key) else { return Ok(None) };
        let text: Option<String> = serde_json::from_str(raw.get()).map_err(error)?;
        let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
        let digest: AnyDigest = text.parse().map_err(|e| error(Error::custom(e)))?;
        if digest.sha256().is_none() {
            self.0.put(key, raw);
        }
        Ok(digest.sha256().map(T::from))
    }

    /// Everything that has not been taken.
    pub(super) fn rest(&mut self) -> Extra {
        std::mem::take(&mut self.0)
    }
}

/// A JSON object that is being written, compactly.
#[derive(Debug, Default)]
pub(super) struct Object {
    json: String,
    keys: Vec<&'static str>,
}

impl Object {
    /// Writes a field, whatever its value.
    pub(super) fn always(&mut self, key: &'static str, value: &(impl Serialize + ?Sized)) {
        let json = serde_json::to_string(value)
            .expect("values of records are strings, numbers, and lists and maps of them");
        self.raw_member(key, &json);
    }

    /// Writes a field whose value is JSON already.
    pub(super) fn raw_member(&mut self, key: &'static str, json: &str) {
        self.raw(key, json);
        self.keys.push(key);
    }

    /// Writes a field unless it is zero or empty.
    pub(super) fn some(&mut self, key: &'static str, value: &impl Field) {
        if !value.is_zero() {
            self.always(key, value);
        }
    }

    /// Writes members of which nothing but the text is known; known fields win.
    pub(super) fn extra(&mut self, extra: &Extra) {
        for (key, json) in extra.iter() {
            if !self.keys.contains(&key) {
                self.raw(key, json);
            }
        }
    }

    pub(super) fn finish(mut self) -> String {
        if self.json.is_empty() {
            self.json.push('{');
        }
        self.json.push('}');
        self.json
    }

    fn raw(&mut self, key: &str, json: &str) {
        self.json.push(if self.json.is_empty() { '{' } else { ',' });
        self.json.push_str(&serde_json::to_string(key).expect("a string is always JSON"));
        self.json.push(':');
        self.json.push_str(json);
    }
}

/// A value with a zero that is left out.
pub(super) trait Field: Serialize {
    fn is_zero(&self) -> bool;
}

impl Field for String {
    fn is_zero(&self) -> bool {
        self.is_empty()
    }
}

impl<T: Serialize> Field for Vec<T> {
    fn is_zero(&self) -> bool {
        self.is_empty()
    }
}

impl<T: Serialize> Field for std::collections::BTreeMap<String, T> {
    fn is_zero(&self) -> bool {
        self.is_empty()
    }
}

impl<T: Serialize> Field for Option<T> {
    fn is_zero(&self) -> bool {
        self.is_none()
    }
}
