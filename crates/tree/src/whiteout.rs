//! Names that say what a layer removes from the layers below it.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, FileType, Mode, Stat, mknodat, statat};
use rustix::io::Errno;
use storage_core::{Entry, EntryKind, FsError, FsResultExt, LayerPath};

use crate::attributes::Node;
use crate::descent::open_directory;
use crate::error::TreeError;
use crate::writer::TreeWriter;
use crate::xattr::opaque_key;

/// Before the name of what is hidden.
pub(crate) const PREFIX: &[u8] = b".wh.";
/// Before the names that AUFS keeps for itself.
const METADATA: &[u8] = b".wh..wh.";
/// Hides all that lower layers have in the directory.
pub(crate) const OPAQUE: &[u8] = b".wh..wh..opq";

/// What the name of an entry says besides being a name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Marker {
    /// The path in lower layers is hidden.
    Whiteout(LayerPath),
    /// All that lower layers have in this directory is hidden.
    Opaque(LayerPath),
    /// Bookkeeping of AUFS; no part of the tree.
    Metadata,
}

impl Marker {
    /// The marker that `path` is, if any.
    pub(crate) fn of(path: &LayerPath) -> Result<Option<Self>, TreeError> {
        let Some((parent, name)) = path.split_last() else { return Ok(None) };
        if parent.parts().any(|part| part.starts_with(METADATA)) {
            return Ok(Some(Self::Metadata));
        }
        let improper = || TreeError::WhiteoutName(path.clone());
        if parent.parts().any(|part| part.starts_with(PREFIX)) {
            return Err(improper());
        }
        if name == OPAQUE {
            return Ok(Some(Self::Opaque(parent)));
        }
        if name.starts_with(METADATA) {
            return Ok(Some(Self::Metadata));
        }
        match name.strip_prefix(PREFIX) {
            None => Ok(None),
            Some(b"" | b"." | b"..") => Err(improper()),
            Some(hidden) => Ok(Some(Self::Whiteout(parent.join(hidden)?))),
        }
    }
}

/// Whether an entry is a regular file whose content has to be written.
///
/// Such an entry is for [`TreeWriter::create`] and [`TreeWriter::complete`], any
/// other for [`TreeWriter::make`]: also a whiteout, which is a regular file by
/// its kind, and whose content, if it has any, means nothing.
pub fn has_content(entry: &Entry) -> bool {
    entry.kind == EntryKind::Regular
        && entry.size > 0
        && !LayerPath::parse(&entry.name).is_ok_and(|path| matches!(Marker::of(&path), Ok(Some(_))))
}

/// Whether this is what overlay takes for "removed here".
pub(crate) fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

impl TreeWriter<'_> {
    pub(crate) fn make_marker(&mut self, marker: Marker, entry: &Entry) -> Result<(), TreeError> {
        match marker {
            Marker::Metadata => {
                self.report.skipped_markers += 1;
                Ok(())
            }
            Marker::Whiteout(path) => self.make_whiteout(&path, entry),
            Marker::Opaque(path) => self.make_opaque(&path),
        }
    }

    /// Hides `path` of lower layers; what this layer has there stays.
    fn make_whiteout(&mut self, path: &LayerPath, entry: &Entry) -> Result<(), TreeError> {
        let (parent, name) = path.split_last().expect("a whiteout's name is not empty");
        // Some tools remove a directory with `.wh.a` and then each file with `a/.wh.b`.
        if self.is_below_whiteout(&parent) {
            return Ok(());
        }
        let parent = self.parent_of(path, &parent)?;
        let created = mknodat(&parent, name, FileType::CharacterDevice, Mode::empty(), 0);
        match created {
            Ok(()) => {
                let entry = Entry { xattrs: Vec::new(), ..entry.clone() };
                self.apply_to_name(parent.as_fd(), name, path, &entry, false)
            }
            Err(Errno::EXIST) => self.hide_below_existing(parent.as_fd(), name, path),
            Err(errno) => Err(FsError::new("make whiteout", path.as_path(), errno).into()),
        }
    }

    /// A file hides what is below it by being there; a directory has to be told.
    fn hide_below_existing(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        path: &LayerPath,
    ) -> Result<(), TreeError> {
        let stat =
            statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).during("stat", path.as_path())?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            let directory = open_directory(parent, name).during("open", path.as_path())?;
            self.set_opaque(directory.as_fd(), path)?;
        }
        Ok(())
    }

    fn make_opaque(&mut self, path: &LayerPath) -> Result<(), TreeError> {
        if self.is_below_whiteout(path) {
            return Ok(());
        }
        let marker = path.join(OPAQUE)?;
        let directory = self.parent_of(&marker, path)?;
        let directory = open_directory(directory.as_fd(), b".").during("open", path.as_path())?;
        self.set_opaque(directory.as_fd(), path)
    }

    pub(crate) fn set_opaque(
        &self,
        directory: BorrowedFd<'_>,
        path: &LayerPath,
    ) -> Result<(), TreeError> {
        let key = opaque_key(self.options.privileges).as_bytes();
        Node::open(directory, path.as_path()).set_xattr(key, b"y").map_err(|errno| {
            TreeError::Xattr {
                path: path.as_path().to_owned(),
                key: key.into(),
                source: errno.into(),
            }
        })
    }

    /// Whether `path` or a directory above it was removed by this layer and not made again.
    fn is_below_whiteout(&mut self, path: &LayerPath) -> bool {
        // Nearly always there is a directory, or nothing at all.
        if !matches!(self.parents.find(path), Err(Errno::NOTDIR)) {
            return false;
        }
        let mut above = LayerPath::ROOT;
        for part in path.parts() {
            let Ok(next) = above.join(part) else { return false };
            if self.parents.find(&next).is_err() {
                return (self.parents.find(&above))
                    .and_then(|above| statat(&above, part, AtFlags::SYMLINK_NOFOLLOW))
                    .is_ok_and(|stat| is_whiteout(&stat));
            }
            above = next;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marker(name: &str) -> Result<Option<Marker>, TreeError> {
        Marker::of(&path(name))
    }

    fn path(name: &str) -> LayerPath {
        LayerPath::parse(name.as_bytes()).unwrap()
    }

    #[test]
    fn markers_are_told_by_their_names() {
        for (name, expected) in [
            ("a/.wh.b", Some(Marker::Whiteout(path("a/b")))),
            (".wh.b", Some(Marker::Whiteout(path("b")))),
            (".wh.b/", Some(Marker::Whiteout(path("b")))),
            (".wh...b", Some(Marker::Whiteout(path("..b")))),
            (".wh..wh..opq", Some(Marker::Opaque(LayerPath::ROOT))),
            ("a/.wh..wh..opq", Some(Marker::Opaque(path("a")))),
            (".wh..wh.aufs", Some(Marker::Metadata)),
            (".wh..wh.", Some(Marker::Metadata)),
            (".wh..wh.plnk/12.34", Some(Marker::Metadata)),
            (".wh..wh.plnk/.wh.", Some(Marker::Metadata)),
            ("wh.b", None),
            ("a.wh.b", None),
            (".wh", None),
            ("", None),
        ] {
            assert_eq!(marker(name).unwrap(), expected, "{name}");
        }
        for name in [".wh.", "a/.wh.", ".wh..", ".wh...", ".wh.a/b", "x/.wh.a/.wh.b"] {
            assert!(matches!(marker(name), Err(TreeError::WhiteoutName(_))), "{name}");
        }
    }
}
