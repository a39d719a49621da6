//! Reading a tree as entries.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, fstat, openat, statat};
use rustix::io::Errno;
use storage_core::{Entry, EntryKind, FsError, FsResultExt, LayerPath, LayerPathError, Names};

use crate::attributes::Access;
use crate::descent::{Descent, Id, open_directory};
use crate::describe::{described, kind, opaque_marker, whiteout};
use crate::list::all_names;
use crate::read::open_if_regular;
use crate::whiteout::is_whiteout;
use crate::xattr::{Xattrs, is_opaque, is_private_xattr, read};

/// What a [`Walk`] meets.
#[derive(Debug)]
pub struct Found {
    /// Where it is, relative to the directory that is walked.
    pub path: LayerPath,
    /// What it is. The name is the path, without a slash at its end; that of the root is `./`.
    pub entry: Entry,
    /// A regular file, opened for reading; not for further hard links to it.
    pub file: Option<File>,
}

/// How a tree is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WalkOptions {
    /// Begin with an entry for the root, `./`.
    pub root_entry: bool,
    /// Leave overlay's own files as they are.
    ///
    /// Otherwise whiteouts and opaque directories come out as the entries that a
    /// layer has for them (`.wh.x`, and `.wh..wh..opq` as first in its directory),
    /// and [private extended attributes](crate::is_private_xattr) do not come out.
    pub raw: bool,
}

/// What can't be read as an entry.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WalkError {
    /// A name on disk that no layer can have: its path is too long.
    #[error("refuse file")]
    Name(#[from] LayerPathError),
    /// A filesystem operation that failed.
    #[error(transparent)]
    Fs(#[from] FsError),
}

/// An iterator over all that is in a directory and below it.
///
/// Directories come before what is in them, names in the order of their bytes, so
/// equal trees give equal entries. Files with several names come as a file and
/// then as hard links to the first name. Sockets are counted and left out. Other
/// filesystems that are mounted below are read as part of the tree.
///
/// Times of access and of change are not read. No device or pipe is opened, no
/// link is followed. At most 16 directories are open at once, besides the file
/// that was given out; memory holds the names of the directories above, and the
/// files that have several names, with the last part of one of them.
///
/// After an error the walk goes on behind what could not be read.
#[derive(Debug)]
pub struct Walk {
    options: WalkOptions,
    descent: Descent,
    ready: VecDeque<Found>,
    /// First names of files, by their numbers, and how many more are to come.
    links: HashMap<Id, (u32, u64)>,
    names: Names,
    sockets: u64,
}

impl Walk {
    /// A walk over the directory `root`.
    ///
    /// # Errors
    ///
    /// If the directory itself can't be read.
    pub fn new(root: BorrowedFd<'_>, options: WalkOptions) -> Result<Self, WalkError> {
        let mut walk = Self {
            options,
            descent: Descent::default(),
            ready: VecDeque::new(),
            links: HashMap::new(),
            names: Names::default(),
            sockets: 0,
        };
        let root = open_directory(root, b".").during("open directory", ".")?;
        walk.go_down(root, b"", LayerPath::ROOT)?;
        if options.root_entry {
            walk.ready[0].entry.name = b"./".into();
        } else {
            walk.ready.pop_front();
        }
        Ok(walk)
    }

    /// Sockets that were met so far, and are in no layer.
    pub fn skipped_sockets(&self) -> u64 {
        self.sockets
    }

    /// Puts what `name` in the present directory is into `ready`.
    fn visit(&mut self, name: &[u8]) -> Result<(), WalkError> {
        let path = LayerPath::parse(&self.descent.join(name))?;
        let here = self.descent.current();
        let stat = statat(here, name, AtFlags::SYMLINK_NOFOLLOW).during("stat", path.as_path())?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Socket => self.sockets += 1,
            FileType::Directory => {
                let directory = open_directory(here, name);
                let directory = directory.during("open directory", path.as_path())?;
                self.go_down(directory, name, path)?;
            }
            _ if is_whiteout(&stat) && !self.options.raw => {
                self.ready.push_back(whiteout(&path, &stat)?);
            }
            FileType::RegularFile if !self.links.contains_key(&Id::of(&stat)) => {
                let opened = open_if_regular(here, name, OFlags::RDONLY);
                let (file, stat) = opened
                    .and_then(|opened| opened.ok_or(Errno::STALE))
                    .during("open", path.as_path())?;
                let xattrs = xattrs(file.as_fd(), Access::Open, &path)?;
                let entry = self.entry(&path, &stat, EntryKind::Regular, xattrs);
                self.note_link(&path, &stat);
                self.ready.push_back(Found { path, entry, file: Some(file.into()) });
            }
            _ => {
                let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let node = openat(here, name, flags, Mode::empty());
                let node = node.during("look at", path.as_path())?;
                self.visit_node(path, &node)?;
            }
        }
        Ok(())
    }

    fn visit_node(&mut self, path: LayerPath, node: &OwnedFd) -> Result<(), WalkError> {
        let stat = fstat(node).during("stat", path.as_path())?;
        let kind = match self.note_link(&path, &stat) {
            Some(target) => EntryKind::HardLink { target: target.as_bytes().into() },
            None => kind(node, &stat).during("read", path.as_path())?,
        };
        let xattrs = xattrs(node.as_fd(), Access::PathOnly, &path)?;
        let entry = self.entry(&path, &stat, kind, xattrs);
        self.ready.push_back(Found { path, entry, file: None });
        Ok(())
    }

    fn go_down(
        &mut self,
        directory: OwnedFd,
        name: &[u8],
        path: LayerPath,
    ) -> Result<(), WalkError> {
        let fd = directory.as_fd();
        let stat = fstat(fd).during("stat", path.as_path())?;
        let xattrs = xattrs(fd, Access::Open, &path)?;
        let opaque = !self.options.raw && is_opaque(&xattrs);
        let entry = self.entry(&path, &stat, EntryKind::Directory, xattrs);
        let marker = if opaque { Some(opaque_marker(&path, &entry)?) } else { None };
        let names = all_names(fd).during("read directory", path.as_path())?;
        self.ready.push_back(Found { path, entry, file: None });
        self.ready.extend(marker);
        self.descent.enter(directory, Id::of(&stat), name, names);
        Ok(())
    }

    fn entry(&self, path: &LayerPath, stat: &Stat, kind: EntryKind, xattrs: Xattrs) -> Entry {
        let mut entry = described(path, stat, kind, xattrs);
        if !self.options.raw {
            entry.xattrs.retain(|(key, _)| !is_private_xattr(key));
        }
        entry
    }

    /// The first name of a file with several; `None` if this is the first or the only one.
    fn note_link(&mut self, path: &LayerPath, stat: &Stat) -> Option<LayerPath> {
        let id = Id::of(stat);
        let Some((first, to_come)) = self.links.get_mut(&id) else {
            if stat.st_nlink > 1
                && let Some(first) = self.names.add(path.as_bytes())
            {
                self.links.insert(id, (first, stat.st_nlink - 1));
            }
            return None;
        };
        let first = LayerPath::parse(&self.names.get(*first)).ok();
        *to_come -= 1;
        if *to_come == 0 {
            self.links.remove(&id);
        }
        first
    }
}

impl Iterator for Walk {
    type Item = Result<Found, WalkError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(found) = self.ready.pop_front() {
                return Some(Ok(found));
            }
            self.descent.here()?;
            let result = match self.descent.next_name() {
                Some(name) => self.visit(&name),
                None => self.descent.leave().map(|_| ()).map_err(WalkError::from),
            };
            if let Err(error) = result {
                return Some(Err(error));
            }
        }
    }
}

fn xattrs(fd: BorrowedFd<'_>, access: Access, path: &LayerPath) -> Result<Xattrs, FsError> {
    read(fd, access).during("read extended attributes of", path.as_path())
}
