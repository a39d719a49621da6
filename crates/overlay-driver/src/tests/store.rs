//! A store to test in, and what is asked about it.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use storage_core::{Durability, LayerId};
use tempfile::TempDir;

use crate::{Aside, Driver, FilledLayer, SealedLayer, StagedLayer};

/// A graph root in a temporary directory.
pub(super) struct Store {
    dir: Option<TempDir>,
    pub(super) root: PathBuf,
    pub(super) driver: Driver,
}

impl Store {
    pub(super) fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let mut store = Self::at(dir.path());
        store.dir = Some(dir);
        store
    }

    /// A store that is removed by somebody else.
    pub(super) fn at(root: &Path) -> Self {
        let driver = Driver::open(open(root)).unwrap();
        Self { dir: None, root: root.to_owned(), driver }
    }

    pub(super) fn overlay(&self, path: impl AsRef<Path>) -> PathBuf {
        self.root.join("overlay").join(path)
    }

    /// A layer whose tree has one file, `name`, and something in scratch and aside.
    pub(super) fn staged(&self, name: &str) -> StagedLayer {
        let staged = self.driver.stage().unwrap();
        let dirs = staged.dirs();
        for (dir, name) in [(dirs.dest, name), (dirs.aside, "toc"), (dirs.scratch, "clone")] {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
            let file = rustix::fs::openat(dir, name, flags, Mode::from_raw_mode(0o644)).unwrap();
            assert_eq!(rustix::io::write(file, name.as_bytes()).unwrap(), name.len());
        }
        staged
    }

    pub(super) fn filled(&self, name: &str) -> FilledLayer {
        self.staged(name).finish().unwrap()
    }

    pub(super) fn sealed(&self, name: &str) -> SealedLayer {
        let layers = vec![self.filled(name)];
        self.driver.seal(layers, Durability::Volatile).unwrap().pop().unwrap()
    }

    /// Commits a layer of one file, named as its id begins.
    pub(super) fn committed(&self, id: &LayerId, parent: Option<&LayerId>) -> Aside {
        self.driver.commit(self.sealed(&file_of(id)), id, parent).unwrap()
    }

    /// Commits so many layers on top of each other; the lowest comes first.
    pub(super) fn chain(&self, length: u8) -> Vec<LayerId> {
        let ids: Vec<_> = (0..length).map(id).collect();
        let mut layers = Vec::new();
        let mut parent = None;
        for id in &ids {
            let mut staged = self.staged(&file_of(id));
            staged.set_place(id, parent);
            layers.push(staged.finish().unwrap());
            parent = Some(id);
        }
        let mut parent = None;
        let sealed = self.driver.seal(layers, Durability::Volatile).unwrap();
        for (layer, id) in sealed.into_iter().zip(&ids) {
            self.driver.commit(layer, id, parent).unwrap().discard().unwrap();
            parent = Some(id);
        }
        ids
    }

    pub(super) fn read(&self, path: impl AsRef<Path>) -> String {
        fs::read_to_string(self.overlay(path)).unwrap()
    }

    pub(super) fn mode(&self, path: impl AsRef<Path>) -> u32 {
        let path = self.overlay(path);
        fs::symlink_metadata(&path)
            .unwrap_or_else(|e| panic!("{}: {e}", path.display()))
            .permissions()
            .mode()
            & 0o7777
    }

    pub(super) fn names(&self, path: impl AsRef<Path>) -> Vec<String> {
        names(&self.overlay(path))
    }

    /// Asserts that a layer is there with everything that belongs to it, and nothing else.
    pub(super) fn assert_whole(&self, id: &LayerId) {
        let dir = PathBuf::from(id.as_str());
        let link = self.read(dir.join("link"));
        assert_eq!(link.len(), 26);
        let target = fs::read_link(self.overlay("l").join(&link)).unwrap();
        assert_eq!(target, PathBuf::from(format!("../{id}/diff")));
        assert_eq!(self.read(dir.join("diff").join(file_of(id))), file_of(id));
        let lowers = self.driver.lowers(id).unwrap();
        let below = if lowers.is_empty() { ["empty", ""] } else { ["lower", "lower-layers"] };
        let mut parts = vec!["diff", "link", "work", "merged"];
        parts.extend(below.iter().filter(|name| !name.is_empty()));
        parts.sort_unstable();
        assert_eq!(self.names(&dir), parts);
        if let Some(parent) = lowers.first() {
            assert!(self.driver.layer_dirs().unwrap().contains(parent), "the parent is missing");
            let above = self.read(dir.join("lower"));
            let first = above.split(':').next().unwrap();
            assert_eq!(
                fs::canonicalize(self.overlay(first)).unwrap(),
                fs::canonicalize(self.overlay(parent).join("diff")).unwrap()
            );
        }
    }

    /// Asserts that no slot, no temp dir and no dangling link is left.
    pub(super) fn assert_tidy(&self) {
        for dir in ["staging", "tempdirs"] {
            if self.overlay(dir).exists() {
                assert_eq!(self.names(dir), [""; 0], "left in {dir}");
            }
        }
        let layers = self.driver.layer_dirs().unwrap();
        assert_eq!(self.names("l").len(), layers.len(), "links and layers");
    }
}

/// The `n`-th of some ids that differ early.
pub(super) fn id(n: u8) -> LayerId {
    format!("{n:02x}").repeat(32).parse().unwrap()
}

/// What the file in a committed layer is called, and what is in it.
pub(super) fn file_of(id: &LayerId) -> String {
    format!("file-{}", &id.as_str()[..2])
}

pub(super) fn open(path: &Path) -> OwnedFd {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).unwrap()
}

pub(super) fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort_unstable();
    names
}

/// Every path below `dir` with its mode.
pub(super) fn modes(dir: &Path) -> BTreeMap<String, u32> {
    fn walk(dir: &Path, prefix: &str, modes: &mut BTreeMap<String, u32>) {
        for name in names(dir) {
            let path = dir.join(&name);
            let metadata = fs::symlink_metadata(&path).unwrap();
            modes.insert(format!("{prefix}{name}"), metadata.permissions().mode() & 0o7777);
            if metadata.is_dir() {
                walk(&path, &format!("{prefix}{name}/"), modes);
            }
        }
    }
    let mut modes = BTreeMap::new();
    walk(dir, "", &mut modes);
    modes
}
