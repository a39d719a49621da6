//! TOC against tar-split: the first half of the proof.
//!
//! The second half, the DiffID, binds the tar; without this one a TOC could
//! say "setuid root" where the tar does not.

use std::fmt;

use storage_core::{Entry, EntryKind, Time};

use super::Toc;

/// A TOC and a tar that tell of different layers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Disagreement {
    /// One entry is told in two ways.
    #[error("TOC and tar disagree on the {field} of {name:?}")]
    Field {
        /// The entry's name in the tar.
        name: String,
        /// What differs.
        field: Field,
    },
    /// The TOC ends, and the tar goes on.
    #[error("the TOC does not have the entry {0:?} of the tar")]
    NotInToc(String),
    /// The tar ends, and the TOC goes on.
    #[error("the tar does not have the entry {0:?} of the TOC")]
    NotInTar(String),
}

/// What can differ between two entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Field {
    /// The name as it is written, or the order of entries.
    Name,
    /// Type, text of a link, numbers of a device.
    Kind,
    /// Permission bits.
    Mode,
    /// Owner or group.
    Owner,
    /// Length of content.
    Size,
    /// Time of modification, access or change.
    Time,
    /// Extended attributes.
    Xattrs,
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Name => "name",
            Self::Kind => "type",
            Self::Mode => "mode",
            Self::Owner => "owner",
            Self::Size => "size",
            Self::Time => "times",
            Self::Xattrs => "xattrs",
        })
    }
}

/// Compares the entries of a tar, one after another, with those of a TOC.
///
/// A TOC that was fetched by [`scan`](crate::scan) has been compared already; one that was
/// kept on a disk since then may have changed.
#[derive(Debug)]
pub struct Agreement<'t> {
    toc: &'t Toc,
    next: usize,
}

impl<'t> Agreement<'t> {
    /// With a TOC of which no entry has been met yet.
    pub fn new(toc: &'t Toc) -> Self {
        Self { toc, next: 0 }
    }

    /// Takes the tar's next entry.
    ///
    /// # Errors
    ///
    /// If the TOC has another one there, or no more.
    pub fn compare(&mut self, tar: &Entry) -> Result<(), Disagreement> {
        let name = || String::from_utf8_lossy(&tar.name).into_owned();
        if self.next == self.toc.len() {
            return Err(Disagreement::NotInToc(name()));
        }
        let toc = self.toc.entry(self.next);
        self.next += 1;
        match difference(&toc, tar) {
            None => Ok(()),
            Some(field) => Err(Disagreement::Field { name: name(), field }),
        }
    }

    /// The tar has no more entries.
    ///
    /// # Errors
    ///
    /// If the TOC has.
    pub fn finish(self) -> Result<(), Disagreement> {
        if self.next == self.toc.len() {
            return Ok(());
        }
        let name = String::from_utf8_lossy(&self.toc.name(self.next)).into_owned();
        Err(Disagreement::NotInTar(name))
    }
}

/// The first field in which two entries differ.
///
/// Compared by name, so that a field that is added to [`Entry`] is not forgotten.
fn difference(toc: &Entry, tar: &Entry) -> Option<Field> {
    let Entry { name, kind, mode, uid, gid, size, mtime, atime, ctime, xattrs } = toc;
    let same_times = moment(Some(*mtime)) == moment(Some(tar.mtime))
        && moment(*atime) == moment(tar.atime)
        && moment(*ctime) == moment(tar.ctime);
    let regular = *kind == EntryKind::Regular || tar.kind == EntryKind::Regular;
    match () {
        () if *name != tar.name => Some(Field::Name),
        () if *kind != tar.kind => Some(Field::Kind),
        () if *mode != tar.mode => Some(Field::Mode),
        () if (*uid, *gid) != (tar.uid, tar.gid) => Some(Field::Owner),
        () if regular && *size != tar.size => Some(Field::Size),
        () if !same_times => Some(Field::Time),
        () if *xattrs != tar.xattrs => Some(Field::Xattrs),
        () => None,
    }
}

/// No time, Go's zero time and the epoch are one.
fn moment(time: Option<Time>) -> Time {
    let go_zero = Time { seconds: -62_135_596_800, nanoseconds: 0 };
    time.filter(|&time| time != go_zero).unwrap_or(Time::EPOCH)
}
