//! What files get when they have all their bytes.

use std::os::fd::AsFd;

use rustix::fs::fstat;
use storage_core::{Entry, FsResultExt};

use crate::attributes::Node;
use crate::check::checked_path;
use crate::create::NewFile;
use crate::error::TreeError;
use crate::options::{Privileges, TreeReport};
use crate::writer::TreeWriter;

/// Gives files that have all their bytes their attributes, on any thread beside the
/// [`TreeWriter`] that made them.
#[derive(Debug)]
#[must_use = "what a completer left out is told only by the writer that takes it back"]
pub struct Completer {
    privileges: Privileges,
    report: TreeReport,
}

impl Completer {
    /// As [`TreeWriter::complete`].
    ///
    /// # Errors
    ///
    /// If the entry's numbers are impossible, or the filesystem refuses an attribute.
    #[expect(clippy::needless_pass_by_value, reason = "the file is closed when this is done")]
    pub fn complete(&mut self, file: NewFile, entry: &Entry) -> Result<(), TreeError> {
        checked_path(entry)?;
        // One look costs less than a change: most files of a layer have the owner and the
        // mode that they were created with.
        let path = file.path().as_path();
        let now = fstat(file.as_fd()).during("look at", path)?;
        let node = Node::open(file.as_fd(), path);
        node.apply(entry, Some(&now), true, self.privileges, &mut self.report)
    }
}

impl TreeWriter<'_> {
    /// A completer for files of this writer, which is to be
    /// [taken back](Self::take_back) before the writer is finished.
    pub fn completer(&self) -> Completer {
        Completer { privileges: self.options.privileges, report: TreeReport::default() }
    }

    /// Adds what a completer had to leave out to what this writer tells in the end.
    pub fn take_back(&mut self, Completer { report, .. }: Completer) {
        self.report.dropped_xattrs += report.dropped_xattrs;
    }

    /// Gives a file that has all its bytes the attributes of its entry, and closes it.
    ///
    /// Nothing may be written to it afterwards: that would change its time and
    /// take setuid and capabilities away.
    ///
    /// # Errors
    ///
    /// If the entry's numbers are impossible, or the filesystem refuses an attribute.
    pub fn complete(&mut self, file: NewFile, entry: &Entry) -> Result<(), TreeError> {
        let mut own = self.completer();
        let result = own.complete(file, entry);
        self.take_back(own);
        result
    }
}
