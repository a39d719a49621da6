//! The trees of a store that is only read.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use storage_core::{FsError, LayerId};

use crate::dir::Dir;
use crate::layout::{self, DIFF};
use crate::mounts::path_of_fd;

/// The layers' trees of a store that is another's, perhaps on a read-only filesystem.
///
/// Nothing can be changed by it; what else a [`Driver`](crate::Driver) needs may
/// be missing there.
#[derive(Debug)]
pub struct LayerTrees {
    /// `overlay/`, if there is one.
    dir: Option<Dir>,
    /// `overlay/l/`, if there is one.
    links: Option<Dir>,
}

impl LayerTrees {
    /// Opens `overlay/` below the graph root `root`. A store without it has no layers.
    ///
    /// # Errors
    ///
    /// If it is there and cannot be opened.
    pub fn open(root: impl AsFd) -> Result<Self, FsError> {
        let dir = Dir::duplicate(root, "")?.open_if_there(layout::HOME)?;
        let links = dir.as_ref().map(|dir| dir.open_if_there(layout::LINKS)).transpose()?;
        Ok(Self { dir, links: links.flatten() })
    }

    /// Whether a layer has a tree here that this process may open.
    pub fn has(&self, id: &LayerId) -> bool {
        self.diff(id).is_ok()
    }

    pub(crate) fn layer_if_there(&self, id: &LayerId) -> Result<Option<Dir>, FsError> {
        let opened = self.dir.as_ref().map(|dir| dir.open_if_there(id.as_str())).transpose()?;
        Ok(opened.flatten())
    }

    pub(crate) fn links(&self) -> Option<&Dir> {
        self.links.as_ref()
    }

    /// The path of a layer's directory, by which this process knows it.
    pub(crate) fn path_of(&self, id: &LayerId) -> Result<PathBuf, FsError> {
        Ok(path_of_fd(self.home()?)?.join(id.as_str()))
    }

    fn home(&self) -> Result<&Dir, FsError> {
        self.dir.as_ref().ok_or_else(|| {
            let missing = std::io::Error::from(std::io::ErrorKind::NotFound);
            FsError::new("open directory", layout::HOME, missing)
        })
    }

    /// Opens the root of a layer's tree; see [`Driver::diff`](crate::Driver::diff).
    ///
    /// # Errors
    ///
    /// If the layer has no directory, or it cannot be opened.
    pub fn diff(&self, id: &LayerId) -> Result<OwnedFd, FsError> {
        Ok(self.home()?.open(id.as_str())?.open(DIFF)?.into_fd())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn trees_are_found_and_nothing_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let id: LayerId = "5f".repeat(32).parse().unwrap();
        let root = File::open(dir.path()).unwrap();
        let without = LayerTrees::open(&root).unwrap();
        let missing = without.diff(&id).unwrap_err();
        assert_eq!(missing.kind(), std::io::ErrorKind::NotFound);
        assert_eq!(dir.path().read_dir().unwrap().count(), 0);

        let diff = dir.path().join("overlay").join(id.as_str()).join("diff");
        std::fs::create_dir_all(&diff).unwrap();
        std::fs::write(diff.join("file"), "").unwrap();
        let trees = LayerTrees::open(&root).unwrap();
        let opened = trees.diff(&id).unwrap();
        assert!(rustix::fs::statat(opened, "file", rustix::fs::AtFlags::empty()).is_ok());
        let other: LayerId = "60".repeat(32).parse().unwrap();
        assert!(trees.diff(&other).is_err());
        assert!(trees.has(&id) && !trees.has(&other));
        assert_eq!(dir.path().join("overlay").read_dir().unwrap().count(), 1);
    }
}
