//! GNU tar as the judge: a tree that it unpacked, read and made again by this
//! crate, is packed by it into the same bytes.

mod support;

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use support::{Dest, options};
use tree::{Privileges, TreeWriter, Walk, WalkOptions};

/// Writes a tar with all that a layer can hold; devices and foreign owners only
/// for root, since GNU tar makes them for nobody else.
const PACK: &str = include_str!("layer.py");

fn python(script: &str, argument: &str) -> Vec<u8> {
    let output = Command::new("python3").args(["-c", script, argument]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn unpack(tar: &[u8], into: &Path) {
    let mut child = Command::new("tar")
        .args(["--extract", "--preserve-permissions", "--numeric-owner", "--xattrs"])
        .args([
            "--xattrs-include=*",
            "--delay-directory-restore",
            "--warning=no-timestamp",
            "--warning=no-unknown-keyword",
            "-C",
        ])
        .arg(into)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(tar).unwrap();
    assert!(child.wait().unwrap().success());
}

fn pack(tree: &Path) -> Vec<u8> {
    let output = Command::new("tar")
        .args(["--create", "--sort=name", "--format=pax", "--numeric-owner", "--xattrs"])
        .args(["--xattrs-include=*", "--pax-option=delete=atime,delete=ctime", "-C"])
        .args([tree.as_os_str(), ".".as_ref()])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn copy(from: &Dest, to: &Dest) -> tree::TreeReport {
    let mut options = WalkOptions::default();
    options.root_entry = true;
    let mut writer = TreeWriter::new(to.fd(), self::options());
    for found in Walk::new(from.fd(), options).unwrap() {
        let found = found.unwrap();
        if tree::has_content(&found.entry) {
            let mut content = Vec::new();
            found.file.unwrap().read_to_end(&mut content).unwrap();
            let file = writer.create(&found.entry).unwrap();
            file.as_file().write_all(&content).unwrap();
            writer.complete(file, &found.entry).unwrap();
        } else {
            writer.make(&found.entry).unwrap();
        }
    }
    writer.finish().unwrap()
}

#[test]
fn a_tree_of_gnu_tar_is_made_again_in_every_attribute() {
    let root = options().privileges == Privileges::Root;
    let tar = python(PACK, if root { "root" } else { "user" });
    let (original, copied) = (Dest::new(), Dest::new());
    unpack(&tar, original.dir.path());
    let report = copy(&original, &copied);
    assert!(report.root_entry);
    assert_eq!(report.dropped_xattrs, 0);
    let (expected, actual) = (pack(original.dir.path()), pack(copied.dir.path()));
    // The fixture itself has to be there, or this compares nothing with nothing.
    assert!(expected.len() > 120_000);
    assert!(expected == actual, "{}\n{}", listing(&expected), listing(&actual));
}

fn listing(tar: &[u8]) -> String {
    let mut child = Command::new("tar")
        .args(["--list", "--verbose", "--verbose", "--full-time", "--numeric-owner"])
        .args(["--xattrs", "--xattrs-include=*"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(tar).unwrap();
    String::from_utf8_lossy(&child.wait_with_output().unwrap().stdout).into_owned()
}
