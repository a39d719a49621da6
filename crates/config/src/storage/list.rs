//! Lists that a later file can add to instead of replacing them.

use serde::Deserialize;
use toml::Value;

/// `["/a", "/b", {append = true}]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<Value>")]
pub(super) struct List {
    pub(super) items: Vec<String>,
    append: Option<bool>,
}

impl List {
    /// Takes over what a later file says. Once a file has asked for appending, the
    /// files after it append too, until one asks for the opposite.
    pub(super) fn overlay(&mut self, other: Self) {
        self.append = other.append.or(self.append);
        if self.append != Some(true) {
            self.items.clear();
        }
        self.items.extend(other.items);
    }
}

impl TryFrom<Vec<Value>> for List {
    type Error = String;

    fn try_from(values: Vec<Value>) -> Result<Self, String> {
        let mut list = Self::default();
        for value in values {
            match value {
                Value::String(item) => list.items.push(item),
                Value::Table(table) => match table.get("append") {
                    Some(Value::Boolean(append)) => list.append = Some(*append),
                    _ => return Err("a table in a list can only be {append = BOOL}".into()),
                },
                other => return Err(format!("{other} is neither a string nor {{append = BOOL}}")),
            }
        }
        Ok(list)
    }
}
