//! What a walk reports, and that removing removes.

mod support;

use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;

use storage_core::{Entry, EntryKind};
use support::{Dest, directory, entry, file, hard_link, options, symlink};
use tree::{Privileges, Walk, WalkOptions, remove_tree};

fn names(dest: &Dest, options: WalkOptions) -> Vec<String> {
    Walk::new(dest.fd(), options)
        .unwrap()
        .map(|found| String::from_utf8(found.unwrap().entry.name).unwrap())
        .collect()
}

#[test]
fn names_come_sorted_and_directories_first() {
    let dest = Dest::new();
    dest.make(&[file("b", 1), file("a/z", 1), file("a.", 1), file("a/b/c", 1), file("B", 1)])
        .unwrap();
    let sorted = ["B", "a", "a/b", "a/b/c", "a/z", "a.", "b"];
    assert_eq!(names(&dest, WalkOptions::default()), sorted);
    let mut options = WalkOptions::default();
    options.root_entry = true;
    assert_eq!(names(&dest, options)[0], "./");
}

#[test]
fn what_was_written_is_read() {
    let dest = Dest::new();
    let user = if options().privileges == Privileges::Root { (12, 34) } else { owner(&dest) };
    let xattrs = vec![(b"user.a".to_vec(), b"1".to_vec()), (b"user.b".to_vec(), Vec::new())];
    let entries = [
        Entry { xattrs: xattrs.clone(), ..directory("a", 0o2751) },
        Entry { xattrs, mode: 0o4711, ..file("a/f", 3) },
        Entry { mode: 0o4711, size: 0, ..hard_link("a/g", "a/f") },
        entry("a/p", EntryKind::Fifo),
        Entry { mode: 0o777, ..symlink("a/s", "../nowhere") },
        Entry { mode: 0o777, ..hard_link("t", "a/s") },
    ]
    .map(|entry| Entry { uid: user.0, gid: user.1, ..entry });
    dest.make(&entries).unwrap();
    let found = dest.walk();
    for (found, expected) in found.iter().zip(&entries) {
        let xattrs = match expected.name.as_slice() {
            b"a/g" => entries[1].xattrs.clone(), // of the inode that it shares
            _ => expected.xattrs.clone(),
        };
        assert_eq!(found.entry, Entry { xattrs, ..expected.clone() });
        assert_eq!(found.file.is_some(), expected.kind == EntryKind::Regular);
    }
    assert_eq!(found.len(), entries.len());
}

fn owner(dest: &Dest) -> (u32, u32) {
    use std::os::unix::fs::MetadataExt;
    (dest.stat("").uid(), dest.stat("").gid())
}

#[test]
fn whiteouts_are_read_as_the_entries_that_made_them() {
    let dest = Dest::new();
    let opaque = file(".wh..wh..opq", 0);
    dest.make(&[opaque, file("a/.wh.b", 0), file("a/c", 1), file("d/.wh..wh..opq", 0)]).unwrap();
    assert_eq!(
        names(&dest, WalkOptions::default()),
        [".wh..wh..opq", "a", "a/.wh.b", "a/c", "d", "d/.wh..wh..opq"]
    );
    let mut raw = WalkOptions::default();
    raw.raw = true;
    assert_eq!(names(&dest, raw), ["a", "a/b", "a/c", "d"]);
    let found: Vec<_> = Walk::new(dest.fd(), raw).unwrap().map(Result::unwrap).collect();
    assert_eq!(found[1].entry.kind, EntryKind::CharDevice { major: 0, minor: 0 });
    assert_eq!(found[3].entry.xattrs.len(), 1);
    assert!(dest.walk().iter().all(|found| found.entry.xattrs.is_empty()));
}

#[test]
fn sockets_are_counted() {
    let dest = Dest::new();
    let _socket = std::os::unix::net::UnixListener::bind(dest.path("socket")).unwrap();
    dest.make(&[file("f", 1)]).unwrap();
    let mut walk = Walk::new(dest.fd(), WalkOptions::default()).unwrap();
    assert_eq!(walk.by_ref().count(), 1);
    assert_eq!(walk.skipped_sockets(), 1);
}

#[test]
fn an_attribute_of_the_largest_size_is_read() {
    let dest = Dest::new();
    // What a filesystem takes differs; ext4 has one block for all attributes.
    let sizes = [65_536, 16_384, 3000];
    let size = sizes.into_iter().find(|&size| {
        let big = Entry { xattrs: vec![(b"user.big".to_vec(), vec![b'x'; size])], ..file("f", 1) };
        dest.make(&[big]).is_ok()
    });
    assert_eq!(dest.walk()[0].entry.xattrs[0].1.len(), size.expect("some size is taken"));
}

#[test]
fn a_tree_is_removed_whatever_is_in_it() {
    let (dest, outside) = (Dest::new(), Dest::new());
    std::fs::write(outside.path("kept"), "").unwrap();
    std::fs::create_dir(outside.path("kept.d")).unwrap();
    let target = outside.dir.path().to_str().unwrap();
    dest.make(&[
        file("t/a/b/c", 1),
        directory("t/locked", 0o000),
        file("t/locked/f", 1),
        directory("t/read-only", 0o555),
        file("t/read-only/deeper/f", 1),
        symlink("t/out", target),
        symlink("t/read-only/out", target),
        entry("t/pipe", EntryKind::Fifo),
        file("t/.wh.x", 0),
        file("other", 1),
        symlink("link", target),
    ])
    .unwrap();
    for name in ["t", "link", "missing"] {
        remove_tree(dest.fd(), name.as_bytes()).unwrap();
        assert!(!dest.exists(name));
    }
    assert!(dest.exists("other"));
    assert!(outside.exists("kept") && outside.exists("kept.d"));
}

#[test]
fn paths_longer_than_the_kernel_takes_are_walked_and_removed() {
    let dest = Dest::new();
    let part = "p".repeat(250);
    let mut at = std::fs::File::open(dest.dir.path()).unwrap();
    for _ in 0..20 {
        rustix::fs::mkdirat(at.as_fd(), &part, rustix::fs::Mode::RWXU).unwrap();
        let flags = rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
        at = rustix::fs::openat(&at, &part, flags, rustix::fs::Mode::empty()).unwrap().into();
    }
    let results: Vec<_> = Walk::new(dest.fd(), WalkOptions::default()).unwrap().collect();
    // No layer can name the 17th, so it is an error, and what is in it is not met.
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 16);
    assert_eq!(results.len(), 17);
    remove_tree(dest.fd(), part.as_bytes()).unwrap();
    assert!(!dest.exists(&part));
}

#[test]
fn a_directory_that_cannot_be_read_is_one_error() {
    let dest = Dest::new();
    dest.make(&[file("a/x", 1), file("b/x", 1), file("c", 1)]).unwrap();
    std::fs::set_permissions(dest.path("b"), PermissionsExt::from_mode(0o000)).unwrap();
    let mut names = Vec::new();
    let mut errors = 0;
    for found in Walk::new(dest.fd(), WalkOptions::default()).unwrap() {
        match found {
            Ok(found) => names.push(found.path.to_string()),
            Err(_) => errors += 1,
        }
    }
    match options().privileges {
        // Root reads it all the same.
        Privileges::Root | Privileges::UserNamespace => assert_eq!((names.len(), errors), (5, 0)),
        _ => assert_eq!((names, errors), (vec!["a".into(), "a/x".into(), "c".into()], 1)),
    }
    std::fs::set_permissions(dest.path("b"), PermissionsExt::from_mode(0o700)).unwrap();
}
