//! What directories get when nothing is made in them any more.

use std::collections::HashSet;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::fstat;
use storage_core::{FsError, FsResultExt, Time};

use crate::attributes::Node;
use crate::descent::{Descent, Id, Left, open_directory};
use crate::error::TreeError;
use crate::list::subdirectories;
use crate::options::TreeReport;
use crate::writer::TreeWriter;

/// Attributes that wait for the end, since children would change or need them.
#[derive(Debug)]
pub(crate) struct Unsettled {
    pub(crate) mode: u32,
    pub(crate) mtime: Time,
    pub(crate) atime: Option<Time>,
    pub(crate) acls: Vec<AccessList>,
}

/// An access list that waits.
#[derive(Debug)]
pub(crate) struct AccessList {
    pub(crate) key: &'static [u8],
    pub(crate) value: Arc<[u8]>,
}

/// Values of access lists that wait: each once, since the directories of a layer have few
/// different ones.
#[derive(Debug, Default)]
pub(crate) struct AccessLists {
    kept: HashSet<Arc<[u8]>>,
    bytes: usize,
}

impl AccessLists {
    /// Most bytes that wait.
    const MOST: usize = 4 << 20;

    /// Keeps a value; `None` if there is no room.
    pub(crate) fn keep(&mut self, bytes: &[u8]) -> Option<Arc<[u8]>> {
        if let Some(known) = self.kept.get(bytes) {
            return Some(Arc::clone(known));
        }
        self.bytes += bytes.len();
        if self.bytes > Self::MOST {
            return None;
        }
        let kept = Arc::<[u8]>::from(bytes);
        self.kept.insert(Arc::clone(&kept));
        Some(kept)
    }
}

impl Unsettled {
    /// For a directory that no entry describes.
    pub(crate) fn implied() -> Self {
        Self { mode: 0o755, mtime: Time::EPOCH, atime: None, acls: Vec::new() }
    }
}

impl TreeWriter<'_> {
    /// Gives directories their modes and times, the deepest first.
    ///
    /// All files have to be complete by now.
    ///
    /// # Errors
    ///
    /// If a directory can't be read or the filesystem refuses an attribute.
    pub fn finish(mut self) -> Result<TreeReport, TreeError> {
        // By a walk over what is there, and by inode: paths may have become others
        // since the entries were made, and no path is too long for a walk.
        self.parents.forget();
        let mut descent = Descent::default();
        let root = open_directory(self.root, b".").during("open directory", ".")?;
        go_down(&mut descent, root, b"")?;
        loop {
            if let Some(name) = descent.next_name() {
                let here = descent.current();
                let path = descent.path_of(&name);
                let directory = open_directory(here, &name).during("open directory", path)?;
                go_down(&mut descent, directory, &name)?;
            } else if let Some(left) = descent.leave()? {
                self.settle(&left)?;
            } else {
                return Ok(self.report);
            }
        }
    }

    fn settle(&mut self, left: &Left) -> Result<(), TreeError> {
        let is_implied = self.implied.remove(&left.id.inode);
        let unsettled = self.unsettled.remove(&left.id.inode);
        let Some(unsettled) = unsettled.or_else(|| is_implied.then(Unsettled::implied)) else {
            return Ok(());
        };
        let node = Node::open(left.directory.as_fd(), &left.path);
        for AccessList { key, value } in &unsettled.acls {
            node.store_xattr(key, value, self.options.privileges, &mut self.report)?;
        }
        node.set_times(unsettled.mtime, unsettled.atime)?;
        node.set_mode(unsettled.mode)?;
        Ok(())
    }
}

fn go_down(descent: &mut Descent, directory: OwnedFd, name: &[u8]) -> Result<(), FsError> {
    let path = descent.path_of(name);
    let id = Id::of(&fstat(&directory).during("stat", &path)?);
    let names = subdirectories(directory.as_fd()).during("read directory", path)?;
    descent.enter(directory, id, name, names);
    Ok(())
}
