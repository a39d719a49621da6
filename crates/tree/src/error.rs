//! What can go wrong with one entry.

use std::io;
use std::path::PathBuf;

use rustix::io::Errno;
use storage_core::{FsError, LayerPath, LayerPathError};

/// An entry that could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TreeError {
    /// The entry's name, or the name its hard link points at, is no path below the root.
    #[error("refuse entry")]
    Name(#[from] LayerPathError),
    /// A number in the entry that the kernel would misunderstand or cut.
    #[error("entry {path} has an impossible {field}: {value}")]
    Field {
        /// The entry.
        path: LayerPath,
        /// Which number: "uid", "gid", "mode", "nanoseconds", "device number".
        field: &'static str,
        /// What it says.
        value: u64,
    },
    /// The root of a layer described as something other than a directory.
    #[error("the layer's root is not a directory")]
    Root,
    /// A character device 0:0, which a mounted overlay would take for a whiteout.
    #[error("entry {0} is a character device 0:0, which is reserved for whiteouts")]
    WhiteoutDevice(LayerPath),
    /// A name that starts with `.wh.` and hides nothing that could exist, or an entry below such a name.
    #[error("entry {0} is no proper whiteout")]
    WhiteoutName(LayerPath),
    /// Text of a symbolic link that no filesystem can hold: empty, too long, or with a zero byte.
    #[error("entry {0} is a symbolic link with an impossible target")]
    SymlinkTarget(LayerPath),
    /// More directories that no entry describes than are kept in mind until the end: 131,072.
    #[error("too many directories have no entry, at entry {0}")]
    TooManyImplied(LayerPath),
    /// More different access lists of directories than are kept until they can be set: 4 MiB.
    #[error("the access lists of directories are too long in all, at entry {0}")]
    AccessLists(LayerPath),
    /// Something in the way to the entry is no directory, or leads nowhere below the root.
    #[error("open the parent directory of {path}")]
    Parent {
        /// The entry.
        path: LayerPath,
        /// What the kernel said of its parent.
        source: io::Error,
    },
    /// A hard link to something that can't be linked to.
    #[error("hard link {link} to {target}: the target {problem}")]
    Link {
        /// The new name.
        link: LayerPath,
        /// The old name.
        target: LayerPath,
        /// What is wrong with the old name.
        problem: LinkProblem,
    },
    /// A filesystem or kernel that does not take this extended attribute.
    #[error("set extended attribute {:?} of {}", String::from_utf8_lossy(key), path.display())]
    Xattr {
        /// The file, relative to the root.
        path: PathBuf,
        /// The attribute's full name.
        key: Vec<u8>,
        /// What the kernel said.
        source: io::Error,
    },
    /// A regular file was expected, by its entry or on disk.
    #[error("{0} is not a regular file")]
    NotRegular(LayerPath),
    /// A regular file with content was given to [`make`](crate::TreeWriter::make).
    #[error("{0} has content, which has to be written")]
    HasContent(LayerPath),
    /// A filesystem operation that failed.
    #[error(transparent)]
    Fs(#[from] FsError),
}

/// Why nothing can be hard linked to a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkProblem {
    /// There is nothing of that name.
    #[error("does not exist")]
    Missing,
    /// It is a directory.
    #[error("is a directory")]
    Directory,
    /// It is a whiteout: in the layer, there is nothing of that name.
    #[error("is a whiteout")]
    Whiteout,
}

impl TreeError {
    /// Whether the layer asks for what no tree can hold.
    ///
    /// If not, the filesystem or the privileges of this process are the reason,
    /// and the same layer may well be made elsewhere or later.
    pub fn is_fault_of_the_layer(&self) -> bool {
        !matches!(self, Self::Fs(_) | Self::Xattr { .. } | Self::HasContent(_))
    }

    /// Whether this process, or the system, may open no more files: what is closed now
    /// makes room.
    pub fn is_lack_of_descriptors(&self) -> bool {
        let Self::Fs(error) = self else { return false };
        let errno = Errno::from_io_error(&error.source);
        matches!(errno, Some(Errno::MFILE | Errno::NFILE))
    }
}
