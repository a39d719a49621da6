//! What is made beside a layer before it goes into it.

use std::collections::BTreeSet;
use std::os::fd::AsFd as _;

use overlay_driver::StagedLayer;
use rustix::fs::syncfs;
use storage_core::{Entry, EntryKind, FsResultExt as _};
use tree::{Expected, NewFile, Privileges, TreeOptions, TreeWriter};

use super::error::MendError;

/// Names of what is made, and the writer that makes it.
pub(super) struct Stage<'a> {
    staged: &'a StagedLayer,
    writer: TreeWriter<'a>,
    /// What is made, by number.
    made: BTreeSet<u64>,
}

impl<'a> Stage<'a> {
    pub(super) fn new(staged: &'a StagedLayer, privileges: Privileges) -> Self {
        let writer = TreeWriter::new(staged.dirs().dest, TreeOptions::new(privileges));
        Self { staged, writer, made: BTreeSet::new() }
    }

    /// What the node of that number is called here.
    pub(super) fn name(number: u64) -> String {
        format!("node-{number}")
    }

    /// Makes what has no content.
    pub(super) fn make(&mut self, number: u64, node: &Expected) -> Result<(), MendError> {
        let mut entry = renamed(number, &node.entry);
        if node.is_whiteout() {
            entry.name = format!(".wh.{}", Self::name(number)).into();
            entry.kind = EntryKind::Regular;
        }
        self.writer.make(&entry)?;
        self.made.insert(number);
        Ok(())
    }

    /// Makes a file, empty so far.
    pub(super) fn create(&mut self, number: u64, node: &Expected) -> Result<NewFile, MendError> {
        Ok(self.writer.create(&renamed(number, &node.entry))?)
    }

    /// Gives a file that has all its bytes its attributes.
    pub(super) fn complete(
        &mut self,
        number: u64,
        file: NewFile,
        node: &Expected,
    ) -> Result<(), MendError> {
        self.writer.complete(file, &renamed(number, &node.entry))?;
        self.made.insert(number);
        Ok(())
    }

    /// Whether the node of that number is made.
    pub(super) fn has(&self, number: u64) -> bool {
        self.made.contains(&number)
    }

    /// Counts the node of that number as not made.
    pub(super) fn forget(&mut self, number: u64) {
        self.made.remove(&number);
    }

    /// Brings all of it to the disk.
    pub(super) fn flush(&self) -> Result<(), MendError> {
        let root = self.staged.dirs().dest;
        Ok(syncfs(root.as_fd()).during("flush", "mended files")?)
    }
}

fn renamed(number: u64, entry: &Entry) -> Entry {
    Entry { name: Stage::name(number).into(), ..entry.clone() }
}
