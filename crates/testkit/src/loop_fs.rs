//! A filesystem of one's own, in a sparse file: what others do cannot be seen in its figures.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::fs_role::Filesystem;
use crate::judge;

/// A mounted filesystem; unmounted and removed when dropped. Root only.
#[derive(Debug)]
pub struct LoopFs {
    /// As a role.
    pub filesystem: Filesystem,
    image: PathBuf,
}

impl LoopFs {
    /// Makes a filesystem of the kind `name` (`xfs`, `btrfs`, `ext4`) below `place`, and mounts it.
    ///
    /// # Errors
    ///
    /// If it cannot be made or mounted.
    pub fn make(place: &Path, name: &'static str, bytes: u64) -> Result<Self> {
        let image = place.join(format!("{name}.img"));
        let path = place.join(name);
        File::create_new(&image)
            .and_then(|file| file.set_len(bytes))
            .with_context(|| format!("make {}", image.display()))?;
        let mut mkfs = Command::new(format!("mkfs.{name}"));
        mkfs.args(match name {
            "xfs" => ["-q", "-m", "reflink=1"].as_slice(),
            "btrfs" => &["-q"],
            _ => &["-q", "-F"],
        });
        judge::run(mkfs.arg(&image))?;
        fs::create_dir(&path).context("make a mount point")?;
        // A loop device made in this way goes with its last mount.
        judge::run(Command::new("mount").args(["-o", "loop"]).args([&image, &path]))?;
        Ok(Self { filesystem: Filesystem { name, path }, image })
    }
}

impl Drop for LoopFs {
    fn drop(&mut self) {
        // Best effort: what is busy is the mount namespace's to undo.
        drop(Command::new("umount").arg("-R").arg(&self.filesystem.path).status());
        drop(fs::remove_file(&self.image));
    }
}
