//! What a comparison of a tree with its model says.

use std::fmt;

use storage_core::LayerPath;

/// A path at which a tree is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Difference {
    /// Where.
    pub path: LayerPath,
    /// In what; at least one, sorted.
    pub aspects: Vec<Aspect>,
}

/// In what something differs from what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Aspect {
    /// It is not there, or cannot be read at all.
    Missing,
    /// It should not be there, with all below it.
    Extra,
    /// It is something else: a link in place of a file, or the like.
    Kind,
    /// It should be, or should not be, the same file as another name.
    HardLink,
    /// Its length.
    Size,
    /// Its bytes. Not seen by [`Model::compare`](crate::Model::compare), which reads none.
    Content,
    /// The text of a symbolic link.
    Target,
    /// The numbers of a device.
    Device,
    /// Owner or group.
    Owner,
    /// Permissions.
    Mode,
    /// Time of last modification.
    Time,
    /// Extended attributes, or whether a directory hides what is below.
    Xattrs,
}

impl Aspect {
    /// One word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Extra => "extra",
            Self::Kind => "kind",
            Self::HardLink => "hard-link",
            Self::Size => "size",
            Self::Content => "content",
            Self::Target => "target",
            Self::Device => "device",
            Self::Owner => "owner",
            Self::Mode => "mode",
            Self::Time => "time",
            Self::Xattrs => "xattrs",
        }
    }
}

impl fmt::Display for Aspect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Who made a tree: others leave some things out that a layer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Maker {
    /// A [`TreeWriter`](crate::TreeWriter), with the privileges of the model.
    Writer,
    /// A tool that unpacks whole tar streams: the root and directories without an
    /// entry have modes and times of their own, and whiteouts their owners; of the
    /// root nothing is taken from its entry.
    Other,
    /// A tool that goes by a TOC: besides, it makes no devices and pipes, and gives
    /// symbolic links no owner and directories no time.
    OtherByToc,
}
