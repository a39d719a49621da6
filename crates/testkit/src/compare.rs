//! Two directory trees, compared in every attribute that a layer carries.
//!
//! Type, mode, owner, modification time to the nanosecond, extended
//! attributes, link text, device numbers, content, and which names are one
//! inode. Sizes of directories, times of access and change, and inode numbers
//! belong to the filesystem and are not looked at.

mod snapshot;
mod whiteout;

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

pub use snapshot::{Kind, Node, Snapshot};

/// What may differ without being a difference.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// How the reference tree speaks of deleted names.
    pub whiteouts: Whiteouts,
    /// Leave the attributes of the top directory out, for layers without an entry for it.
    pub ignore_top: bool,
}

/// How deleted names stand in the reference tree.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Whiteouts {
    /// Nothing is translated.
    #[default]
    AsFound,
    /// `.wh.NAME` and `.wh..wh..opq`, as in a layer's tar. The other tree must
    /// have a 0:0 character device NAME and `trusted.overlay.opaque` instead.
    Aufs,
}

/// One thing that is not alike in two trees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The name, relative to the top.
    pub path: PathBuf,
    /// What about it.
    pub what: What,
}

/// The kinds of differences.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Only the reference tree has the name.
    Missing,
    /// Only the other tree has the name.
    Extra,
    /// An attribute differs.
    Attribute {
        /// Which one.
        name: &'static str,
        /// Its value in the reference tree.
        reference: String,
        /// Its value in the other tree.
        subject: String,
    },
    /// The content differs, first at this offset.
    Content(u64),
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.path.display())?;
        match &self.what {
            What::Missing => write!(f, "missing"),
            What::Extra => write!(f, "not in the reference"),
            What::Content(at) => write!(f, "content differs at byte {at}"),
            What::Attribute { name, reference, subject } => {
                write!(f, "{name} is {subject}, not {reference}")
            }
        }
    }
}

/// Compares `subject` with `reference`, and names every difference.
///
/// # Errors
///
/// If either tree cannot be read.
pub fn trees(reference: &Path, subject: &Path, options: &Options) -> Result<Vec<Difference>> {
    let mut expected = Snapshot::of(reference)?;
    if options.whiteouts == Whiteouts::Aufs {
        whiteout::translate(&mut expected);
    }
    snapshots(&expected, &Snapshot::of(subject)?, options)
}

/// Compares trees that were looked at before; contents are read now.
///
/// # Errors
///
/// If a file whose content is needed cannot be read.
pub fn snapshots(
    reference: &Snapshot,
    subject: &Snapshot,
    options: &Options,
) -> Result<Vec<Difference>> {
    let mut found = Vec::new();
    for (path, expected) in &reference.nodes {
        match subject.nodes.get(path) {
            None => found.push(difference(path, What::Missing)),
            Some(_) if path.is_empty() && options.ignore_top => {}
            Some(node) => {
                let mut whats = attributes(expected, node);
                if let Some(at) = content(reference, subject, path, expected, node)? {
                    whats.push(What::Content(at));
                }
                found.extend(whats.into_iter().map(|what| difference(path, what)));
            }
        }
    }
    let extra = subject.nodes.keys().filter(|path| !reference.nodes.contains_key(*path));
    found.extend(extra.map(|path| difference(path, What::Extra)));
    Ok(found)
}

/// An error that lists the first of the differences, if there are any.
///
/// # Errors
///
/// If `found` is not empty.
pub fn expect_none(what: &str, found: &[Difference]) -> Result<()> {
    if found.is_empty() {
        return Ok(());
    }
    let first: Vec<String> = found.iter().take(20).map(ToString::to_string).collect();
    anyhow::bail!("{what}: {} differences\n  {}", found.len(), first.join("\n  "))
}

fn difference(path: &[u8], what: What) -> Difference {
    let path = if path.is_empty() { b"." } else { path };
    Difference { path: PathBuf::from(std::ffi::OsStr::from_bytes(path)), what }
}

fn attributes(reference: &Node, subject: &Node) -> Vec<What> {
    let mut found = Vec::new();
    let mut note = |name, reference: &dyn fmt::Debug, subject: &dyn fmt::Debug| {
        let (reference, subject) = (format!("{reference:?}"), format!("{subject:?}"));
        if reference != subject {
            found.push(What::Attribute { name, reference, subject });
        }
    };
    note("type", &reference.kind, &subject.kind);
    // A whiteout is the absence of a file: what its own owner and times are is nobody's promise.
    if reference.kind != subject.kind || reference.kind == Kind::Whiteout {
        return found;
    }
    note("mode", &Octal(reference.mode), &Octal(subject.mode));
    note("owner", &reference.owner, &subject.owner);
    note("mtime", &reference.mtime, &subject.mtime);
    note("size", &reference.size, &subject.size);
    note("link text", &reference.link, &subject.link);
    note("device", &reference.device, &subject.device);
    note("first name of the inode", &reference.first_name, &subject.first_name);
    note("xattrs", &reference.xattrs, &subject.xattrs);
    found
}

struct Octal(u32);

impl fmt::Debug for Octal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

/// The offset at which two files of one size start to differ.
fn content(
    reference: &Snapshot,
    subject: &Snapshot,
    path: &[u8],
    expected: &Node,
    node: &Node,
) -> Result<Option<u64>> {
    let files = expected.kind == Kind::File && node.kind == Kind::File;
    // Only the first name of an inode is read.
    if !files || expected.size != node.size || expected.first_name.is_some() {
        return Ok(None);
    }
    first_difference(&reference.place(path), &subject.place(path))
}

fn first_difference(a: &Path, b: &Path) -> Result<Option<u64>> {
    let mut files = [open(a)?, open(b)?];
    let mut buffers = [vec![0; 1 << 17], vec![0; 1 << 17]];
    let mut at = 0_u64;
    loop {
        let first = fill(&mut files[0], &mut buffers[0])
            .with_context(|| format!("read {}", a.display()))?;
        let second = fill(&mut files[1], &mut buffers[1])
            .with_context(|| format!("read {}", b.display()))?;
        let (left, right) = (&buffers[0][..first], &buffers[1][..second]);
        if left != right {
            let same = left.iter().zip(right).take_while(|(x, y)| x == y).count();
            return Ok(Some(at + same as u64));
        }
        if first == 0 {
            return Ok(None);
        }
        at += first as u64;
    }
}

fn open(path: &Path) -> Result<File> {
    File::open(path).with_context(|| format!("open {}", path.display()))
}

fn fill(file: &mut File, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..])? {
            0 => break,
            n => filled += n,
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests;
