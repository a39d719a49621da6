//! Single changes in a tree that is there, from a place beside it.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, RenameFlags, fstat, linkat, mkdirat, openat, removexattr,
    renameat, renameat_with, statat, unlinkat,
};
use rustix::io::Errno;
use storage_core::{FsResultExt, LayerPath, Time};

use crate::attributes::{Access, Node, magic_path};
use crate::error::TreeError;
use crate::model::Expected;
use crate::options::{Privileges, TreeReport};
use crate::parents::{Parents, parent_error};
use crate::xattr::{is_opaque, is_private_to_a_tool, is_private_xattr, opaque_key, read};

/// Mends a tree at one path after the other.
///
/// What takes a path is made in another directory of the same filesystem and then
/// renamed, so that whoever looks sees the old or the new; what was there before is
/// left in that directory. Attributes are set on descriptors. Paths go from the top:
/// a directory before what is in it. Nothing is flushed.
#[derive(Debug)]
pub struct Mender<'d> {
    beside: BorrowedFd<'d>,
    privileges: Privileges,
    parents: Parents<'d>,
    made: u64,
    /// Modes of directories that nobody could write to, and now can.
    opened: BTreeMap<LayerPath, u32>,
}

impl<'d> Mender<'d> {
    /// For the tree at `root`; `beside` is a directory on its filesystem that nobody
    /// else writes to.
    pub fn new(root: BorrowedFd<'d>, beside: BorrowedFd<'d>, privileges: Privileges) -> Self {
        let (parents, opened) = (Parents::new(root), BTreeMap::new());
        Self { beside, privileges, parents, made: 0, opened }
    }

    /// Puts what is called `name` in the directory `from` at `path`; what was there is
    /// left in its place.
    ///
    /// # Errors
    ///
    /// If the directory above is missing, or a rename fails.
    pub fn put(
        &mut self,
        path: &LayerPath,
        from: BorrowedFd<'_>,
        name: &str,
    ) -> Result<(), TreeError> {
        let (parent, last) = self.parent(path)?;
        let exchanged = renameat_with(from, name, &parent, last.as_slice(), RenameFlags::EXCHANGE);
        match exchanged {
            Err(Errno::NOENT) => renameat(from, name, &parent, last.as_slice()),
            exchanged => exchanged,
        }
        .during("put into place", path.as_path())?;
        self.parents.forget();
        Ok(())
    }

    /// Takes away what is at `path`, with all below it.
    ///
    /// # Errors
    ///
    /// If a rename fails.
    pub fn take_away(&mut self, path: &LayerPath) -> Result<(), TreeError> {
        let (parent, last) = self.parent(path)?;
        let name = self.name();
        let moved = renameat(&parent, last.as_slice(), self.beside, name.as_str());
        moved.during("take away", path.as_path())?;
        self.parents.forget();
        Ok(())
    }

    /// Puts an empty directory, of mode 0700 for now, at `path`.
    ///
    /// # Errors
    ///
    /// As for [`Mender::put`].
    pub fn put_directory(&mut self, path: &LayerPath) -> Result<(), TreeError> {
        let name = self.name();
        mkdirat(self.beside, name.as_str(), Mode::RWXU)
            .during("create directory", path.as_path())?;
        self.put(path, self.beside, &name)
    }

    /// Makes `path` another name of what is at `existing`.
    ///
    /// # Errors
    ///
    /// If there is nothing, or as for [`Mender::put`].
    pub fn put_link(&mut self, path: &LayerPath, existing: &LayerPath) -> Result<(), TreeError> {
        let (from, last) = self.parent(existing)?;
        let name = self.name();
        linkat(&from, last.as_slice(), self.beside, name.as_str(), AtFlags::empty())
            .during("hard link", existing.as_path())?;
        let (parent, last) = self.parent(path)?;
        let there = statat(&parent, last.as_slice(), AtFlags::SYMLINK_NOFOLLOW);
        if there.is_ok_and(|there| FileType::from_raw_mode(there.st_mode).is_dir()) {
            return self.put(path, self.beside, &name);
        }
        let renamed = renameat(self.beside, name.as_str(), &parent, last.as_slice());
        renamed.during("put into place", path.as_path())?;
        // Best effort: a rename over another name of the same file does nothing.
        let _gone = unlinkat(self.beside, name.as_str(), AtFlags::empty());
        Ok(())
    }

    /// Gives what is at `path` the attributes that it should have.
    ///
    /// Setting a directory's time is for the end: what is put into it changes it.
    ///
    /// # Errors
    ///
    /// If it is missing, of another kind, or the filesystem refuses an attribute.
    pub fn settle(&mut self, path: &LayerPath, expected: &Expected) -> Result<(), TreeError> {
        let fd = self.open(path)?;
        let stat = fstat(&fd).during("look at", path.as_path())?;
        let node = Node { fd: fd.as_fd(), access: Access::PathOnly, path: path.as_path() };
        let link = FileType::from_raw_mode(stat.st_mode).is_symlink();
        self.clear_xattrs(&node, expected).during("clear attributes of", path.as_path())?;
        let has_mode = !link && !expected.is_whiteout();
        node.apply(&expected.entry, None, has_mode, self.privileges, &mut TreeReport::default())?;
        self.opened.remove(path);
        Ok(())
    }

    /// Gives directories that had to be opened to make changes in them their modes back, but
    /// for those that were settled since then.
    ///
    /// # Errors
    ///
    /// If one of them is missing, or the filesystem refuses.
    pub fn close(&mut self) -> Result<(), TreeError> {
        // The deepest first: to close it, what is above may have to be opened.
        while let Some((path, mode)) = self.opened.pop_last() {
            let fd = self.open(&path)?;
            let node = Node { fd: fd.as_fd(), access: Access::PathOnly, path: path.as_path() };
            node.set_mode(mode)?;
        }
        Ok(())
    }

    /// When what is at `path` was last modified.
    ///
    /// # Errors
    ///
    /// If it cannot be looked at.
    pub fn time_of(&mut self, path: &LayerPath) -> Result<Time, TreeError> {
        let stat = fstat(self.open(path)?).during("look at", path.as_path())?;
        let nanoseconds = u32::try_from(stat.st_mtime_nsec).unwrap_or(0);
        Ok(Time { seconds: stat.st_mtime, nanoseconds })
    }

    /// Gives what is at `path` a time of last modification.
    ///
    /// # Errors
    ///
    /// If it cannot be opened, or the filesystem refuses.
    pub fn set_time(&mut self, path: &LayerPath, time: Time) -> Result<(), TreeError> {
        let fd = self.open(path)?;
        let node = Node { fd: fd.as_fd(), access: Access::PathOnly, path: path.as_path() };
        Ok(node.set_times(time, None)?)
    }

    /// Takes attributes away that are not to be there, and sets or clears the mark
    /// of an opaque directory.
    fn clear_xattrs(&self, node: &Node<'_>, expected: &Expected) -> Result<(), Errno> {
        let path = magic_path(node.fd);
        let there = read(node.fd, Access::PathOnly)?;
        for (key, _) in &there {
            let wanted = expected.entry.xattrs.iter().any(|(other, _)| other == key);
            if is_private_to_a_tool(key) || !wanted && !is_private_xattr(key) {
                removexattr(&path, key.as_slice())?;
            }
        }
        match (is_opaque(&there), expected.opaque) {
            (false, true) => node.set_xattr(opaque_key(self.privileges).as_bytes(), b"y"),
            (true, false) => removexattr(&path, opaque_key(self.privileges)),
            _ => Ok(()),
        }
    }

    fn open(&mut self, path: &LayerPath) -> Result<OwnedFd, TreeError> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        if path.is_root() {
            let root = self.parents.find(path).map_err(|errno| parent_error(path, errno))?;
            return Ok(openat(&root, ".", flags, Mode::empty()).during("open", ".")?);
        }
        let (parent, last) = self.parent(path)?;
        let opened = openat(&parent, last.as_slice(), flags, Mode::empty());
        Ok(opened.during("look at", path.as_path())?)
    }

    /// The directory of a path, which can be written to, and its last part.
    fn parent(&mut self, path: &LayerPath) -> Result<(Arc<OwnedFd>, Vec<u8>), TreeError> {
        let (parent, last) = path.split_last().ok_or(TreeError::Root)?;
        let directory = self.parents.find(&parent).map_err(|errno| parent_error(path, errno))?;
        if self.privileges == Privileges::Unprivileged {
            let stat = fstat(&directory).during("look at", parent.as_path())?;
            let mode = stat.st_mode & 0o7777;
            if mode & 0o300 != 0o300 {
                let node = Node {
                    fd: directory.as_fd(),
                    access: Access::PathOnly,
                    path: parent.as_path(),
                };
                node.set_mode(mode | 0o700)?;
                self.opened.insert(parent, mode);
            }
        }
        Ok((directory, last.to_vec()))
    }

    fn name(&mut self) -> String {
        self.made += 1;
        format!("mend-{}", self.made)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn directories_that_had_to_be_opened_are_closed_again() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        fs::create_dir_all(at("tree/shut/below")).unwrap();
        fs::create_dir(at("beside")).unwrap();
        fs::write(at("beside/new"), "new").unwrap();
        let mode = |name: &str| at(name).metadata().unwrap().permissions().mode() & 0o7777;
        let shut = [("tree/shut/below", 0o555), ("tree/shut", 0o1500), ("tree", 0o755)];
        for (name, mode) in shut {
            fs::set_permissions(at(name), Permissions::from_mode(mode)).unwrap();
        }
        let (root, beside) = (File::open(at("tree")).unwrap(), File::open(at("beside")).unwrap());
        let mut mender = Mender::new(root.as_fd(), beside.as_fd(), Privileges::Unprivileged);
        let path = LayerPath::parse(b"shut/below/file").unwrap();
        mender.put(&path, beside.as_fd(), "new").unwrap();
        assert_eq!(mode("tree/shut/below"), 0o755);
        mender.close().unwrap();
        assert_eq!(shut.map(|(name, _)| (name, mode(name))), shut);
        fs::set_permissions(at("tree/shut"), Permissions::from_mode(0o700)).unwrap();
        assert_eq!(fs::read(at("tree/shut/below/file")).unwrap(), b"new");
    }
}
