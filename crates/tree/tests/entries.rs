//! What becomes of entries, one by one and when they meet.

mod support;

use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;

use storage_core::{Entry, EntryKind, LayerPath, LayerPathError, Time};
use support::{Dest, add, directory, entry, file, hard_link, options, symlink};
use tree::{LinkProblem, Privileges, TreeError, TreeReader, TreeWriter};

fn path(name: &str) -> LayerPath {
    LayerPath::parse(name.as_bytes()).unwrap()
}

#[test]
fn a_missing_parent_is_0755_with_time_zero() {
    let dest = Dest::new();
    dest.make(&[file("a/b/c", 1)]).unwrap();
    for name in ["a", "a/b"] {
        let stat = dest.stat(name);
        assert_eq!((stat.mode() & 0o7777, stat.mtime(), stat.mtime_nsec()), (0o755, 0, 0));
    }
}

#[test]
fn a_parent_may_get_its_entry_later() {
    let dest = Dest::new();
    dest.make(&[file("a/b", 1), directory("a", 0o710), file("a/c", 1)]).unwrap();
    assert_eq!((dest.mode("a"), dest.stat("a").mtime()), (0o710, 1_000_000));
    assert!(dest.exists("a/b") && dest.exists("a/c"));
}

#[test]
fn without_an_entry_the_root_keeps_its_mode() {
    let (without, with) = (Dest::new(), Dest::new());
    let before = without.mode("");
    assert!(!without.make(&[file("a", 1)]).unwrap().root_entry);
    assert_eq!(without.mode(""), before);
    assert!(with.make(&[directory("./", 0o1705), file("a", 1)]).unwrap().root_entry);
    assert_eq!((with.mode(""), with.stat("").mtime()), (0o1705, 1_000_000));
}

#[test]
fn the_root_is_a_directory() {
    for name in ["./", "/", "a/.."] {
        for bad in [file(name, 0), file(name, 1), symlink(name, "x"), hard_link(name, "x")] {
            let error = Dest::new().make(&[file("x", 0), bad]).unwrap_err();
            assert!(matches!(error, TreeError::Root), "{error:?}");
        }
    }
}

#[test]
fn a_parent_that_is_a_link_is_followed_below_the_root() {
    for target in ["usr/lib", "/usr/lib", "../../usr/lib", "./usr/../usr/lib/"] {
        let dest = Dest::new();
        dest.make(&[directory("usr/lib", 0o755), symlink("lib", target), file("lib/x", 3)])
            .unwrap();
        assert_eq!(dest.stat("usr/lib/x").len(), 3, "{target}");
        assert!(dest.stat("lib").is_symlink());
    }
}

#[test]
fn a_parent_that_is_no_directory_is_an_error_of_the_layer() {
    for entries in [
        [file("a", 1), file("a/b", 1)],
        [symlink("a", "nowhere"), file("a/b", 1)],
        [symlink("a", "a"), file("a/b", 1)],
        [symlink("a", "../a"), file("a/b/c", 1)],
    ] {
        let error = Dest::new().make(&entries).unwrap_err();
        assert!(matches!(error, TreeError::Parent { .. }), "{error:?}");
        assert!(error.is_fault_of_the_layer());
    }
}

#[test]
fn names_out_of_the_root_are_refused() {
    for name in ["../x", "a/../../x", "x\0y"] {
        for bad in [file(name, 0), file(name, 1), directory(name, 0o755), hard_link("l", name)] {
            let error = Dest::new().make(&[bad]).unwrap_err();
            assert!(matches!(error, TreeError::Name(_)), "{error:?}");
        }
    }
    assert!(matches!(
        Dest::new().make(&[file(&"x".repeat(256), 0)]),
        Err(TreeError::Name(LayerPathError::TooLong(256)))
    ));
}

#[test]
fn numbers_that_the_kernel_would_misread_are_refused() {
    let x = || file("x", 0);
    let now = Time { seconds: 0, nanoseconds: (1 << 30) - 1 };
    let device = |major, minor| entry("x", EntryKind::CharDevice { major, minor });
    for (expected, bad) in [
        ("uid", Entry { uid: u32::MAX, ..x() }),
        ("gid", Entry { gid: u32::MAX, ..x() }),
        ("mode", Entry { mode: 0o10_644, ..x() }),
        ("number of nanoseconds", Entry { mtime: now, ..x() }),
        ("number of nanoseconds", Entry { atime: Some(now), ..x() }),
        ("major device number", device(4096, 0)),
        ("minor device number", device(1, 1 << 20)),
    ] {
        match Dest::new().make(&[bad]) {
            Err(TreeError::Field { field, .. }) => assert_eq!(field, expected),
            other => panic!("{expected}: {other:?}"),
        }
    }
}

#[test]
fn an_entry_takes_the_place_of_another() {
    let dest = Dest::new();
    dest.make(&[
        file("file-file", 1),
        file("file-file", 2),
        file("file-directory", 1),
        directory("file-directory/", 0o755),
        file("file-directory/x", 1),
        file("directory-file/x/y", 1),
        file("directory-file", 4),
        directory("directory-directory", 0o700),
        file("directory-directory/x", 5),
        directory("directory-directory", 0o711),
        directory("directory-link/x", 0o755),
        symlink("directory-link", "file-file"),
        symlink("link-directory", "directory-directory"),
        directory("link-directory", 0o755),
        entry("pipe-file", EntryKind::Fifo),
        file("pipe-file", 6),
        file("file-pipe", 1),
        entry("file-pipe", EntryKind::Fifo),
    ])
    .unwrap();
    assert_eq!(dest.stat("file-file").len(), 2);
    assert!(dest.stat("file-directory/x").is_file());
    assert_eq!(dest.stat("directory-file").len(), 4);
    assert_eq!(dest.mode("directory-directory"), 0o711);
    assert_eq!(dest.stat("directory-directory/x").len(), 5);
    assert!(dest.stat("directory-link").is_symlink());
    assert!(dest.stat("link-directory").is_dir());
    assert!(!dest.exists("link-directory/x"));
    assert_eq!(dest.stat("pipe-file").len(), 6);
    assert_eq!(dest.mode("file-pipe"), 0o644);
}

#[test]
fn a_replaced_file_keeps_its_other_name() {
    let dest = Dest::new();
    dest.make(&[file("a", 1), hard_link("b", "a"), file("a", 2), symlink("c", "b"), file("c", 3)])
        .unwrap();
    assert_eq!((dest.stat("a").len(), dest.stat("b").len(), dest.stat("c").len()), (2, 1, 3));
}

#[test]
fn a_path_that_changes_its_meaning_is_resolved_anew() {
    let dest = Dest::new();
    dest.make(&[
        symlink("lib", "one"),
        directory("one", 0o755),
        file("lib/x", 1),
        symlink("lib", "two"),
        directory("two", 0o755),
        file("lib/x", 2),
        directory("lib", 0o755),
        file("lib/x", 3),
        file("d/x", 1),
        file("d", 1),
        directory("d", 0o755),
        file("d/y", 1),
    ])
    .unwrap();
    assert_eq!(
        [dest.stat("one/x").len(), dest.stat("two/x").len(), dest.stat("lib/x").len()],
        [1, 2, 3]
    );
    assert!(dest.exists("d/y") && !dest.exists("d/x"));
}

#[test]
fn directories_get_their_times_however_they_are_reached() {
    let dest = Dest::new();
    let times =
        |name, seconds| Entry { mtime: Time { seconds, nanoseconds: 0 }, ..directory(name, 0o755) };
    dest.make(&[
        symlink("lib", "usr/lib"),
        times("usr/lib", 100),
        times("lib/deep", 200),
        file("lib/deep/x", 1),
        times("lib", 300),
        file("lib/y", 1),
    ])
    .unwrap();
    let mtime = |name| dest.stat(name).mtime();
    assert_eq!([mtime("usr/lib"), mtime("usr/lib/deep"), mtime("lib")], [100, 200, 300]);
}

#[test]
fn a_hard_link_shares_the_inode_and_gives_its_attributes() {
    let dest = Dest::new();
    let link = Entry {
        mode: 0o4750,
        mtime: Time { seconds: 7, nanoseconds: 8 },
        ..hard_link("d/b", "./a")
    };
    dest.make(&[file("a", 5), link, symlink("s", "a"), hard_link("t", "s")]).unwrap();
    assert_eq!(dest.stat("a").ino(), dest.stat("d/b").ino());
    assert_eq!((dest.mode("a"), dest.stat("a").mtime(), dest.stat("a").len()), (0o4750, 7, 5));
    assert!(dest.stat("t").is_symlink());
    assert_eq!(dest.stat("t").ino(), dest.stat("s").ino());
}

#[test]
fn a_hard_link_to_itself_changes_nothing() {
    let dest = Dest::new();
    dest.make(&[
        file("d/a", 5),
        hard_link("d/a", "d/a"),
        symlink("l", "d"),
        hard_link("l/a", "d/a"),
    ])
    .unwrap();
    assert_eq!((dest.stat("d/a").len(), dest.stat("d/a").nlink()), (5, 1));
}

#[test]
fn a_hard_link_needs_a_target() {
    for (expected, before, target) in [
        (LinkProblem::Missing, file("x", 1), "a"),
        (LinkProblem::Missing, file("x", 1), "x/a"),
        (LinkProblem::Missing, file("x", 1), "no/a"),
        (LinkProblem::Missing, file("l/x", 1), "l/x"),
        (LinkProblem::Directory, directory("a", 0o755), "a"),
        (LinkProblem::Directory, directory("a", 0o755), "./"),
        (LinkProblem::Whiteout, file(".wh.a", 0), "a"),
    ] {
        match Dest::new().make(&[before, hard_link("l", target)]) {
            Err(TreeError::Link { problem, .. }) => assert_eq!(problem, expected),
            other => panic!("{target}: {other:?}"),
        }
    }
}

#[test]
fn a_hard_link_does_not_reach_through_a_link_out_of_the_root() {
    let (dest, outside) = (Dest::new(), Dest::new());
    std::fs::write(outside.path("secret"), "secret").unwrap();
    let target = outside.dir.path().to_str().unwrap();
    let error = dest.make(&[symlink("l", target), hard_link("x", "l/secret")]).unwrap_err();
    assert!(matches!(error, TreeError::Link { problem: LinkProblem::Missing, .. }), "{error:?}");
    assert_eq!(outside.stat("secret").nlink(), 1);
}

#[test]
fn whiteouts_become_devices_and_attributes() {
    let dest = Dest::new();
    let gone = Entry { size: 3, ..file("a/.wh.gone", 0) };
    let report = dest
        .make(&[gone, file("b/.wh..wh..opq", 0), file(".wh..wh.plnk/1.2", 0), file(".wh..wh.x", 9)])
        .unwrap();
    assert!(dest.is_whiteout("a/gone"));
    assert_eq!(dest.stat("a/gone").mtime(), 1_000_000);
    assert!(dest.is_opaque("b") && !dest.is_opaque("a"));
    assert_eq!(report.skipped_markers, 2);
    assert_eq!(std::fs::read_dir(dest.dir.path()).unwrap().count(), 2);
}

#[test]
fn a_whiteout_and_what_stands_in_its_place_come_in_any_order() {
    let [a, b] = [[0, 1], [1, 0]].map(|order| {
        let dest = Dest::new();
        for [whiteout, other] in [
            [file(".wh.file", 0), file("file", 3)],
            [file(".wh.directory", 0), directory("directory", 0o711)],
            [file(".wh.implied", 0), file("implied/x", 0)],
            [file(".wh.link", 0), symlink("link", "file")],
        ] {
            let pair = [whiteout, other];
            dest.make(&order.map(|index| pair[index].clone())).unwrap();
        }
        dest
    });
    for dest in [a, b] {
        assert_eq!(dest.stat("file").len(), 3);
        assert!(dest.is_opaque("directory") && dest.is_opaque("implied"));
        assert_eq!(dest.mode("directory"), 0o711);
        assert!(dest.exists("implied/x"));
        assert!(dest.stat("link").is_symlink());
    }
}

#[test]
fn whiteouts_below_a_whiteout_say_nothing_new() {
    let dest = Dest::new();
    dest.make(&[
        file(".wh.a", 0),
        file("a/.wh.b", 0),
        file("a/b/.wh.c", 0),
        file("a/.wh..wh..opq", 0),
        file(".wh.a", 0),
    ])
    .unwrap();
    assert!(dest.is_whiteout("a"));
}

#[test]
fn improper_whiteouts_are_refused() {
    for name in [".wh.", ".wh..", ".wh...", "a/.wh...", ".wh.a/b"] {
        for size in [0, 1] {
            let error = Dest::new().make(&[file(name, size)]).unwrap_err();
            assert!(matches!(error, TreeError::WhiteoutName(_)), "{name} {error:?}");
        }
    }
    let null = entry("x", EntryKind::CharDevice { major: 0, minor: 0 });
    assert!(matches!(Dest::new().make(&[null]), Err(TreeError::WhiteoutDevice(_))));
    // Only character devices are whiteouts.
    let block = entry("x", EntryKind::BlockDevice { major: 0, minor: 0 });
    Dest::new().make(&[block]).unwrap();
}

#[test]
fn private_attributes_are_counted_and_not_stored() {
    let keys = ["security.selinux", "trusted.overlay.redirect", "user.keep", "user.overlay.opaque"];
    let xattrs: Vec<_> = keys.iter().map(|key| (key.as_bytes().to_vec(), b"y".to_vec())).collect();
    let dest = Dest::new();
    let report = dest
        .make(&[
            Entry { xattrs: xattrs.clone(), ..file("f", 1) },
            Entry { xattrs, ..directory("d", 0o755) },
        ])
        .unwrap();
    assert_eq!(report.dropped_xattrs, 6);
    for name in ["f", "d"] {
        assert_eq!(dest.xattr(name, "user.keep").as_deref(), Some(&b"y"[..]));
        assert_eq!(dest.xattr(name, "user.overlay.opaque"), None);
        assert_eq!(dest.xattr(name, "trusted.overlay.redirect"), None);
    }
}

#[test]
fn a_refused_attribute_is_an_error_that_names_it() {
    // The kernel takes no such name.
    let key = format!("user.{}", "k".repeat(300));
    let odd = Entry { xattrs: vec![(key.clone().into_bytes(), b"1".to_vec())], ..file("a/f", 1) };
    let error = Dest::new().make(&[odd]).unwrap_err();
    assert_eq!(error.to_string(), format!("set extended attribute {key:?} of a/f"));
    assert!(!error.is_fault_of_the_layer());
}

#[test]
fn default_access_lists_are_not_inherited_by_the_layers_own_files() {
    let acl = access_list(0);
    let key = "system.posix_acl_default";
    let shared = Entry { xattrs: vec![(key.into(), acl.clone())], ..directory("d", 0o755) };
    let dest = Dest::new();
    dest.make(&[shared, file("d/f", 1), directory("d/e", 0o700)]).unwrap();
    assert_eq!(dest.xattr("d", key), Some(acl));
    assert_eq!(dest.xattr("d/f", "system.posix_acl_access"), None);
    assert_eq!(dest.xattr("d/e", key), None);
    assert_eq!((dest.mode("d"), dest.mode("d/f"), dest.mode("d/e")), (0o755, 0o644, 0o700));
}

/// All rights for the owner, a user, the group and others, as the kernel keeps them.
fn access_list(user: u32) -> Vec<u8> {
    let tags: [(u16, u32); 5] =
        [(0x01, u32::MAX), (0x02, user), (0x04, u32::MAX), (0x10, u32::MAX), (0x20, u32::MAX)];
    let mut acl = 2_u32.to_le_bytes().to_vec();
    for (tag, id) in tags {
        acl.extend(tag.to_le_bytes());
        acl.extend(7_u16.to_le_bytes());
        acl.extend(id.to_le_bytes());
    }
    acl
}

#[test]
fn access_lists_that_wait_take_room_once_and_have_a_bound() {
    let key = "system.posix_acl_default";
    let with =
        |name: String, list| Entry { xattrs: vec![(key.into(), list)], ..directory(&name, 0o755) };
    let dest = Dest::new();
    let (long, same) = (vec![7; 60 << 10], access_list(5));
    let equal = (0..100).map(|n| with(format!("e{n}"), same.clone()));
    let different = (0..100_u8).map(|n| with(format!("d{n}"), [&long[..], &[n]].concat()));
    let error = dest.make(&equal.chain(different).collect::<Vec<_>>()).unwrap_err();
    assert!(matches!(error, TreeError::AccessLists(_)), "{error}");
    assert!(error.is_fault_of_the_layer());
    // Where there is room for one of them, there is for a thousand like it.
    let dest = Dest::new();
    let entries: Vec<Entry> = (0..1000).map(|n| with(format!("e{n}"), long.clone())).collect();
    let error = dest.make(&entries).unwrap_err();
    assert!(matches!(error, TreeError::Xattr { .. }), "the kernel's word: {error}");
}

#[test]
fn times_of_access_are_set_and_survive_reading() {
    let dest = Dest::new();
    let atime = Some(Time { seconds: 5, nanoseconds: 6 });
    dest.make(&[Entry { atime, ..file("f", 1) }, Entry { atime, ..directory("d", 0o755) }])
        .unwrap();
    let mut reader = TreeReader::new(dest.fd());
    let mut content = String::new();
    reader.open(&path("f")).unwrap().read_to_string(&mut content).unwrap();
    for name in ["f", "d"] {
        assert_eq!((dest.stat(name).atime(), dest.stat(name).atime_nsec()), (5, 6), "{name}");
    }
}

#[test]
fn owners_are_those_of_the_entries_where_that_is_possible() {
    let dest = Dest::new();
    let owned = |entry| Entry { uid: 12, gid: 34, ..entry };
    let entries = [
        directory("d", 0o2755),
        file("d/f", 1),
        symlink("d/s", "f"),
        entry("d/p", EntryKind::Fifo),
        file("d/.wh.w", 0),
    ];
    let implied = file("implied/x", 1);
    let privileges = options().privileges;
    if privileges == Privileges::UserNamespace {
        return dest.make(&[implied]).map(drop).unwrap(); // 12 need not be mapped
    }
    dest.make(&entries.map(owned)).unwrap();
    dest.make(&[owned(implied)]).unwrap();
    let me = std::fs::metadata("/proc/self").unwrap();
    for name in ["d", "d/f", "d/s", "d/p", "d/w", "implied/x"] {
        let stat = dest.stat(name);
        let expected = match privileges {
            Privileges::Root => (12, 34),
            _ => (me.uid(), me.gid()),
        };
        assert_eq!((stat.uid(), stat.gid()), expected, "{name}");
    }
    assert_eq!(dest.stat("implied").uid(), me.uid());
}

#[test]
fn devices_are_made_or_counted() {
    let dest = Dest::new();
    let null =
        Entry { mode: 0o666, ..entry("dev/null", EntryKind::CharDevice { major: 1, minor: 3 }) };
    let zero = Entry { mode: 0o666, ..hard_link("dev/zero", "dev/null") };
    let loop0 = entry("dev/loop", EntryKind::BlockDevice { major: 7, minor: 0x1_2345 });
    let entries = [file("dev/loop", 1), null, loop0, zero];
    let report = dest.make(&entries).unwrap();
    if options().privileges == Privileges::Root {
        assert_eq!(report.skipped_devices, 0);
        let (null, loop0) = (dest.stat("dev/null"), dest.stat("dev/loop"));
        assert_eq!((null.mode(), null.nlink()), (0o020_666, 2));
        assert_eq!(null.rdev(), rustix::fs::makedev(1, 3));
        assert_eq!(loop0.rdev(), rustix::fs::makedev(7, 0x1_2345));
    } else {
        assert_eq!(report.skipped_devices, 3);
        assert_eq!(std::fs::read_dir(dest.path("dev")).unwrap().count(), 0);
    }
}

#[test]
fn less_privileged_writers_leave_devices_and_their_links_out() {
    let mine = options().privileges;
    for privileges in [mine, Privileges::UserNamespace, Privileges::Unprivileged] {
        if privileges == Privileges::Root || mine == Privileges::Unprivileged && privileges != mine
        {
            continue; // one makes devices, the other wants to change owners
        }
        let dest = Dest::new();
        let options = tree::TreeOptions::new(privileges);
        let mut writer = TreeWriter::new(dest.fd(), options);
        let null = entry("null", EntryKind::CharDevice { major: 1, minor: 3 });
        for entry in [null, hard_link("zero", "null"), hard_link("one", "zero"), file(".wh.x", 0)] {
            writer.make(&entry).unwrap();
        }
        assert_eq!(writer.finish().unwrap().skipped_devices, 3);
        assert!(dest.is_whiteout("x"));
        assert_eq!(std::fs::read_dir(dest.dir.path()).unwrap().count(), 1);
    }
}

#[test]
fn only_regular_files_are_opened() {
    let dest = Dest::new();
    let mut writer = dest.writer();
    for entry in [
        file("f", 2),
        symlink("s", "f"),
        entry("p", EntryKind::Fifo),
        directory("d", 0o755),
        file(".wh.w", 0),
        symlink("l", "d"),
        file("d/f", 3),
    ] {
        add(&mut writer, &entry).unwrap();
    }
    let mut reader = TreeReader::new(dest.fd());
    for name in ["s", "p", "d", "w", ""] {
        assert!(matches!(writer.open(&path(name)), Err(TreeError::NotRegular(_))), "{name}");
        assert!(matches!(reader.open(&path(name)), Err(TreeError::NotRegular(_))), "{name}");
        assert!(matches!(writer.reopen(&path(name)), Err(TreeError::NotRegular(_))), "{name}");
    }
    assert_eq!(reader.open(&path("f")).unwrap().metadata().unwrap().len(), 2);
    assert_eq!(reader.open(&path("l/f")).unwrap().metadata().unwrap().len(), 3);
    assert!(matches!(reader.open(&path("none")), Err(TreeError::Fs(_))));
    assert!(matches!(reader.open(&path("f/x")), Err(TreeError::Parent { .. })));
}

#[test]
fn a_reader_sees_directories_that_were_replaced() {
    let dest = Dest::new();
    let mut writer = dest.writer();
    let mut reader = TreeReader::new(dest.fd());
    add(&mut writer, &file("d/x", 1)).unwrap();
    assert_eq!(reader.open(&path("d/x")).unwrap().metadata().unwrap().len(), 1);
    for entry in [file("d", 1), directory("d", 0o755), file("d/y", 2)] {
        add(&mut writer, &entry).unwrap();
    }
    assert_eq!(reader.open(&path("d/y")).unwrap().metadata().unwrap().len(), 2);
}

#[test]
fn a_closed_file_is_opened_again_and_completed() {
    let dest = Dest::new();
    let mut writer = dest.writer();
    let entry = Entry { mode: 0o4555, ..file("d/f", 5) };
    let new = writer.create(&entry).unwrap();
    assert_eq!((dest.mode("d/f") & 0o7700, new.path()), (0o700, &path("d/f")));
    drop(new);
    let again = writer.reopen(&path("d/f")).unwrap();
    again.as_file().write_all(b"12345").unwrap();
    writer.complete(again, &entry).unwrap();
    writer.finish().unwrap();
    assert_eq!((dest.mode("d/f"), dest.stat("d/f").mtime()), (0o4555, 1_000_000));
    assert_eq!(std::fs::read(dest.path("d/f")).unwrap(), b"12345");
}

#[test]
fn content_is_written_by_those_who_have_it() {
    let dest = Dest::new();
    let mut writer = dest.writer();
    assert!(matches!(writer.make(&file("f", 1)), Err(TreeError::HasContent(_))));
    for entry in [directory("f", 0o755), symlink("f", "x"), file(".wh.f", 1)] {
        assert!(!tree::has_content(&entry));
        assert!(matches!(writer.create(&entry), Err(TreeError::NotRegular(_))));
    }
    assert!(tree::has_content(&file("f", 1)) && !tree::has_content(&file("f", 0)));
}

#[test]
fn symbolic_links_hold_any_text_that_a_filesystem_holds() {
    let dest = Dest::new();
    let long = "x/".repeat(500);
    dest.make(&[symlink("a", &long), symlink("b", "../../etc")]).unwrap();
    assert_eq!(std::fs::read_link(dest.path("a")).unwrap().as_os_str().len(), 1000); // xfs takes 1023
    for bad in ["", "a\0b", &"x".repeat(4096)] {
        let error = dest.make(&[symlink("c", bad)]).unwrap_err();
        assert!(matches!(error, TreeError::SymlinkTarget(_)), "{error:?}");
    }
}
