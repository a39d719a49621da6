//! What a tree looks like, down to every attribute; read without this project's code.

use std::collections::{BTreeMap, HashMap};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// One name of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) path: String,
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    pub(crate) device: u64,
    pub(crate) mtime: (i64, i64),
    pub(crate) link: Option<Vec<u8>>,
    /// First name of the same file.
    pub(crate) same_as: String,
    pub(crate) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(crate) content: Option<Vec<u8>>,
}

/// All names below `root`, and the root as the empty one.
pub(crate) fn list(root: &Path) -> Vec<Found> {
    let mut found = Vec::new();
    let mut first_names = HashMap::new();
    let mut paths = vec![root.to_owned()];
    while let Some(path) = paths.pop() {
        let metadata = path.symlink_metadata().unwrap();
        let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
        if metadata.is_dir() {
            let mut below: Vec<_> =
                path.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
            below.sort();
            below.reverse();
            paths.extend(below);
        }
        let first = first_names.entry(metadata.ino()).or_insert_with(|| name.clone());
        found.push(Found {
            mode: metadata.mode(),
            owner: (metadata.uid(), metadata.gid()),
            device: metadata.rdev(),
            mtime: (metadata.mtime(), metadata.mtime_nsec()),
            link: std::fs::read_link(&path).ok().map(|link| link.as_os_str().as_bytes().into()),
            same_as: first.clone(),
            xattrs: xattrs(&path),
            content: if metadata.is_file() {
                // One without privileges can't read a file of mode 0000.
                std::fs::read(&path).ok()
            } else {
                None
            },
            path: name,
        });
    }
    found
}

fn xattrs(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut names = vec![0; 64 << 10];
    let length = rustix::fs::llistxattr(path, &mut names[..]).unwrap();
    names.truncate(length);
    let names = names.split(|&byte| byte == 0).filter(|name| !name.is_empty());
    names
        .map(|name| {
            let mut value = vec![0; 64 << 10];
            let length = rustix::fs::lgetxattr(path, name, &mut value[..]).unwrap();
            value.truncate(length);
            (name.to_vec(), value)
        })
        .collect()
}

/// What GNU tar makes of a tar stream.
pub(crate) fn list_by_gnu_tar(tar: &[u8]) -> Vec<Found> {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("dest");
    std::fs::create_dir(&root).unwrap();
    let mut child = Command::new("tar")
        .args(["-x", "-p", "--numeric-owner", "--xattrs", "--xattrs-include=*", "-C"])
        .arg(&root)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), tar).unwrap();
    assert!(child.wait().unwrap().success());
    list(&root)
}

/// Compares two trees name by name, so that a failure can be read.
pub(crate) fn assert_same(actual: &[Found], expected: &[Found]) {
    let names = |found: &[Found]| found.iter().map(|f| f.path.clone()).collect::<Vec<_>>();
    assert_eq!(names(actual), names(expected));
    for (actual, expected) in actual.iter().zip(expected) {
        let brief = |found: &Found| Found { content: None, ..found.clone() };
        assert_eq!(brief(actual), brief(expected));
        assert!(actual.content == expected.content, "content of {}", actual.path);
    }
}
