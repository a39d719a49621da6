//! The records of a store, read without the crates that wrote them.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result};
use serde_json::{Map, Value};

use crate::store::Store;

/// Records by id.
pub(crate) type Records = BTreeMap<String, Map<String, Value>>;

/// All layer records of a store.
pub(crate) fn layers(store: &Store) -> Result<Records> {
    read(store, "overlay-layers/layers.json")
}

/// All image records of a store.
pub(crate) fn images(store: &Store) -> Result<Records> {
    read(store, "overlay-images/images.json")
}

fn read(store: &Store, name: &str) -> Result<Records> {
    let file = store.root().join(name);
    let bytes = fs::read(&file).with_context(|| format!("read {}", file.display()))?;
    let list: Vec<Map<String, Value>> =
        serde_json::from_slice(&bytes).with_context(|| format!("parse {}", file.display()))?;
    let by_id = |record: Map<String, Value>| {
        let id = record.get("id").and_then(Value::as_str).context("a record without an id")?;
        Ok((id.to_owned(), record))
    };
    list.into_iter().map(by_id).collect()
}

/// The records without the fields of these names.
pub(crate) fn without(mut records: Records, names: &[&str]) -> Records {
    for record in records.values_mut() {
        record.retain(|name, _| !names.contains(&name.as_str()));
    }
    records
}
