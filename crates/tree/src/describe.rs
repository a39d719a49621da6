//! Entries of what is on disk.

use std::os::fd::OwnedFd;

use rustix::fs::{FileType, Stat, major, minor, readlinkat};
use rustix::io::Errno;
use storage_core::{Entry, EntryKind, LayerPath, LayerPathError, Time};

use crate::walk::Found;
use crate::whiteout::{OPAQUE, PREFIX};
use crate::xattr::Xattrs;

/// What something is that is never opened.
pub(crate) fn kind(node: &OwnedFd, stat: &Stat) -> Result<EntryKind, Errno> {
    let (major, minor) = (major(stat.st_rdev), minor(stat.st_rdev));
    Ok(match FileType::from_raw_mode(stat.st_mode) {
        FileType::Symlink => {
            EntryKind::Symlink { target: readlinkat(node, "", Vec::new())?.into_bytes() }
        }
        FileType::CharacterDevice => EntryKind::CharDevice { major, minor },
        FileType::BlockDevice => EntryKind::BlockDevice { major, minor },
        FileType::Fifo => EntryKind::Fifo,
        // It was something else a moment ago.
        _ => return Err(Errno::STALE),
    })
}

/// What the kernel says of a file, as an entry.
pub(crate) fn described(path: &LayerPath, stat: &Stat, kind: EntryKind, xattrs: Xattrs) -> Entry {
    let size = if kind == EntryKind::Regular { stat.st_size.unsigned_abs() } else { 0 };
    let nanoseconds =
        u32::try_from(stat.st_mtime_nsec).expect("the kernel keeps it below a billion");
    Entry {
        name: path.as_bytes().into(),
        kind,
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        size,
        mtime: Time { seconds: stat.st_mtime, nanoseconds },
        atime: None,
        ctime: None,
        xattrs,
    }
}

/// The entry that made this whiteout.
pub(crate) fn whiteout(path: &LayerPath, stat: &Stat) -> Result<Found, LayerPathError> {
    let (parent, name) = path.split_last().expect("the root is a directory");
    let path = parent.join(&[PREFIX, name].concat())?;
    let entry = described(&path, stat, EntryKind::Regular, Vec::new());
    Ok(Found { path, entry, file: None })
}

/// The entry that made this directory opaque.
pub(crate) fn opaque_marker(directory: &LayerPath, entry: &Entry) -> Result<Found, LayerPathError> {
    let path = directory.join(OPAQUE)?;
    let name = path.as_bytes().into();
    let entry =
        Entry { name, kind: EntryKind::Regular, mode: 0, xattrs: Vec::new(), ..entry.clone() };
    Ok(Found { path, entry, file: None })
}
