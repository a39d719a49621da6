//! The writer of a tree.

use std::collections::{HashMap, HashSet};
use std::os::fd::BorrowedFd;

use rustix::fs::FileType;
use storage_core::{Entry, EntryKind, LayerPath};

use crate::check::checked_path;
use crate::error::TreeError;
use crate::link::Skipped;
use crate::options::{TreeOptions, TreeReport};
use crate::parents::Parents;
use crate::settle::{AccessLists, Unsettled};
use crate::whiteout::Marker;

/// Makes the entries of one layer below a directory.
///
/// Entries may come in any order; those of one directory cost least when they
/// come together. Memory grows with the number of directories (about a hundred bytes
/// each, 18 for those without an entry, of which there may be 131,072), not of files; different access lists of directories may have 4 MiB in all. At
/// most 16 directories are open at once, and twice
/// that while trees are removed.
///
/// Dropped before [`finish`](Self::finish), it leaves directories with mode 0700
/// and whatever times they got.
#[derive(Debug)]
pub struct TreeWriter<'d> {
    pub(crate) root: BorrowedFd<'d>,
    pub(crate) options: TreeOptions,
    pub(crate) parents: Parents<'d>,
    /// By inode: paths can change their meaning as entries are replaced.
    pub(crate) unsettled: HashMap<u64, Unsettled>,
    /// Directories without an entry, likewise.
    pub(crate) implied: HashSet<u64>,
    pub(crate) access_lists: AccessLists,
    pub(crate) skipped: Skipped,
    pub(crate) report: TreeReport,
}

impl<'d> TreeWriter<'d> {
    /// A writer into `dest`, which nobody else writes to until it is finished.
    pub fn new(dest: BorrowedFd<'d>, options: TreeOptions) -> Self {
        Self {
            root: dest,
            options,
            parents: Parents::new(dest),
            unsettled: HashMap::new(),
            implied: HashSet::new(),
            access_lists: AccessLists::default(),
            skipped: Skipped::default(),
            report: TreeReport::default(),
        }
    }

    /// Makes an entry that needs no content: all but those that [`has_content`](crate::has_content).
    ///
    /// What has its name makes room for it; only a directory that becomes a
    /// directory keeps what is in it. Directories above it that are missing are
    /// made with mode 0755, owner 0:0 and time 0, and may get an entry later.
    ///
    /// A hard link gives its target the attributes of its own entry, so that
    /// should be [complete](Self::complete) by then.
    ///
    /// A whiteout (`.wh.x`) becomes what overlay takes for one, except where this
    /// layer has an `x` of its own: then only what lower layers have is hidden.
    ///
    /// # Errors
    ///
    /// Every [`TreeError`] but [`TreeError::NotRegular`]. The tree is not as it was
    /// before, but nothing outside of it was touched.
    pub fn make(&mut self, entry: &Entry) -> Result<(), TreeError> {
        let path = checked_path(entry)?;
        if let Some(marker) = Marker::of(&path)? {
            return self.make_marker(marker, entry);
        }
        match &entry.kind {
            EntryKind::Regular => self.make_empty_file(path, entry),
            EntryKind::Directory => self.make_directory(&path, entry),
            EntryKind::Symlink { target } => self.make_symlink(&path, target, entry),
            EntryKind::HardLink { target } => self.make_hard_link(&path, target, entry),
            &EntryKind::CharDevice { major, minor } => {
                self.make_device(&path, FileType::CharacterDevice, (major, minor), entry)
            }
            &EntryKind::BlockDevice { major, minor } => {
                self.make_device(&path, FileType::BlockDevice, (major, minor), entry)
            }
            EntryKind::Fifo => self.make_fifo(&path, entry),
        }
    }

    fn make_empty_file(&mut self, path: LayerPath, entry: &Entry) -> Result<(), TreeError> {
        if entry.size > 0 {
            return Err(TreeError::HasContent(path));
        }
        let file = self.create_at(path, entry.mode)?;
        self.complete(file, entry)
    }
}
