//! Whether the entries of a tar make a plain tree.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use storage_core::{Entry, EntryKind, LayerPath};

/// Tells whether every file of a tar is in the tree at its own name in the end.
///
/// A tar may name a file twice, or put one below a symbolic link; then what was
/// read for a name is not what is found there. Takes some 20 bytes for each entry.
#[derive(Debug, Clone)]
pub(super) struct PlainTree {
    /// Whether what has a path with that hash is a directory.
    directories: HashMap<u64, bool>,
    /// The directory that was looked at last, which is one.
    parent: LayerPath,
    /// Keyed at random, so that no layer can be made to have many equal hashes.
    hasher: RandomState,
    is_plain: bool,
    /// How many entries were added.
    entries: usize,
}

/// Most directories without an entry.
const MOST_IMPLIED: usize = 1 << 17;

impl PlainTree {
    pub(super) fn new() -> Self {
        Self {
            directories: HashMap::new(),
            parent: LayerPath::ROOT,
            hasher: RandomState::new(),
            is_plain: true,
            entries: 0,
        }
    }

    /// Whether it is so for all entries that were added.
    pub(super) fn is_plain(&self) -> bool {
        self.is_plain
    }

    /// Adds the next entry of the tar.
    pub(super) fn add(&mut self, entry: &Entry) {
        if !self.is_plain {
            return;
        }
        self.entries += 1;
        let path = LayerPath::parse(&entry.name).ok();
        self.is_plain = path.is_some_and(|path| self.fits(&path, entry))
            && self.directories.len() <= self.entries + MOST_IMPLIED;
        if !self.is_plain {
            self.directories = HashMap::new();
        }
    }

    fn fits(&mut self, path: &LayerPath, entry: &Entry) -> bool {
        let Some((above, last)) = path.split_last() else { return true };
        let is_directory = matches!(entry.kind, EntryKind::Directory);
        if !self.is_directory(&above) {
            return false;
        }
        let known = match last.strip_prefix(b".wh.") {
            // It hides what has the rest of its name, which must not be here.
            Some(hidden) if !hidden.starts_with(b".wh.") => {
                above.join(hidden).ok().and_then(|hidden| self.note(&hidden, false))
            }
            _ => self.note(path, is_directory),
        };
        known.is_none_or(|known| known && is_directory)
    }

    /// Whether a path is a directory, or becomes one by what is below.
    fn is_directory(&mut self, path: &LayerPath) -> bool {
        if *path == self.parent {
            return true;
        }
        let Some((above, _)) = path.split_last() else { return true };
        let is_one = match self.note(path, true) {
            Some(known) => known,
            None => self.is_directory(&above),
        };
        if is_one {
            self.parent.clone_from(path);
        }
        is_one
    }

    /// Notes what a path is, unless it is known; tells what was known.
    fn note(&mut self, path: &LayerPath, is_directory: bool) -> Option<bool> {
        let hash = self.hasher.hash_one(path);
        let known = self.directories.get(&hash).copied();
        self.directories.entry(hash).or_insert(is_directory);
        known
    }
}
