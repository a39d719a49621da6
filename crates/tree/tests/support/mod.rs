//! A directory to write into, and entries in few words.
#![allow(dead_code, reason = "each test file uses a part")]

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use storage_core::{Entry, EntryKind, Time};
use tree::{Found, Privileges, TreeError, TreeOptions, TreeReport, TreeWriter, Walk, WalkOptions};

pub(crate) struct Dest {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) root: File,
}

impl Dest {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = File::open(dir.path()).unwrap();
        Self { dir, root }
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn writer(&self) -> TreeWriter<'_> {
        TreeWriter::new(self.fd(), options())
    }

    pub(crate) fn stat(&self, name: &str) -> std::fs::Metadata {
        std::fs::symlink_metadata(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    pub(crate) fn exists(&self, name: &str) -> bool {
        std::fs::symlink_metadata(self.path(name)).is_ok()
    }

    pub(crate) fn mode(&self, name: &str) -> u32 {
        self.stat(name).mode() & 0o7777
    }

    pub(crate) fn is_whiteout(&self, name: &str) -> bool {
        let stat = self.stat(name);
        stat.mode() == 0o020_000 && stat.rdev() == 0
    }

    pub(crate) fn xattr(&self, name: &str, key: &str) -> Option<Vec<u8>> {
        let mut value = vec![0; 1024];
        let length = rustix::fs::lgetxattr(self.path(name), key, &mut value[..]).ok()?;
        value.truncate(length);
        Some(value)
    }

    pub(crate) fn is_opaque(&self, name: &str) -> bool {
        let key = match options().privileges {
            Privileges::Root => "trusted.overlay.opaque",
            _ => "user.overlay.opaque",
        };
        self.xattr(name, key).as_deref() == Some(b"y")
    }

    /// Makes all of these, with their names as content of files that have one.
    pub(crate) fn make(&self, entries: &[Entry]) -> Result<TreeReport, TreeError> {
        let mut writer = self.writer();
        for entry in entries {
            add(&mut writer, entry)?;
        }
        writer.finish()
    }

    pub(crate) fn walk(&self) -> Vec<Found> {
        Walk::new(self.fd(), WalkOptions::default()).unwrap().map(Result::unwrap).collect()
    }
}

impl Drop for Dest {
    fn drop(&mut self) {
        // Directories that shut their owner out would be left behind.
        for item in std::fs::read_dir(self.dir.path()).into_iter().flatten().flatten() {
            let name = item.file_name();
            let _left = tree::remove_tree(self.fd(), name.as_encoded_bytes()).is_err();
        }
    }
}

pub(crate) fn options() -> TreeOptions {
    TreeOptions::new(Privileges::of_process())
}

pub(crate) fn add(writer: &mut TreeWriter<'_>, entry: &Entry) -> Result<(), TreeError> {
    if !tree::has_content(entry) {
        return writer.make(entry);
    }
    let file = writer.create(entry)?;
    file.as_file().write_all(&vec![b'x'; usize::try_from(entry.size).unwrap()]).unwrap();
    writer.complete(file, entry)
}

pub(crate) fn entry(name: &str, kind: EntryKind) -> Entry {
    Entry {
        name: name.into(),
        kind,
        mode: 0o644,
        uid: 0,
        gid: 0,
        size: 0,
        mtime: Time { seconds: 1_000_000, nanoseconds: 5 },
        atime: None,
        ctime: None,
        xattrs: Vec::new(),
    }
}

pub(crate) fn file(name: &str, size: u64) -> Entry {
    Entry { size, ..entry(name, EntryKind::Regular) }
}

pub(crate) fn directory(name: &str, mode: u32) -> Entry {
    Entry { mode, ..entry(name, EntryKind::Directory) }
}

pub(crate) fn symlink(name: &str, target: &str) -> Entry {
    entry(name, EntryKind::Symlink { target: target.into() })
}

pub(crate) fn hard_link(name: &str, target: &str) -> Entry {
    entry(name, EntryKind::HardLink { target: target.into() })
}
