//! All that a store consists of, so that two moments of it can be compared.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use testkit::compare::{Kind, Node, Snapshot};

/// How many names there are in each directory of a store. Link names are drawn anew each time.
pub(crate) type Census = BTreeMap<String, u32>;

/// Every name, its attributes and its content.
///
/// Locks tell who wrote last, not what; and a directory that was added to and emptied again has
/// another time: neither is looked at. In the trees of layers all counts.
#[derive(Debug, PartialEq)]
pub(crate) struct State(BTreeMap<String, (Node, Vec<u8>)>);

impl State {
    pub(crate) fn of(root: &Path) -> Result<Self> {
        let mut state = BTreeMap::new();
        for (path, mut node) in Snapshot::of(root)?.nodes {
            let name = String::from_utf8_lossy(&path).into_owned();
            if !name.contains("/diff") {
                node.mtime = (0, 0);
            }
            let has_bytes = node.kind == Kind::File && !path.ends_with(b".lock");
            let content = if has_bytes {
                fs::read(root.join(&name)).with_context(|| format!("read {name}"))?
            } else {
                node.size = None;
                Vec::new()
            };
            state.insert(name, (node, content));
        }
        Ok(Self(state))
    }

    pub(crate) fn census(&self) -> Census {
        let mut count = Census::new();
        for path in self.0.keys() {
            let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
            *count.entry(directory.to_owned()).or_default() += 1;
        }
        count
    }
}

/// The directories in which two counts differ, in words.
pub(crate) fn differing(usual: &Census, found: &Census) -> Vec<String> {
    let names: BTreeSet<_> = usual.keys().chain(found.keys()).collect();
    let differs = |name: &&&String| usual.get(**name) != found.get(**name);
    let line = |name: &String| format!("{name}: {:?} → {:?}", usual.get(name), found.get(name));
    names.iter().filter(differs).map(|name| line(name)).collect()
}
