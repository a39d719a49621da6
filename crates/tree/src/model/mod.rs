//! The tree that entries describe, without making it.

mod aspect;
mod compare;
mod names;
#[cfg(test)]
mod tests;

use std::collections::HashSet;

use storage_core::{Entry, EntryKind, LayerPath, Time};

use crate::check::checked_path;
use crate::error::TreeError;
use crate::options::Privileges;
use crate::whiteout::Marker;
use names::Names;

pub use aspect::{Aspect, Difference, Maker};

/// What a [`TreeWriter`](crate::TreeWriter) would make of the same entries.
///
/// It is fed with the entries of a layer in their order, and then says in what a
/// tree differs from it, and what belongs to a path. Takes about 300 bytes for each
/// entry, and the length of its name twice.
#[derive(Debug)]
pub struct Model {
    privileges: Privileges,
    nodes: Vec<Expected>,
    names: Names,
    /// Nodes that have, or had, several names.
    shared: HashSet<usize>,
}

/// One file, directory, link or device of a [`Model`], which may have several names.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Expected {
    /// What it is; the name is the one by which it was described first. Never a
    /// hard link. A whiteout is a character device 0:0.
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

    fn is_directory(&self) -> bool {
        self.entry.kind == EntryKind::Directory
    }
}

impl Model {
    /// Of a layer that nothing is known of, as a process with these privileges makes it.
    pub fn new(privileges: Privileges) -> Self {
        let (nodes, names, shared) = (Vec::new(), Names::default(), HashSet::new());
        let mut model = Self { privileges, nodes, names, shared };
        model.insert(b"", implied(b"./"));
        model
    }

    /// What belongs to a path; `None` if nothing does.
    pub fn get(&self, path: &LayerPath) -> Option<&Expected> {
        self.names.get(path.as_bytes()).map(|number| &self.nodes[number])
    }

    /// Where a name of an entry leads: links in the middle of it are followed.
    pub fn resolve(&self, path: &LayerPath) -> LayerPath {
        let resolved = self.names.resolve(path, |number| self.link_text(number));
        LayerPath::parse(&resolved).unwrap_or_else(|_| path.clone())
    }

    /// All names of what belongs to a path, itself among them, in the order of their bytes.
    pub fn names_of(&self, path: &LayerPath) -> Vec<LayerPath> {
        let Some(number) = self.names.get(path.as_bytes()) else { return Vec::new() };
        if !self.shared.contains(&number) {
            return vec![path.clone()];
        }
        let same = self.names.iter().filter(|(_, other)| *other == number);
        same.filter_map(|(name, _)| LayerPath::parse(name).ok()).collect()
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
        let path = self.place_of(path);
        match &entry.kind {
            EntryKind::Directory => self.add_directory(&path, entry, number),
            EntryKind::HardLink { target } => {
                let target = LayerPath::parse(target)?;
                let target = self.names.resolve(&target, |number| self.link_text(number));
                match self.names.get(&target) {
                    Some(of) => self.add_name(&path, of, entry),
                    // A link to a device that was left out is left out, too.
                    None => self.names.remove(&path),
                }
            }
            EntryKind::CharDevice { .. } | EntryKind::BlockDevice { .. }
                if self.privileges != Privileges::Root =>
            {
                self.names.remove(&path);
            }
            _ => self.insert(&path, Expected { number: Some(number), ..node(entry) }),
        }
        Ok(())
    }

    fn add_directory(&mut self, path: &[u8], entry: &Entry, number: u64) {
        let new = Expected { number: Some(number), ..node(entry) };
        match self.names.get(path).map(|number| &mut self.nodes[number]) {
            Some(old) if old.is_directory() => {
                let (opaque, mut xattrs) = (old.opaque, std::mem::take(&mut old.entry.xattrs));
                put_all(&mut xattrs, &entry.xattrs);
                *old = Expected { opaque, ..new };
                old.entry.xattrs = xattrs;
            }
            Some(old) => {
                let opaque = old.is_whiteout();
                self.insert(path, Expected { opaque, ..new });
            }
            None => self.insert(path, new),
        }
    }

    fn add_name(&mut self, path: &[u8], of: usize, entry: &Entry) {
        if self.names.get(path) != Some(of) {
            self.names.remove(path);
            self.names.insert(path, of);
            self.shared.insert(of);
        }
        let node = &mut self.nodes[of].entry;
        (node.mode, node.uid, node.gid) = (entry.mode, entry.uid, entry.gid);
        node.mtime = entry.mtime;
        put_all(&mut node.xattrs, &entry.xattrs);
    }

    fn add_whiteout(&mut self, path: &LayerPath, entry: &Entry, number: u64) {
        let Some((parent, _)) = path.split_last() else { return };
        if self.is_below_whiteout(&parent) {
            return;
        }
        let path = self.place_of(path);
        match self.names.get(&path) {
            Some(there) => {
                let there = &mut self.nodes[there];
                there.opaque |= there.is_directory();
            }
            None => {
                let kind = EntryKind::CharDevice { major: 0, minor: 0 };
                let entry = Entry { kind, size: 0, xattrs: Vec::new(), ..entry.clone() };
                self.insert(&path, Expected { entry, number: Some(number), opaque: false });
            }
        }
    }

    fn add_opaque(&mut self, path: &LayerPath) {
        if self.is_below_whiteout(path) {
            return;
        }
        let path = self.directory(path);
        if let Some(number) = self.names.get(&path) {
            self.nodes[number].opaque = true;
        }
    }

    /// Where an entry of that name stands: links in the middle of it are followed,
    /// and directories above it that are missing are made.
    fn place_of(&mut self, path: &LayerPath) -> Vec<u8> {
        match path.split_last() {
            None => Vec::new(),
            Some((parent, name)) => names::join(&self.directory(&parent), name),
        }
    }

    fn directory(&mut self, path: &LayerPath) -> Vec<u8> {
        let path = self.names.resolve_all(path, |number| self.link_text(number));
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        let mut ends: Vec<usize> = ends.collect();
        ends.extend((!path.is_empty()).then_some(path.len()));
        for end in ends {
            let above = &path[..end];
            match self.names.get(above).map(|number| &self.nodes[number]) {
                Some(node) if !node.is_whiteout() => {}
                there => {
                    let opaque = there.is_some();
                    self.insert(above, Expected { opaque, ..implied(above) });
                }
            }
        }
        path
    }

    fn is_below_whiteout(&self, path: &LayerPath) -> bool {
        let path = self.names.resolve_all(path, |number| self.link_text(number));
        let ends = (0..path.len()).filter(|&at| path[at] == b'/').chain([path.len()]);
        ends.filter_map(|end| self.names.get(&path[..end]))
            .any(|number| self.nodes[number].is_whiteout())
    }

    fn link_text(&self, number: usize) -> Option<&[u8]> {
        match &self.nodes[number].entry.kind {
            EntryKind::Symlink { target } => Some(target),
            _ => None,
        }
    }

    fn insert(&mut self, path: &[u8], node: Expected) {
        self.names.remove(path);
        self.names.insert(path, self.nodes.len());
        self.nodes.push(node);
    }
}

fn node(entry: &Entry) -> Expected {
    Expected { entry: entry.clone(), number: None, opaque: false }
}

/// A directory that no entry describes.
fn implied(path: &[u8]) -> Expected {
    node(&Entry {
        name: path.into(),
        kind: EntryKind::Directory,
        mode: 0o755,
        uid: 0,
        gid: 0,
        size: 0,
        mtime: Time::EPOCH,
        atime: None,
        ctime: None,
        xattrs: Vec::new(),
    })
}

/// Sets attributes on top of those that are there.
fn put_all(there: &mut Vec<(Vec<u8>, Vec<u8>)>, new: &[(Vec<u8>, Vec<u8>)]) {
    there.retain(|(key, _)| !new.iter().any(|(other, _)| other == key));
    there.extend(new.iter().cloned());
    there.sort();
}
