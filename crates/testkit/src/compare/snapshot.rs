//! What a tree looks like, without its contents.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fs::Metadata;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::xattr;

/// All names below a directory, and their attributes.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The directory.
    pub top: PathBuf,
    /// By path relative to the top; the top itself is the empty path.
    pub nodes: BTreeMap<Vec<u8>, Node>,
}

/// The attributes of one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// Permission bits, with set-user-id and its like.
    pub mode: u32,
    /// User and group.
    pub owner: (u32, u32),
    /// Seconds and nanoseconds.
    pub mtime: (i64, i64),
    /// Length, of regular files.
    pub size: Option<u64>,
    /// Text, of symbolic links.
    pub link: Option<Vec<u8>>,
    /// Major and minor, of devices.
    pub device: Option<(u32, u32)>,
    /// Where an earlier name (in the order of bytes) is the same inode, that name.
    pub first_name: Option<String>,
    /// Extended attributes.
    pub xattrs: BTreeMap<String, Vec<u8>>,
}

/// Types of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character device 0:0, which for overlay means that the name is deleted.
    Whiteout,
}

impl Snapshot {
    /// Looks at every name below `top`.
    ///
    /// # Errors
    ///
    /// If anything there cannot be read.
    pub fn of(top: &Path) -> Result<Self> {
        let mut snapshot = Self { top: top.to_owned(), nodes: BTreeMap::new() };
        let mut inodes = HashMap::new();
        let mut todo = vec![Vec::new()];
        while let Some(path) = todo.pop() {
            let place = snapshot.place(&path);
            let (node, inode) = look(&place)?;
            if node.kind == Kind::Directory {
                todo.extend(names(&place)?.into_iter().map(|name| join(&path, &name)));
            } else {
                inodes.entry(inode).or_insert_with(Vec::new).push(path.clone());
            }
            snapshot.nodes.insert(path, node);
        }
        snapshot.note_hard_links(inodes.into_values());
        Ok(snapshot)
    }

    /// Where a relative path is.
    pub fn place(&self, path: &[u8]) -> PathBuf {
        if path.is_empty() { self.top.clone() } else { self.top.join(OsStr::from_bytes(path)) }
    }

    fn note_hard_links(&mut self, groups: impl Iterator<Item = Vec<Vec<u8>>>) {
        for mut group in groups {
            group.sort();
            let first = String::from_utf8_lossy(&group[0]).into_owned();
            for path in &group[1..] {
                if let Some(node) = self.nodes.get_mut(path) {
                    node.first_name = Some(first.clone());
                }
            }
        }
    }
}

fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() {
        return name.to_vec();
    }
    [directory, b"/", name].concat()
}

fn names(directory: &Path) -> Result<Vec<Vec<u8>>> {
    let list = || directory.read_dir()?.map(|entry| Ok(entry?.file_name().into_vec())).collect();
    let listed: std::io::Result<_> = list();
    listed.with_context(|| format!("list {}", directory.display()))
}

fn look(place: &Path) -> Result<(Node, (u64, u64))> {
    let meta = place.symlink_metadata().with_context(|| format!("stat {}", place.display()))?;
    let kind = kind_of(&meta);
    let device = matches!(kind, Kind::CharDevice | Kind::BlockDevice)
        .then(|| (rustix::fs::major(meta.rdev()), rustix::fs::minor(meta.rdev())));
    let link = match kind {
        Kind::Symlink => {
            Some(place.read_link().with_context(|| format!("read link {}", place.display()))?)
        }
        _ => None,
    };
    let node = Node {
        kind,
        mode: meta.mode() & 0o7777,
        owner: (meta.uid(), meta.gid()),
        mtime: (meta.mtime(), meta.mtime_nsec()),
        size: (kind == Kind::File).then_some(meta.size()),
        link: link.map(|text| text.into_os_string().into_vec()),
        device,
        first_name: None,
        xattrs: xattr::all(place)?,
    };
    Ok((node, (meta.dev(), meta.ino())))
}

fn kind_of(meta: &Metadata) -> Kind {
    let kind = meta.file_type();
    if kind.is_file() {
        Kind::File
    } else if kind.is_dir() {
        Kind::Directory
    } else if kind.is_symlink() {
        Kind::Symlink
    } else if kind.is_char_device() && meta.rdev() == 0 {
        Kind::Whiteout
    } else if kind.is_char_device() {
        Kind::CharDevice
    } else if kind.is_block_device() {
        Kind::BlockDevice
    } else if kind.is_fifo() {
        Kind::Fifo
    } else {
        Kind::Socket
    }
}
