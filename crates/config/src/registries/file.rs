//! One file as it is written.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::short_name;
use super::table::{Registry, location};

/// In either of the two formats.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct File {
    #[serde(rename = "unqualified-search-registries")]
    search: Option<Vec<String>>,
    #[serde(rename = "registry")]
    registries: Vec<Registry>,
    #[serde(rename = "credential-helpers")]
    helpers: Option<Vec<String>>,
    #[serde(rename = "short-name-mode")]
    mode: Option<String>,
    aliases: BTreeMap<String, String>,
    #[serde(rename = "registries")]
    first_format: Option<FirstFormat>,
}

/// `[registries.block]` and so on: what files looked like first.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct FirstFormat {
    search: FirstTable,
    insecure: FirstTable,
    block: FirstTable,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct FirstTable {
    registries: Vec<String>,
}

/// What to do about a name that several registries may have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Mode {
    /// Try them all.
    #[default]
    Permissive,
    /// Ask a person.
    Enforcing,
    /// Try them all, and never ask.
    Disabled,
}

/// What a short name stands for; `None` takes an earlier file's alias away.
pub(super) type Alias = Option<String>;

/// What a file says, checked.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) registries: BTreeMap<String, Registry>,
    pub(super) search: Option<Vec<String>>,
    pub(super) helpers: Option<Vec<String>>,
    pub(super) mode: Option<Mode>,
    pub(super) aliases: BTreeMap<String, Alias>,
}

impl File {
    /// Refuses what podman would refuse, in words of our own.
    pub(super) fn check(self) -> Result<Contents, String> {
        let mut contents = Contents { helpers: self.helpers, ..Contents::default() };
        let mut search = self.search;
        let mut tables = self.registries;
        if let Some(first) = self.first_format {
            search = search.or(Some(first.search.registries));
            let table = |location: &String, blocked, insecure| Registry {
                location: location.clone(),
                blocked,
                insecure,
                ..Registry::default()
            };
            let insecure = &first.insecure.registries;
            let blocked = &first.block.registries;
            tables.extend(blocked.iter().map(|l| table(l, true, insecure.contains(l))));
            let others = insecure.iter().filter(|l| !blocked.contains(l));
            tables.extend(others.map(|l| table(l, false, true)));
        }
        for table in tables {
            let table = table.check()?;
            // Of several tables for one prefix in a file, the first counts.
            contents.registries.entry(table.prefix.clone()).or_insert(table);
        }
        let hosts = search.map(|hosts| hosts.iter().map(|host| location(host)).collect());
        contents.search = hosts.transpose()?;
        contents.mode =
            self.mode.as_deref().filter(|mode| !mode.is_empty()).map(mode).transpose()?;
        for (name, value) in self.aliases {
            let alias = short_name::alias(&name, value)?;
            contents.aliases.insert(name, alias);
        }
        Ok(contents)
    }
}

fn mode(text: &str) -> Result<Mode, String> {
    match text {
        "permissive" => Ok(Mode::Permissive),
        "enforcing" => Ok(Mode::Enforcing),
        "disabled" => Ok(Mode::Disabled),
        other => Err(format!("short-name-mode {other:?} is not permissive, enforcing or disabled")),
    }
}
