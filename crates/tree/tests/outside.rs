//! Whatever a layer says, nothing outside of its directory is touched.

mod support;

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;
use rustix::fs::{RenameFlags, renameat_with, symlinkat};
use storage_core::{Entry, EntryKind, LayerPath, Time};
use support::{Dest, add, directory, entry, file};
use tree::{TreeReader, TreeWriter, Walk, WalkOptions, remove_tree};

/// A directory with a file, a directory and a link in it, which nobody may touch,
/// and far below it the place for a tree.
///
/// All ways out that the tests try lead here and no further, so that a failing
/// test harms nobody.
struct Canary(Dest);

impl Canary {
    fn new() -> Self {
        let dest = Dest::new();
        std::fs::write(dest.path("file"), "untouched").unwrap();
        std::fs::create_dir(dest.path("directory")).unwrap();
        std::os::unix::fs::symlink("file", dest.path("link")).unwrap();
        std::fs::create_dir_all(dest.path("1/2/3/tree")).unwrap();
        Self(dest)
    }

    fn path(&self) -> &str {
        self.0.dir.path().to_str().unwrap()
    }

    /// The directory that the tree stands in.
    fn place(&self) -> File {
        File::open(self.0.path("1/2/3")).unwrap()
    }

    fn tree(&self) -> File {
        File::open(self.0.path("1/2/3/tree")).unwrap()
    }

    /// All that any change outside of the tree would change, above all the times
    /// of the last change, which nobody can set.
    fn state(&self) -> Vec<(&str, [i64; 9], usize)> {
        ["", "file", "directory", "link", "1", "1/2", "1/2/3"]
            .map(|name| {
                let path = self.0.path(name);
                let children = std::fs::read_dir(&path).map_or(0, Iterator::count);
                (name, numbers(&path), children)
            })
            .to_vec()
    }
}

fn numbers(path: &Path) -> [i64; 9] {
    let stat = std::fs::symlink_metadata(path).unwrap();
    [
        i64::from(stat.mode()),
        i64::from(stat.uid()),
        i64::from(stat.gid()),
        i64::try_from(stat.nlink()).unwrap(),
        i64::try_from(stat.size()).unwrap(),
        stat.ctime(),
        stat.ctime_nsec(),
        stat.mtime(),
        stat.mtime_nsec(),
    ]
}

/// `OUT` stands for the canary's directory.
const NAMES: [&str; 26] = [
    "a",
    "b",
    "a/b",
    "b/a",
    "a/b/c",
    "a/a/a",
    "./",
    "/a/",
    "a/file",
    "b/directory",
    "a/link",
    "l",
    "l/file",
    "l/directory",
    "l/x",
    "../x",
    "a/../../x",
    "a/..",
    ".wh.a",
    "a/.wh.b",
    "l/.wh.file",
    ".wh..wh..opq",
    "l/.wh..wh..opq",
    ".wh...",
    ".wh.a/b",
    "OUT/file",
];

const TARGETS: [&str; 18] = [
    "OUT",
    "OUT/file",
    "OUT/link",
    "OUT/directory",
    "OUT/",
    ".",
    "..",
    "../..",
    "../../../..",
    "a",
    "b",
    "a/b",
    "l",
    "l/file",
    "b/../..",
    "/proc/self/root/OUT",
    "OUT/1/../file",
    "../../../../../../../../../../../../OUT/file",
];

const KEYS: [&str; 4] = ["user.x", "trusted.overlay.redirect", "security.selinux", "trusted.x"];

fn kinds() -> impl Strategy<Value = EntryKind> {
    let target =
        || prop::sample::select(&TARGETS[..]).prop_map(|target| target.as_bytes().to_vec());
    prop_oneof![
        3 => Just(EntryKind::Regular),
        3 => Just(EntryKind::Directory),
        3 => target().prop_map(|target| EntryKind::Symlink { target }),
        3 => target().prop_map(|target| EntryKind::HardLink { target }),
        1 => (0..2_u32, 0..4_u32)
            .prop_map(|(major, minor)| EntryKind::CharDevice { major, minor }),
        1 => Just(EntryKind::BlockDevice { major: 7, minor: 0 }),
        1 => Just(EntryKind::Fifo),
    ]
}

fn entries() -> impl Strategy<Value = Entry> {
    let xattrs = prop::collection::btree_set(prop::sample::select(&KEYS[..]), 0..2);
    (prop::sample::select(&NAMES[..]), kinds(), 0..0o10_000_u32, 0..3_u32, 0..3_u64, xattrs)
        .prop_map(|(name, kind, mode, uid, size, xattrs)| Entry {
            name: name.into(),
            size: if kind == EntryKind::Regular { size } else { 0 },
            kind,
            mode,
            uid,
            gid: uid,
            mtime: Time { seconds: 1, nanoseconds: 0 },
            atime: None,
            ctime: None,
            xattrs: xattrs.into_iter().map(|key| (key.into(), b"y".to_vec())).collect(),
        })
}

fn fill(entry: Entry, canary: &Canary) -> Entry {
    let fill = |text: &[u8]| {
        let text = String::from_utf8(text.to_vec()).unwrap();
        text.replace("OUT", canary.path()).into_bytes()
    };
    let kind = match entry.kind {
        EntryKind::Symlink { target } => EntryKind::Symlink { target: fill(&target) },
        EntryKind::HardLink { target } => EntryKind::HardLink { target: fill(&target) },
        kind => kind,
    };
    Entry { name: fill(&entry.name), kind, ..entry }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        max_shrink_iters: 300,
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_sequence_of_entries_touches_what_is_outside(
        entries in prop::collection::vec(entries(), 1..30)
    ) {
        let canary = Canary::new();
        let before = canary.state();
        let tree = canary.tree();
        let mut writer = TreeWriter::new(tree.as_fd(), support::options());
        let mut reader = TreeReader::new(tree.as_fd());
        for entry in entries {
            let entry = fill(entry, &canary);
            // Refused or not, the others are still made.
            let _refused = add(&mut writer, &entry).is_err();
            if let Ok(path) = LayerPath::parse(&entry.name)
                && let Ok(file) = reader.open(&path)
            {
                prop_assert!(file.metadata().unwrap().is_file());
                prop_assert_ne!(file.metadata().unwrap().len(), "untouched".len() as u64);
            }
        }
        writer.finish().unwrap();
        prop_assert_eq!(&canary.state(), &before);

        if support::options().privileges == tree::Privileges::Root {
            for found in Walk::new(tree.as_fd(), WalkOptions::default()).unwrap() {
                found.unwrap();
            }
        }
        remove_tree(canary.place().as_fd(), b"tree").unwrap();
        let without: Vec<_> = before[..6].to_vec();
        prop_assert_eq!(&canary.state()[..6], &without);
        prop_assert_eq!(canary.state()[6].2, 0, "the tree is gone");
    }
}

/// Stops the other thread also when a test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Another process that swaps a directory for a link while entries are made in it
/// and files in it are opened. Any of them may fail; none may go outside.
#[test]
fn a_directory_swapped_for_a_link_leads_nowhere() {
    let canary = Canary::new();
    let before = canary.state();
    let tree = canary.tree();
    let mut writer = TreeWriter::new(tree.as_fd(), support::options());
    add(&mut writer, &directory("d", 0o755)).unwrap();
    symlinkat(canary.path(), &tree, "other").unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                // Sometimes there is no directory to swap.
                let flags = RenameFlags::EXCHANGE;
                let _swapped = renameat_with(&tree, "d", &tree, "other", flags).is_ok();
            }
        });
        let _stop = Stop(&done);
        let mut reader = TreeReader::new(tree.as_fd());
        for round in 0..1000 {
            // Another directory each time, or the one that was opened would be kept.
            let names = [format!("d/{round}/x"), "d/file".into(), "d/directory".into()];
            for name in &names {
                let kind = match round % 3 {
                    0 => EntryKind::Regular,
                    1 => EntryKind::Directory,
                    _ => EntryKind::HardLink { target: b"d/link".into() },
                };
                let _refused = add(&mut writer, &entry(name, kind)).is_err();
                let path = LayerPath::parse(name.as_bytes()).unwrap();
                if let Ok(file) = reader.open(&path) {
                    assert_eq!(file.metadata().unwrap().len(), 0);
                }
            }
            let _refused = add(&mut writer, &file("d", 0)).is_err();
            let _refused = add(&mut writer, &directory("d", 0o755)).is_err();
        }
    });
    let _refused = writer.finish().is_err();
    assert_eq!(canary.state(), before);
    remove_tree(canary.place().as_fd(), b"tree").unwrap();
    assert_eq!(canary.state()[..6], before[..6]);
}

#[test]
fn a_file_swapped_for_a_link_is_not_followed() {
    let canary = Canary::new();
    let tree = canary.tree();
    let mut writer = TreeWriter::new(tree.as_fd(), support::options());
    add(&mut writer, &file("f", 0)).unwrap();
    symlinkat(canary.0.path("file"), &tree, "other").unwrap();
    let path = LayerPath::parse(b"f").unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                renameat_with(&tree, "f", &tree, "other", RenameFlags::EXCHANGE).unwrap();
            }
        });
        let _stop = Stop(&done);
        let mut reader = TreeReader::new(tree.as_fd());
        let mut opened = 0;
        for _ in 0..20_000 {
            if let Ok(file) = reader.open(&path) {
                assert_eq!(file.metadata().unwrap().len(), 0, "not the file outside");
                opened += 1;
            }
        }
        assert!(opened > 0);
    });
}
