//! The tree that entries describe, without making it.

mod aspect;
mod compare;
mod names;
mod nodes;
#[cfg(test)]
mod tests;

use std::collections::HashSet;

use storage_core::{Entry, EntryKind, LayerPath, Time};

use crate::check::checked_path;
use crate::error::TreeError;
use crate::options::Privileges;
use crate::whiteout::Marker;
use names::{Names, Place};
use nodes::Nodes;

pub use aspect::{Aspect, Difference, Maker};

/// What a [`TreeWriter`](crate::TreeWriter) would make of the same entries.
///
/// It is fed with the entries of a layer in their order, and then says in what a
/// tree differs from it, and what belongs to a path. Takes about 110 bytes for each
/// entry with the last part of its name, and for each directory that none describes;
/// texts of links and extended attributes come on top.
#[derive(Debug)]
pub struct Model {
    privileges: Privileges,
    nodes: Nodes,
    names: Names,
    /// Nodes that have, or had, several names.
    shared: HashSet<usize>,
}

/// One file, directory, link or device of a [`Model`], which may have several names.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Expected {
    /// What it is, by the name that was asked for. Never a hard link. A whiteout is
    /// a character device 0:0.
    pub entry: Entry,
    /// Which entry described it first, counted from 0; `None` if only names below
    /// it told of it.
    pub number: Option<u64>,
    /// Whether a directory hides what lower layers have in it.
    pub opaque: bool,
}

impl Expected {
    /// Whether this hides what lower layers have of its name.
    pub fn is_whiteout(&self) -> bool {
        self.entry.kind == EntryKind::CharDevice { major: 0, minor: 0 }
    }
}

impl Model {
    /// Of a layer that nothing is known of, as a process with these privileges makes it.
    pub fn new(privileges: Privileges) -> Self {
        let (nodes, names, shared) = (Nodes::default(), Names::new(), HashSet::new());
        let mut model = Self { privileges, nodes, names, shared };
        model.insert(Names::ROOT, implied());
        model
    }

    /// Bytes of memory that it takes, about.
    pub fn bytes(&self) -> usize {
        self.nodes.bytes() + self.names.bytes()
    }

    /// What belongs to a path; `None` if nothing does.
    pub fn get(&self, path: &LayerPath) -> Option<Expected> {
        let node = self.names.node(self.names.find(path)?)?;
        Some(self.nodes.get(node, path.as_bytes()))
    }

    /// Where a name of an entry leads: links in the middle of it are followed.
    pub fn resolve(&self, path: &LayerPath) -> LayerPath {
        let parts = self.names.resolve(path, |node| self.nodes.link_text(node));
        LayerPath::parse(&parts.join(&b'/')).unwrap_or_else(|_| path.clone())
    }

    /// All names of what belongs to a path, itself among them, in the order of their bytes.
    pub fn names_of(&self, path: &LayerPath) -> Vec<LayerPath> {
        let Some(node) = self.names.find(path).and_then(|place| self.names.node(place)) else {
            return Vec::new();
        };
        if !self.shared.contains(&node) {
            return vec![path.clone()];
        }
        let same = self.names.iter().filter(|(_, other)| *other == node);
        let mut names: Vec<LayerPath> =
            same.filter_map(|(place, _)| self.names.path(place)).collect();
        names.sort_unstable();
        names
    }

    /// Takes the next entry, which is number `number` of the layer.
    ///
    /// # Errors
    ///
    /// If no path below the root is meant; a writer refuses more than that.
    pub fn add(&mut self, entry: &Entry, number: u64) -> Result<(), TreeError> {
        let path = checked_path(entry)?;
        match Marker::of(&path)? {
            Some(Marker::Metadata) => {}
            Some(Marker::Whiteout(path)) => self.add_whiteout(&path, entry, number),
            Some(Marker::Opaque(path)) => self.add_opaque(&path),
            None => self.add_entry(&path, entry, number)?,
        }
        Ok(())
    }

    fn add_entry(&mut self, path: &LayerPath, entry: &Entry, number: u64) -> Result<(), TreeError> {
        let place = self.place_of(path);
        match &entry.kind {
            EntryKind::Directory => self.add_directory(place, entry, number),
            EntryKind::HardLink { target } => {
                let target = LayerPath::parse(target)?;
                let target = self.names.resolve(&target, |node| self.nodes.link_text(node));
                let target = target
                    .iter()
                    .try_fold(Names::ROOT, |above, part| self.names.child(above, part));
                match target.and_then(|place| self.names.node(place)) {
                    Some(of) => self.add_name(place, of, entry),
                    // A link to a device that was left out is left out, too.
                    None => self.names.clear(place),
                }
            }
            EntryKind::CharDevice { .. } | EntryKind::BlockDevice { .. }
                if self.privileges != Privileges::Root =>
            {
                self.names.clear(place);
            }
            _ => self.insert(place, described(entry, number)),
        }
        Ok(())
    }

    fn add_directory(&mut self, place: Place, entry: &Entry, number: u64) {
        let new = described(entry, number);
        match self.names.node(place) {
            Some(old) if self.nodes.is_directory(old) => {
                let Expected { entry: before, opaque, .. } = self.nodes.get(old, b"");
                let mut new = Expected { opaque, ..new };
                new.entry.xattrs = before.xattrs;
                put_all(&mut new.entry.xattrs, &entry.xattrs);
                self.nodes.replace(old, new);
            }
            Some(old) => {
                let opaque = self.nodes.is_whiteout(old);
                self.insert(place, Expected { opaque, ..new });
            }
            None => self.insert(place, new),
        }
    }

    fn add_name(&mut self, place: Place, of: usize, entry: &Entry) {
        if self.names.node(place) != Some(of) {
            self.names.set(place, of);
            self.shared.insert(of);
        }
        self.nodes.describe_anew(of, entry);
        if !entry.xattrs.is_empty() {
            let mut node = self.nodes.get(of, b"");
            put_all(&mut node.entry.xattrs, &entry.xattrs);
            self.nodes.replace(of, node);
        }
    }

    fn add_whiteout(&mut self, path: &LayerPath, entry: &Entry, number: u64) {
        let Some((parent, _)) = path.split_last() else { return };
        if self.is_below_whiteout(&parent) {
            return;
        }
        let place = self.place_of(path);
        match self.names.node(place) {
            Some(there) if self.nodes.is_directory(there) => self.nodes.hide_lower(there),
            Some(_) => {}
            None => {
                let kind = EntryKind::CharDevice { major: 0, minor: 0 };
                let entry = Entry { kind, size: 0, xattrs: Vec::new(), ..entry.clone() };
                self.insert(place, Expected { entry, number: Some(number), opaque: false });
            }
        }
    }

    fn add_opaque(&mut self, path: &LayerPath) {
        if self.is_below_whiteout(path) {
            return;
        }
        let place = self.directory(path);
        if let Some(node) = self.names.node(place) {
            self.nodes.hide_lower(node);
        }
    }

    /// Where an entry of that name stands: links in the middle of it are followed,
    /// and directories above it that are missing are made.
    fn place_of(&mut self, path: &LayerPath) -> Place {
        match path.split_last() {
            None => Names::ROOT,
            Some((parent, name)) => {
                let above = self.directory(&parent);
                self.names.make(above, name)
            }
        }
    }

    fn directory(&mut self, path: &LayerPath) -> Place {
        let mut place = Names::ROOT;
        for part in self.names.resolve_all(path, |node| self.nodes.link_text(node)) {
            place = self.names.make(place, &part);
            match self.names.node(place) {
                Some(node) if !self.nodes.is_whiteout(node) => {}
                there => {
                    let opaque = there.is_some();
                    self.insert(place, Expected { opaque, ..implied() });
                }
            }
        }
        place
    }

    fn is_below_whiteout(&self, path: &LayerPath) -> bool {
        let parts = self.names.resolve_all(path, |node| self.nodes.link_text(node));
        let mut place = Some(Names::ROOT);
        parts.iter().any(|part| {
            place = place.and_then(|above| self.names.child(above, part));
            let node = place.and_then(|place| self.names.node(place));
            node.is_some_and(|node| self.nodes.is_whiteout(node))
        })
    }

    fn insert(&mut self, place: Place, node: Expected) {
        let number = self.nodes.push(node);
        self.names.set(place, number);
    }
}

fn described(entry: &Entry, number: u64) -> Expected {
    Expected { entry: entry.clone(), number: Some(number), opaque: false }
}

/// A directory that no entry describes.
fn implied() -> Expected {
    let entry = Entry {
        name: Vec::new(),
        kind: EntryKind::Directory,
        mode: 0o755,
        uid: 0,
        gid: 0,
        size: 0,
        mtime: Time::EPOCH,
        atime: None,
        ctime: None,
        xattrs: Vec::new(),
    };
    Expected { entry, number: None, opaque: false }
}

/// Sets attributes on top of those that are there.
fn put_all(there: &mut Vec<(Vec<u8>, Vec<u8>)>, new: &[(Vec<u8>, Vec<u8>)]) {
    there.retain(|(key, _)| !new.iter().any(|(other, _)| other == key));
    there.extend(new.iter().cloned());
    there.sort();
}
