//! Directories: those that have an entry, and those that others stand in.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Mode, fstat, mkdirat, statat};
use rustix::io::Errno;
use storage_core::{Entry, FsResultExt, LayerPath};

use crate::attributes::Node;
use crate::descent::open_directory;
use crate::error::TreeError;
use crate::options::Privileges;
use crate::parents::parent_error;
use crate::settle::{AccessList, Unsettled};
use crate::whiteout::is_whiteout;
use crate::writer::TreeWriter;
use crate::xattr::ACCESS_LISTS;

/// Most directories that no entry describes.
const MOST_IMPLIED: usize = 1 << 17;

/// Mode of directories that are still being filled.
const FILLING: Mode = Mode::RWXU;

/// What was in the place of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Was {
    Nothing,
    Whiteout,
    Directory,
    Other,
}

impl TreeWriter<'_> {
    /// The directory `parent`, in which `path` is to be made; missing ones are made.
    pub(crate) fn parent_of(
        &mut self,
        path: &LayerPath,
        parent: &LayerPath,
    ) -> Result<Arc<OwnedFd>, TreeError> {
        match self.parents.find(parent) {
            Ok(directory) => Ok(directory),
            Err(Errno::NOENT | Errno::NOTDIR) => self.make_missing(path, parent),
            Err(errno) => Err(parent_error(path, errno)),
        }
    }

    fn make_missing(
        &mut self,
        path: &LayerPath,
        parent: &LayerPath,
    ) -> Result<Arc<OwnedFd>, TreeError> {
        // Many names may stand in one deep place: what was found of it lately is not searched
        // for again.
        let mut next = self.parents.nearest(parent);
        let mut directory = self.parents.find(&next).map_err(|errno| parent_error(path, errno))?;
        for part in parent.parts().skip(next.parts().count()) {
            next = next.join(part)?;
            // One step further, which is all there is to do unless it is a link.
            directory = match open_directory(directory.as_fd(), part) {
                Ok(child) => Arc::new(child),
                Err(_) => match self.parents.find(&next) {
                    Ok(child) => child,
                    Err(errno @ (Errno::NOENT | Errno::NOTDIR)) => self
                        .make_implied(directory.as_fd(), part, &next)?
                        .ok_or_else(|| parent_error(path, errno))?,
                    Err(errno) => return Err(parent_error(path, errno)),
                },
            };
        }
        Ok(directory)
    }

    /// A directory without an entry; `None` if something else is in its place.
    fn make_implied(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        path: &LayerPath,
    ) -> Result<Option<Arc<OwnedFd>>, TreeError> {
        let was = self.claim(parent, name, path, false)?;
        if was == Was::Other {
            return Ok(None);
        }
        let directory = self.parents.with_room(|| open_directory(parent, name));
        let directory = directory.during("open directory", path.as_path())?;
        if was != Was::Directory {
            if self.options.privileges != Privileges::Unprivileged {
                Node::open(directory.as_fd(), path.as_path()).set_owner(0, 0)?;
            }
            self.after_claim(directory.as_fd(), path, was, None)?;
        }
        Ok(Some(self.parents.keep(path.clone(), directory)))
    }

    /// A directory as its entry says; one that is there keeps its content.
    pub(crate) fn make_directory(
        &mut self,
        path: &LayerPath,
        entry: &Entry,
    ) -> Result<(), TreeError> {
        let (directory, was) = match path.split_last() {
            None => {
                self.report.root_entry = true;
                let directory = self.parents.with_room(|| open_directory(self.root, b"."));
                (directory.during("open directory", ".")?, Was::Directory)
            }
            Some((parent, name)) => {
                let parent = self.parent_of(path, &parent)?;
                let was = self.claim(parent.as_fd(), name, path, true)?;
                let directory = self.parents.with_room(|| open_directory(parent.as_fd(), name));
                (directory.during("open directory", path.as_path())?, was)
            }
        };
        let node = Node::open(directory.as_fd(), path.as_path());
        if self.options.privileges != Privileges::Unprivileged {
            node.set_owner(entry.uid, entry.gid)?;
        }
        // Lists of access rights are for the finished directory: the default one would
        // be inherited by its children, the other can shut us out.
        let mut acls = Vec::new();
        for (key, value) in &entry.xattrs {
            if let Some(key) = ACCESS_LISTS.into_iter().find(|list| list == key) {
                let kept = self.access_lists.keep(value);
                let value = kept.ok_or_else(|| TreeError::AccessLists(path.clone()))?;
                acls.push(AccessList { key, value });
            } else {
                node.store_xattr(key, value, self.options.privileges, &mut self.report)?;
            }
        }
        let unsettled =
            Unsettled { mode: entry.mode, mtime: entry.mtime, atime: entry.atime, acls };
        self.after_claim(directory.as_fd(), path, was, Some(unsettled))?;
        self.parents.keep(path.clone(), directory);
        Ok(())
    }

    /// Notes what a directory is to get in the end, if an entry tells.
    fn after_claim(
        &mut self,
        directory: BorrowedFd<'_>,
        path: &LayerPath,
        was: Was,
        unsettled: Option<Unsettled>,
    ) -> Result<(), TreeError> {
        if was == Was::Whiteout {
            // What lower layers have there is still removed.
            self.set_opaque(directory, path)?;
        }
        let stat = fstat(directory).during("stat", path.as_path())?;
        // Another may have had the number, and be gone.
        self.implied.remove(&stat.st_ino);
        self.unsettled.remove(&stat.st_ino);
        match unsettled {
            Some(unsettled) => drop(self.unsettled.insert(stat.st_ino, unsettled)),
            None if self.implied.len() < MOST_IMPLIED => drop(self.implied.insert(stat.st_ino)),
            None => return Err(TreeError::TooManyImplied(path.clone())),
        }
        Ok(())
    }

    /// Makes a directory, unless there is one, or something that is not to be replaced.
    fn claim(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        path: &LayerPath,
        replace: bool,
    ) -> Result<Was, TreeError> {
        let mut was = Was::Nothing;
        self.place(parent, name, path, "create directory", || {
            match mkdirat(parent, name, FILLING) {
                Err(Errno::EXIST) => {}
                result => return result,
            }
            let stat = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
            was = match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => Was::Directory,
                _ if is_whiteout(&stat) => Was::Whiteout,
                _ => Was::Other,
            };
            match was {
                Was::Directory => Ok(()),
                Was::Other if !replace => Ok(()),
                _ => Err(Errno::EXIST),
            }
        })?;
        Ok(was)
    }
}
