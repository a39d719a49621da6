use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use proptest::prelude::*;
use storage_core::{Entry, EntryKind, LayerPath, Time};
use tempfile::TempDir;

use super::{Aspect, Maker, Model};
use crate::{Privileges, TreeOptions, TreeWriter, has_content};

fn entry(name: &str, kind: EntryKind) -> Entry {
    let size = u64::from(kind == EntryKind::Regular) * 3;
    let me = fs::metadata("/proc/self").unwrap();
    Entry {
        name: name.as_bytes().into(),
        kind,
        mode: 0o755,
        uid: me.uid(),
        gid: me.gid(),
        size,
        mtime: Time { seconds: 1_600_000_000, nanoseconds: 5 },
        atime: None,
        ctime: None,
        xattrs: Vec::new(),
    }
}

fn link(name: &str, target: &str) -> Entry {
    entry(name, EntryKind::Symlink { target: target.into() })
}

fn hard(name: &str, target: &str) -> Entry {
    entry(name, EntryKind::HardLink { target: target.into() })
}

/// A tree of these entries, and the model of the same.
fn make(entries: &[Entry]) -> Option<(TempDir, Model)> {
    let dir = tempfile::tempdir().unwrap();
    let root = File::open(dir.path()).unwrap();
    let privileges = Privileges::of_process();
    let mut writer = TreeWriter::new(root.as_fd(), TreeOptions::new(privileges));
    let mut model = Model::new(privileges);
    for (number, entry) in entries.iter().enumerate() {
        if has_content(entry) {
            let file = writer.create(entry).ok()?;
            std::io::Write::write_all(&mut file.as_file(), b"abc").unwrap();
            writer.complete(file, entry).ok()?;
        } else {
            writer.make(entry).ok()?;
        }
        model.add(entry, number as u64).unwrap();
    }
    writer.finish().unwrap();
    Some((dir, model))
}

fn compare(dir: &Path, model: &Model) -> Vec<(String, Vec<Aspect>)> {
    let root = File::open(dir).unwrap();
    let found = model.compare(root.as_fd(), Maker::Writer).unwrap();
    found.into_iter().map(|found| (found.path.to_string(), found.aspects)).collect()
}

#[test]
fn every_difference_is_named() {
    let entries = [
        entry("./", EntryKind::Directory),
        entry("a/file", EntryKind::Regular),
        entry("a/gone", EntryKind::Regular),
        entry("a/mode", EntryKind::Regular),
        entry("a/short", EntryKind::Regular),
        entry("a/swapped", EntryKind::Regular),
        hard("b/same", "a/file"),
        link("b/link", "same"),
        entry("b/good", EntryKind::Regular),
    ];
    let (dir, model) = make(&entries).unwrap();
    assert_eq!(compare(dir.path(), &model), []);
    let at = |name: &str| dir.path().join(name);
    fs::remove_file(at("a/gone")).unwrap();
    fs::set_permissions(at("a/mode"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(at("a/short"), "ab").unwrap();
    fs::remove_file(at("a/swapped")).unwrap();
    symlink("file", at("a/swapped")).unwrap();
    fs::remove_file(at("b/same")).unwrap();
    fs::copy(at("a/file"), at("b/same")).unwrap();
    fs::remove_file(at("b/link")).unwrap();
    symlink("other", at("b/link")).unwrap();
    fs::create_dir_all(at("extra/below")).unwrap();
    let found = compare(dir.path(), &model);
    let aspects = |name: &str| {
        let found = found.iter().find(|(path, _)| path == name);
        found.map(|(_, aspects)| aspects.clone()).unwrap_or_default()
    };
    assert_eq!(aspects("a/gone"), [Aspect::Missing]);
    assert_eq!(aspects("a/mode"), [Aspect::Mode]);
    assert_eq!(aspects("a/short"), [Aspect::Size, Aspect::Time]);
    assert_eq!(aspects("a/swapped"), [Aspect::Kind]);
    assert_eq!(aspects("b/same")[0], Aspect::HardLink);
    assert_eq!(aspects("b/link")[0], Aspect::Target);
    assert_eq!(aspects("extra"), [Aspect::Extra]);
    assert_eq!([aspects(""), aspects("a"), aspects("b")], [[Aspect::Time]; 3]);
    assert_eq!(found.len(), 10, "{found:?}");
}

#[test]
fn files_that_are_alike_may_be_one() {
    let mut entries = ["a", "b", "c"].map(|name| entry(name, EntryKind::Regular));
    entries[2].mtime.nanoseconds += 1;
    let (dir, model) = make(&entries).unwrap();
    let link = |name: &str| {
        fs::remove_file(dir.path().join(name)).unwrap();
        fs::hard_link(dir.path().join("a"), dir.path().join(name)).unwrap();
    };
    link("b");
    assert_eq!(compare(dir.path(), &model), []);
    link("c");
    assert_eq!(compare(dir.path(), &model), [("c".into(), vec![Aspect::HardLink])]);
}

#[test]
fn a_name_below_a_link_belongs_where_the_link_leads() {
    let entries = [
        entry("usr/lib", EntryKind::Directory),
        link("lib", "usr/lib"),
        entry("lib/file", EntryKind::Regular),
        link("up", "/lib/../lib"),
        entry("up/other", EntryKind::Regular),
    ];
    let (dir, model) = make(&entries).unwrap();
    assert_eq!(compare(dir.path(), &model), []);
    let path = LayerPath::parse(b"usr/lib/other").unwrap();
    assert_eq!(model.get(&path).unwrap().number, Some(4));
}

#[test]
fn names_that_no_path_can_say_are_left_out() {
    let deep = vec!["d".repeat(250); 15].join("/");
    let long = "x".repeat(200);
    let file = format!("l/{long}/{long}/f");
    let entries = [
        entry(&deep, EntryKind::Directory),
        link("l", &deep),
        entry(&file, EntryKind::Regular),
        hard("other", &file),
        link("m", &"y".repeat(300)),
    ];
    let (dir, model) = make(&entries).unwrap();
    assert_eq!(compare(dir.path(), &model), []);
    let other = LayerPath::parse(b"other").unwrap();
    assert_eq!(model.names_of(&other), [other]);
    let mut model = Model::new(Privileges::of_process());
    for entry in [link("m", &"y".repeat(300)), entry("m/z", EntryKind::Fifo)] {
        model.add(&entry, 0).unwrap();
    }
}

#[test]
fn foreign_attributes_and_access_lists_are_differences() {
    use rustix::fs::{XattrFlags, setxattr};
    let entries = ["a", "b", "c"].map(|name| entry(name, EntryKind::Directory));
    let (dir, model) = make(&entries).unwrap();
    let set = |name: &str, key: &str, value: &[u8]| {
        setxattr(dir.path().join(name), key, value, XattrFlags::empty()).unwrap();
    };
    set("a", "user.containers.override_stat", b"0:0:0755");
    let mut list = 2_u32.to_le_bytes().to_vec();
    for tag in [1_u16, 4, 32] {
        list.extend([tag.to_le_bytes(), 7_u16.to_le_bytes()].concat());
        list.extend(u32::MAX.to_le_bytes());
    }
    set("b", "system.posix_acl_default", &list);
    let expected = ["a", "b"].map(|name| (name.to_owned(), vec![Aspect::Xattrs]));
    assert_eq!(compare(dir.path(), &model), expected);
}

/// Entries over few names, so that they meet each other.
fn any_entry() -> impl Strategy<Value = Entry> {
    let name = prop::collection::vec(
        prop::sample::select(vec!["a", "b", ".wh.a", ".wh.b", ".wh..wh..opq"]),
        1..4,
    );
    let target = prop::collection::vec(prop::sample::select(vec!["a", "b", ".."]), 1..3);
    (name, target, 0..8).prop_map(|(name, target, kind)| {
        let (name, target) = (name.join("/"), target.join("/"));
        match kind {
            0..3 => entry(&name, EntryKind::Directory),
            3 => link(&name, &target),
            4 => hard(&name, &target),
            5 => entry(&name, EntryKind::Fifo),
            _ => entry(&name, EntryKind::Regular),
        }
    })
}

proptest! {
    #[test]
    fn a_model_is_what_a_writer_makes(entries in prop::collection::vec(any_entry(), 1..8)) {
        // What a writer refuses is no layer.
        if let Some((dir, model)) = make(&entries) {
            prop_assert_eq!(compare(dir.path(), &model), []);
        }
    }
}
