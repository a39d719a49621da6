//! Directory trees in the test's own words.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, lchown, symlink as make_symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};

use crate::dice::Dice;

/// What is at one name: its kind, and attributes that can be added to.
#[derive(Debug, Clone)]
pub struct Node {
    kind: Kind,
    mode: u32,
    owner: (u32, u32),
    mtime: (i64, i64),
    xattrs: BTreeMap<String, Vec<u8>>,
}

#[derive(Debug, Clone)]
enum Kind {
    File { data: Vec<(u64, Vec<u8>)>, length: u64 },
    Directory,
    Symlink(String),
    HardLink(String),
    Device(FileType, u32, u32),
    Fifo,
}

/// Where a node says nothing else: a time that is nobody's "now".
const MTIME: (i64, i64) = (1_700_000_000, 0);

fn node(kind: Kind, mode: u32) -> Node {
    Node { kind, mode, owner: (0, 0), mtime: MTIME, xattrs: BTreeMap::new() }
}

/// A regular file, mode 0644.
pub fn file(content: impl Into<Vec<u8>>) -> Node {
    let content = content.into();
    let length = content.len() as u64;
    node(Kind::File { data: vec![(0, content)], length }, 0o644)
}

/// A regular file with holes around pieces of data at their offsets, mode 0644.
pub fn sparse(length: u64, data: Vec<(u64, Vec<u8>)>) -> Node {
    node(Kind::File { data, length }, 0o644)
}

/// A directory, mode 0755. Parents need not be named: they are such directories.
pub fn directory() -> Node {
    node(Kind::Directory, 0o755)
}

/// A symbolic link.
pub fn symlink(text: &str) -> Node {
    node(Kind::Symlink(text.into()), 0o777)
}

/// Another name of a file that the tree named earlier; it has no attributes of its own.
pub fn hard_link(first: &str) -> Node {
    node(Kind::HardLink(first.into()), 0)
}

/// A character device, mode 0600. 0:0 is overlay's whiteout.
pub fn char_device(major: u32, minor: u32) -> Node {
    node(Kind::Device(FileType::CharacterDevice, major, minor), 0o600)
}

/// A block device, mode 0600.
pub fn block_device(major: u32, minor: u32) -> Node {
    node(Kind::Device(FileType::BlockDevice, major, minor), 0o600)
}

/// A named pipe, mode 0600.
pub fn fifo() -> Node {
    node(Kind::Fifo, 0o600)
}

/// Makes a named pipe at `place`, mode 0600.
///
/// # Errors
///
/// If the name exists, or the filesystem refuses.
pub fn make_fifo(place: &Path) -> std::io::Result<()> {
    Ok(rustix::fs::mknodat(CWD, place, FileType::Fifo, Mode::from_raw_mode(0o600), 0)?)
}

/// Bytes without order, the same for the same seed.
pub fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut dice = Dice::new(seed);
    let mut bytes: Vec<u8> =
        (0..length.div_ceil(8)).flat_map(|_| dice.throw().to_le_bytes()).collect();
    bytes.truncate(length);
    bytes
}

impl Node {
    /// With these permission bits.
    #[must_use]
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// With this user and group.
    #[must_use]
    pub fn owner(mut self, uid: u32, gid: u32) -> Self {
        self.owner = (uid, gid);
        self
    }

    /// Last changed then.
    #[must_use]
    pub fn mtime(mut self, seconds: i64, nanoseconds: i64) -> Self {
        self.mtime = (seconds, nanoseconds);
        self
    }

    /// With this extended attribute, too.
    #[must_use]
    pub fn xattr(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.xattrs.insert(name.into(), value.into());
        self
    }
}

/// Names and what is there, in the order in which they are made.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    nodes: Vec<(String, Node)>,
}

impl Tree {
    /// A tree of nothing but its top.
    pub fn new() -> Self {
        Self::default()
    }

    /// With a node at `path`, in place of what was there.
    #[must_use]
    pub fn with(mut self, path: &str, node: Node) -> Self {
        match self.nodes.iter_mut().find(|(known, _)| known == path) {
            Some(known) => known.1 = node,
            None => self.nodes.push((path.into(), node)),
        }
        self
    }

    /// Makes the tree at `top`, which may exist.
    ///
    /// Directories that are named get their attributes even when they existed.
    ///
    /// # Errors
    ///
    /// If a name exists, except as a directory, or the filesystem refuses an attribute.
    pub fn write(&self, top: &Path) -> Result<()> {
        let parent = directory();
        let mut directories = Vec::new();
        if !top.is_dir() {
            fs::create_dir_all(top).with_context(|| format!("make {}", top.display()))?;
            // As any other directory that nobody named, unless somebody did.
            let named = self.nodes.iter().any(|(path, _)| path == ".");
            directories.extend((!named).then(|| (top.to_owned(), &parent)));
        }
        for (path, node) in &self.nodes {
            let place = top.join(path);
            let parents = make_parents(&place)?;
            directories.extend(parents.into_iter().map(|place| (place, &parent)));
            make(top, &place, node).with_context(|| format!("make {}", place.display()))?;
            if matches!(node.kind, Kind::Directory) {
                directories.push((place, node));
            }
        }
        // What is made inside a directory changes its times: they come last.
        for (place, node) in directories.iter().rev() {
            set_attributes(place, node)
                .with_context(|| format!("attributes of {}", place.display()))?;
        }
        Ok(())
    }
}

/// Makes the directories above a name, and tells which were missing.
fn make_parents(place: &Path) -> Result<Vec<PathBuf>> {
    let above = place.ancestors().skip(1);
    let missing: Vec<PathBuf> =
        above.take_while(|above| !above.is_dir()).map(Path::to_owned).collect();
    for directory in missing.iter().rev() {
        fs::create_dir(directory).with_context(|| format!("make {}", directory.display()))?;
    }
    Ok(missing)
}

fn make(top: &Path, place: &Path, node: &Node) -> Result<()> {
    match &node.kind {
        Kind::File { data, length } => write_file(place, data, *length)?,
        Kind::Directory if place.is_dir() => {}
        Kind::Directory => fs::create_dir(place)?,
        Kind::Symlink(text) => make_symlink(text, place)?,
        Kind::HardLink(first) => return Ok(fs::hard_link(top.join(first), place)?),
        Kind::Device(kind, major, minor) => {
            let device = rustix::fs::makedev(*major, *minor);
            rustix::fs::mknodat(CWD, place, *kind, Mode::empty(), device)?;
        }
        Kind::Fifo => rustix::fs::mknodat(CWD, place, FileType::Fifo, Mode::empty(), 0)?,
    }
    set_attributes(place, node)
}

fn write_file(place: &Path, data: &[(u64, Vec<u8>)], length: u64) -> Result<()> {
    let file = File::create_new(place)?;
    file.set_len(length)?;
    for (offset, bytes) in data {
        file.write_all_at(bytes, *offset)?;
    }
    Ok(())
}

fn set_attributes(place: &Path, node: &Node) -> Result<()> {
    // Only root may give files away; for others what is theirs stays theirs.
    if rustix::process::geteuid().is_root() {
        lchown(place, Some(node.owner.0), Some(node.owner.1))?;
    }
    if !matches!(node.kind, Kind::Symlink(_)) {
        rustix::fs::chmodat(CWD, place, Mode::from_raw_mode(node.mode), AtFlags::empty())?;
    }
    for (name, value) in &node.xattrs {
        rustix::fs::lsetxattr(place, name.as_str(), value, XattrFlags::empty())?;
    }
    let time = Timespec { tv_sec: node.mtime.0, tv_nsec: node.mtime.1 };
    let times = Timestamps { last_access: time, last_modification: time };
    Ok(rustix::fs::utimensat(CWD, place, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}
