//! Directories as sources.

use std::fs::File;
use std::io::{self, BufRead};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};

use storage_core::LayerPath;

use crate::{Candidate, DedupMap, Sources, TocError, read_candidates};

/// Directories that layers were unpacked into, as sources of files.
///
/// ```
/// # use chunked::{DedupMap, LocalTrees, Toc, Wanted};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let toc = Toc::default();
/// # let toc_json = &br#"{"version":1,"entries":[]}"#[..];
/// let (mut trees, mut map) = (LocalTrees::new(), DedupMap::new(Wanted::of(&toc)));
/// let tree = std::fs::File::open("/")?;
/// trees.add(tree, toc_json, &mut map)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default)]
pub struct LocalTrees(Vec<OwnedFd>);

impl LocalTrees {
    /// No directories.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a directory, and to `map` what its TOC says it has of what that wants.
    ///
    /// # Errors
    ///
    /// Those of [`read_candidates`].
    ///
    /// # Panics
    ///
    /// If there are 2^32 directories already, which no process can have open.
    pub fn add(
        &mut self,
        tree: impl Into<OwnedFd>,
        toc_json: impl BufRead,
        map: &mut DedupMap,
    ) -> Result<(), TocError> {
        let source = u32::try_from(self.0.len()).expect("open files are fewer than 2^32");
        self.0.push(tree.into());
        read_candidates(toc_json, source, map)
    }
}

impl Sources for LocalTrees {
    fn open(&self, candidate: &Candidate) -> io::Result<File> {
        let tree = self.0.get(candidate.source as usize).ok_or(io::ErrorKind::NotFound)?;
        open_below(tree, &candidate.path)
    }
}

/// Opens what is at `path` below `tree` for reading, as [`Sources`] should: never
/// outside of it, and without following a last symbolic link.
///
/// It need not be a regular file; whoever reads it looks.
///
/// # Errors
///
/// If it can't be opened.
pub fn open_below(tree: impl AsFd, path: &LayerPath) -> io::Result<File> {
    // What is no regular file must not block or act when it is opened.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    Ok(openat2(tree, path.as_path(), flags, Mode::empty(), resolve)?.into())
}
