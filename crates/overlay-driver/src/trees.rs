//! The trees of a store that is only read.

use std::os::fd::{AsFd, OwnedFd};

use storage_core::{FsError, LayerId};

use crate::dir::Dir;
use crate::layout::{self, DIFF};

/// The layers' trees of a store that is another's, perhaps on a read-only filesystem.
///
/// Nothing can be changed by it; what else a [`Driver`](crate::Driver) needs may
/// be missing there.
#[derive(Debug)]
pub struct LayerTrees {
    /// `overlay/`, if there is one.
    dir: Option<Dir>,
}

impl LayerTrees {
    /// Opens `overlay/` below the graph root `root`. A store without it has no layers.
    ///
    /// # Errors
    ///
    /// If it is there and cannot be opened.
    pub fn open(root: impl AsFd) -> Result<Self, FsError> {
        let dir = Dir::duplicate(root, "")?.open_if_there(layout::HOME)?;
        Ok(Self { dir })
    }

    /// Opens the root of a layer's tree; see [`Driver::diff`](crate::Driver::diff).
    ///
    /// # Errors
    ///
    /// If the layer has no directory, or it cannot be opened.
    pub fn diff(&self, id: &LayerId) -> Result<OwnedFd, FsError> {
        let Some(dir) = &self.dir else {
            let missing = std::io::Error::from(std::io::ErrorKind::NotFound);
            return Err(FsError::new("open directory", layout::HOME, missing));
        };
        Ok(dir.open(id.as_str())?.open(DIFF)?.into_fd())
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
        assert_eq!(dir.path().join("overlay").read_dir().unwrap().count(), 1);
    }
}
