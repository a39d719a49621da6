//! One entry of a layer, whatever described it: a tar header or a TOC.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What a layer says of one file, directory, link or device.
///
/// `tarball` reads it from tar headers, `chunked` from a TOC, `tree` makes it on
/// a filesystem; two descriptions of one layer agree when their entries are equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name exactly as it was written: `./a`, `dir/`, not normalised.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: EntryKind,
    /// Permission bits with setuid, setgid and sticky: at most `0o7777`.
    pub mode: u32,
    /// Owner; never `u32::MAX`, which the kernel takes for "leave as it is".
    pub uid: u32,
    /// Group; never `u32::MAX`.
    pub gid: u32,
    /// Bytes of content; zero for all but regular files.
    pub size: u64,
    /// Time of last modification.
    pub mtime: Time,
    /// Time of last access, where it was recorded.
    pub atime: Option<Time>,
    /// Time of last change of attributes, where it was recorded; cannot be set on a file.
    pub ctime: Option<Time>,
    /// Extended attributes, sorted by key, each key once.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What an [`Entry`] is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A file with content.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link with its text.
    Symlink {
        /// The text, not resolved.
        target: Vec<u8>,
    },
    /// Another name of a file that came before in the same layer.
    HardLink {
        /// The name of that file as it was written.
        target: Vec<u8>,
    },
    /// A character device.
    CharDevice {
        /// Driver.
        major: u32,
        /// Unit.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Driver.
        major: u32,
        /// Unit.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
}

/// A moment, as seconds and nanoseconds since 1970 (UTC).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time {
    /// Whole seconds, rounded down.
    pub seconds: i64,
    /// Nanoseconds after them, below 1,000,000,000.
    pub nanoseconds: u32,
}

impl Time {
    /// 1970-01-01T00:00:00Z, which formats of this field also use for "unknown".
    pub const EPOCH: Self = Self { seconds: 0, nanoseconds: 0 };
}

/// A path below a layer's root: no `..`, no `.`, no empty part, no leading slash.
///
/// The root itself is the empty path. Parts are bytes, not text. A part may
/// still name a symbolic link on disk; whoever resolves a path keeps it below
/// the root.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct LayerPath(Vec<u8>);

/// A name in a layer that is no path below its root.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LayerPathError {
    /// More `..` than parts before them.
    #[error("name {:?} leaves the layer's root", String::from_utf8_lossy(.0))]
    Outside(Vec<u8>),
    /// A zero byte inside.
    #[error("name {:?} has a zero byte", String::from_utf8_lossy(.0))]
    ZeroByte(Vec<u8>),
    /// Longer than the kernel takes, in whole or in one part.
    #[error("name of {0} bytes is too long")]
    TooLong(usize),
}

impl LayerPath {
    /// The layer's root.
    pub const ROOT: Self = Self(Vec::new());

    /// Longest path in bytes: what the kernel takes, less the final zero.
    pub const MAX: usize = 4095;

    /// Longest single part in bytes.
    pub const MAX_PART: usize = 255;

    /// Cleans a name: `./a//b/` and `/a/b` are `a/b`; `a/../b` is `b`.
    ///
    /// # Errors
    ///
    /// If the name leaves the root, has a zero byte, or is too long.
    pub fn parse(name: &[u8]) -> Result<Self, LayerPathError> {
        if name.contains(&0) {
            return Err(LayerPathError::ZeroByte(name.into()));
        }
        let mut path = Vec::with_capacity(name.len());
        for part in name.split(|&b| b == b'/') {
            match part {
                b"" | b"." => {}
                b".." if path.is_empty() => return Err(LayerPathError::Outside(name.into())),
                b".." => path.truncate(path.iter().rposition(|&b| b == b'/').unwrap_or(0)),
                part if part.len() > Self::MAX_PART => {
                    return Err(LayerPathError::TooLong(part.len()));
                }
                part => {
                    if !path.is_empty() {
                        path.push(b'/');
                    }
                    path.extend_from_slice(part);
                }
            }
        }
        if path.len() > Self::MAX {
            return Err(LayerPathError::TooLong(path.len()));
        }
        Ok(Self(path))
    }

    /// Whether this is the layer's root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes: parts joined by single slashes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// As a path of the standard library, for system calls and messages.
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    /// The directory and the last part; `None` for the root.
    pub fn split_last(&self) -> Option<(Self, &[u8])> {
        if self.is_root() {
            return None;
        }
        Some(match self.0.iter().rposition(|&b| b == b'/') {
            Some(slash) => (Self(self.0[..slash].into()), &self.0[slash + 1..]),
            None => (Self::ROOT, &self.0),
        })
    }

    /// The parts from the top; none for the root.
    pub fn parts(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|&b| b == b'/').filter(|part| !part.is_empty())
    }

    /// Whether a path is this one, or below it.
    ///
    /// ```
    /// # use storage_core::LayerPath;
    /// let path = |text: &str| LayerPath::parse(text.as_bytes());
    /// assert!(path("usr")?.holds(&path("usr/bin")?) && path("usr")?.holds(&path("usr")?));
    /// assert!(LayerPath::ROOT.holds(&path("usr")?) && !path("us")?.holds(&path("usr")?));
    /// # Ok::<(), storage_core::LayerPathError>(())
    /// ```
    pub fn holds(&self, other: &Self) -> bool {
        let rest = other.0.strip_prefix(&*self.0);
        rest.is_some_and(|rest| self.is_root() || rest.is_empty() || rest[0] == b'/')
    }

    /// The path of `part` in this directory.
    ///
    /// # Errors
    ///
    /// As for [`LayerPath::parse`].
    pub fn join(&self, part: &[u8]) -> Result<Self, LayerPathError> {
        Self::parse(&[self.as_bytes(), b"/", part].concat())
    }
}

impl fmt::Debug for LayerPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_path(), f)
    }
}

impl fmt::Display for LayerPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.as_path().display(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clean(name: &str) -> Option<String> {
        let path = LayerPath::parse(name.as_bytes()).ok()?;
        Some(String::from_utf8(path.0).unwrap())
    }

    #[test]
    fn names_are_cleaned_below_the_root() {
        for (name, expected) in [
            ("", ""),
            (".", ""),
            ("./", ""),
            ("/", ""),
            ("./a//b/", "a/b"),
            ("/a/./b", "a/b"),
            ("a/../b", "b"),
            ("a/b/../../c", "c"),
            ("a/..", ""),
            ("..a/b..", "..a/b.."),
        ] {
            assert_eq!(clean(name).as_deref(), Some(expected), "{name:?}");
        }
    }

    #[test]
    fn names_that_leave_the_root_are_refused() {
        for name in ["..", "../a", "/..", "a/../../b", "a\0b"] {
            assert_eq!(clean(name), None, "{name:?}");
        }
        assert_eq!(clean(&"x".repeat(256)), None);
        assert_eq!(clean(&"x/".repeat(2049)), None);
    }

    #[test]
    fn a_path_splits_into_directory_and_last_part() {
        let path = LayerPath::parse(b"a/b/c").unwrap();
        let (directory, last) = path.split_last().unwrap();
        assert_eq!((directory.as_bytes(), last), (&b"a/b"[..], &b"c"[..]));
        assert_eq!(directory.join(last).unwrap(), path);
        assert_eq!(LayerPath::ROOT.split_last(), None);
    }
}
