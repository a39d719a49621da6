//! Archives made by others, and ours read by others: GNU tar and Python's tarfile.

#[path = "../common/mod.rs"]
mod common;
mod python;

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use common::{Apart, exact, file, round_trip, tar_of};
use storage_core::{Entry, EntryKind, Time};
use tarball::{Limits, TarError};

/// Our entries and contents, and what Python sees in the same archive.
fn assert_same_as_python(tar: &[u8], apart: &Apart) {
    let ours: Vec<_> = apart.entries.iter().zip(&apart.contents).collect();
    let theirs = python::list(tar);
    assert_eq!(ours.len(), theirs.len());
    for ((entry, content), theirs) in ours.into_iter().zip(theirs) {
        assert_eq!(python::listed(entry, content), theirs);
    }
}

#[test]
fn archives_of_python() {
    let dir = tempfile::tempdir().unwrap();
    for format in ["ustar", "gnu", "pax"] {
        let path = dir.path().join(format);
        python::make(format, &path);
        let tar = fs::read(&path).unwrap();
        let apart = round_trip(&tar);
        assert!(apart.entries.len() > 15);
        assert_same_as_python(&tar, &apart);
    }
}

/// A tree that even the oldest format can hold.
fn small_tree(root: &Path) {
    fs::create_dir_all(root.join("dir/sub")).unwrap();
    for size in [0, 1, 511, 512, 513, 70_000] {
        fs::write(root.join(format!("dir/{size}")), vec![b'x'; size]).unwrap();
    }
    fs::set_permissions(root.join("dir/1"), fs::Permissions::from_mode(0o6711)).unwrap();
    symlink("dir/1", root.join("symlink")).unwrap();
    fs::hard_link(root.join("dir/1"), root.join("hard")).unwrap();
    let exact = Time { seconds: 2_000_000_000, nanoseconds: 123_456_789 };
    set_mtime(&root.join("dir/511"), exact);
}

/// Names, links and times that need extensions.
fn large_tree(root: &Path) {
    small_tree(root);
    let long = "n".repeat(200);
    fs::write(root.join(&long), "long").unwrap();
    symlink(&long, root.join("to-long")).unwrap();
    fs::hard_link(root.join(&long), root.join("hard-long")).unwrap();
    fs::create_dir_all(root.join("d".repeat(120)).join("e".repeat(120))).unwrap();
    fs::write(root.join("é<&>"), "not ascii").unwrap();
    fs::write(root.join("before-1970"), "").unwrap();
    set_mtime(&root.join("before-1970"), Time { seconds: -10, nanoseconds: 0 });
}

fn set_mtime(path: &Path, time: Time) {
    let at = format!("--date=@{}.{:09}", time.seconds, time.nanoseconds);
    assert!(Command::new("touch").arg(at).arg(path).status().unwrap().success());
}

fn gnu_tar(root: &Path, options: &[&str]) -> Vec<u8> {
    let mut tar = Command::new("tar");
    let output = tar.args(options).args(["--create", "--sort=name", "-C"]).arg(root).arg(".");
    let output = output.output().expect("tar starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn archives_of_gnu_tar() {
    let (small, large) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    small_tree(small.path());
    large_tree(large.path());
    for (root, format) in
        [(&small, "v7"), (&small, "ustar"), (&large, "oldgnu"), (&large, "gnu"), (&large, "posix")]
    {
        for blocks in ["--blocking-factor=1", "--blocking-factor=20", "--blocking-factor=4500"] {
            let tar = gnu_tar(root.path(), &[&format!("--format={format}"), blocks]);
            let apart = round_trip(&tar);
            assert!(apart.entries.len() > 9);
            assert_same_as_python(&tar, &apart);
        }
    }
}

#[test]
fn incremental_archives_of_gnu_tar_are_refused() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("file"), "content").unwrap();
    let snapshot = tempfile::NamedTempFile::new().unwrap();
    let incremental = format!("--listed-incremental={}", snapshot.path().display());
    let tar = gnu_tar(root.path(), &["--format=gnu", &incremental]);
    // Its directories are of a type with the list of their files as content.
    let error = common::take_apart(&tar[..], Limits::default()).unwrap_err();
    assert!(matches!(error, TarError::UnsupportedType { flag: b'D', .. }), "{error}");
}

#[test]
fn sparse_archives_of_gnu_tar_are_refused_by_name() {
    let root = tempfile::tempdir().unwrap();
    let sparse = File::create(root.path().join("sparse")).unwrap();
    sparse.set_len(1 << 20).unwrap();
    for options in [
        &["--format=gnu"][..],
        &["--format=posix", "--sparse-version=0.0"],
        &["--format=posix", "--sparse-version=0.1"],
        &["--format=posix", "--sparse-version=1.0"],
    ] {
        let tar = gnu_tar(root.path(), &[options, &["--sparse"]].concat());
        match common::take_apart(&tar[..], Limits::default()) {
            Err(TarError::Sparse { name }) => assert!(name.ends_with(b"/sparse")),
            other => panic!("{other:?}"),
        }
    }
}

/// Entries with everything that needs a PAX header, and some that need none.
fn odd_entries() -> Vec<(Entry, Vec<u8>)> {
    let target = |target: &str| target.as_bytes().to_vec();
    let of = |name: &str, kind| Entry { kind, ..file(name) };
    let mut entries = vec![
        of("./", EntryKind::Directory),
        Entry { mode: 0o7777, ..of("dir/", EntryKind::Directory) },
        of("symlink", EntryKind::Symlink { target: target("é") }),
        of("to-long", EntryKind::Symlink { target: target(&"t".repeat(101)) }),
        of("hard", EntryKind::HardLink { target: target("dir") }),
        of("null", EntryKind::CharDevice { major: 1, minor: 3 }),
        of("sda1", EntryKind::BlockDevice { major: 8, minor: 0o777_7777 }),
        of("fifo", EntryKind::Fifo),
        file(&"n".repeat(100)),
        file(&"n".repeat(101)),
        file(&format!("{}/{}", "p".repeat(155), "n".repeat(100))),
        file(&format!("{}/{}", "p".repeat(156), "n".repeat(100))),
        file("日本語"),
        Entry { name: b"\xff\xfe".to_vec(), ..file("") },
        Entry { uid: 2_097_151, gid: 2_097_151, ..file("largest-octal") },
        Entry { uid: 2_097_152, gid: u32::MAX - 1, ..file("large-ids") },
        Entry { mtime: Time { seconds: -2, nanoseconds: 500_000_000 }, ..file("before") },
        Entry { mtime: Time { seconds: 0o777_7777_7777, nanoseconds: 0 }, ..file("last") },
        Entry { mtime: Time { seconds: 1 << 33, nanoseconds: 1 }, ..file("after") },
        Entry {
            atime: Some(Time { seconds: 7, nanoseconds: 0 }),
            ctime: Some(Time { seconds: 8, nanoseconds: 90 }),
            ..file("times")
        },
        Entry {
            xattrs: vec![
                (b"user.a".to_vec(), b"\0=\n\xff".to_vec()),
                (b"user.b".to_vec(), vec![1]),
            ],
            ..file("attributes")
        },
    ];
    entries.sort_by_key(|entry| entry.kind != EntryKind::Directory);
    let with = |(index, entry): (usize, Entry)| match entry.kind {
        EntryKind::Regular => {
            let content = vec![b'c'; index * 97];
            (Entry { size: content.len() as u64, ..entry }, content)
        }
        _ => (entry, Vec::new()),
    };
    entries.into_iter().enumerate().map(with).collect()
}

#[test]
fn python_reads_our_archives() {
    let entries = odd_entries();
    let tar = tar_of(&entries, exact());
    let theirs = python::list(&tar);
    assert_eq!(theirs.len(), entries.len());
    for ((entry, content), theirs) in entries.iter().zip(theirs) {
        assert_eq!(python::listed(entry, content), theirs);
    }
}

#[test]
fn gnu_tar_reads_our_archives() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ours.tar");
    let entries = odd_entries();
    fs::write(&path, tar_of(&entries, exact())).unwrap();
    let mut tar = Command::new("tar");
    tar.env("TZ", "UTC").env("LC_ALL", "C").args([
        "--list",
        "--verbose",
        "--numeric-owner",
        "--full-time",
        "--quoting-style=escape",
        "--file",
    ]);
    let output = tar.arg(&path).output().expect("tar starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stderr.is_empty(), "{stderr}");
    let listing = String::from_utf8(output.stdout).unwrap();
    assert_eq!(listing.lines().count(), entries.len());
    let line = |name: &str| {
        let found = listing.lines().find(|line| line.ends_with(&format!(" {name}")));
        found.unwrap_or_else(|| panic!("{name} in:\n{listing}"))
    };
    assert!(line("large-ids").contains("2097152/4294967294"));
    assert!(line("after").contains("2242-03-16 12:56:32.000000001"));
    assert!(line("null").starts_with("crw-r--r-- 0/0 ") && line("null").contains(" 1,3 "));
    assert!(line("dir/").starts_with("drwsrwsrwt"));
    assert!(line("hard link to dir").contains(" hard link to dir"));
    assert!(line(r"\377\376").starts_with('-'));
    assert!(line(&format!("{}/{}", "p".repeat(156), "n".repeat(100))).starts_with('-'));
    line(&format!("to-long -> {}", "t".repeat(101)));
}

#[test]
fn gnu_tar_extracts_what_we_wrote() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ours.tar");
    let mut entries = odd_entries();
    entries.retain(|(entry, _)| entry.kind == EntryKind::Regular);
    fs::write(&path, tar_of(&entries, exact())).unwrap();
    let out = dir.path().join("out");
    fs::create_dir(&out).unwrap();
    let mut tar = Command::new("tar");
    let options = ["--extract", "--no-same-owner", "--warning=no-timestamp", "-C"];
    let status = tar.args(options).arg(&out).arg("-f").arg(&path);
    assert!(status.status().expect("tar starts").success());
    for (entry, content) in &entries {
        let name = std::str::from_utf8(&entry.name);
        let Ok(name) = name else { continue };
        assert_eq!(&fs::read(out.join(name)).unwrap(), content, "{name}");
        let is = fs::metadata(out.join(name)).unwrap();
        let mtime = (is.mtime(), is.mtime_nsec());
        let expected = (entry.mtime.seconds, i64::from(entry.mtime.nanoseconds));
        assert_eq!(mtime, expected, "{name}");
    }
}

#[test]
fn archives_of_git_begin_with_a_global_header() {
    let dir = tempfile::tempdir().unwrap();
    let git = |arguments: &[&str]| {
        let mut git = Command::new("git");
        git.current_dir(dir.path()).env("HOME", dir.path()).args([
            "-c",
            "user.name=a",
            "-c",
            "user.email=a@example.org",
        ]);
        let output = git.args(arguments).output().expect("git starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    git(&["init", "--quiet", "."]);
    fs::write(dir.path().join("file"), "content").unwrap();
    git(&["add", "file"]);
    git(&["commit", "--quiet", "--message=first"]);
    let tar = git(&["archive", "--format=tar", "--prefix=project/", "HEAD"]);
    let apart = round_trip(&tar);
    assert_eq!(apart.globals, [b"pax_global_header"]);
    let names: Vec<_> = apart.entries.iter().map(|entry| &entry.name[..]).collect();
    assert_eq!(names, [&b"project/"[..], b"project/file"]);
    // As Go does it: its readers expect the padding with the next header.
    assert_eq!(apart.raw[0].len(), 512 + 52);
}
