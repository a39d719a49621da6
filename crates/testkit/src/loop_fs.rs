//! A filesystem of one's own, in a sparse file: what others do cannot be seen in its figures.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

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

/// What becomes of the part of the journal that is not on the disk when the power goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Journal {
    /// It is lost with all else.
    Lost,
    /// It was written just before: names and sizes are there, and the data they speak of is not.
    Written,
}

impl LoopFs {
    /// Makes a filesystem of the kind `name` (`xfs`, `btrfs`, `ext4`) below `place`, and mounts it.
    ///
    /// # Errors
    ///
    /// If it cannot be made or mounted.
    pub fn make(place: &Path, name: &'static str, bytes: u64) -> Result<Self> {
        Self::make_with(place, name, bytes, &[])
    }

    /// As [`LoopFs::make`], with more options for `mkfs`.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn make_with(
        place: &Path,
        name: &'static str,
        bytes: u64,
        options: &[&str],
    ) -> Result<Self> {
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
        judge::run(mkfs.args(options).arg(&image))?;
        fs::create_dir(&path).context("make a mount point")?;
        let made = Self { filesystem: Filesystem { name, path }, image };
        made.mount()?;
        Ok(made)
    }

    /// Cuts the power and turns it on again: what was not on the disk is lost. For xfs and
    /// ext4; nobody may have a file on it open.
    ///
    /// # Errors
    ///
    /// If the filesystem cannot be stopped, or not be mounted again.
    pub fn cut_power(&self, journal: Journal) -> Result<()> {
        let path = &self.filesystem.path;
        let shutdown = match journal {
            Journal::Lost => "shutdown",
            Journal::Written => "shutdown -f",
        };
        judge::run(Command::new("xfs_io").args(["-x", "-c", shutdown]).arg(path))?;
        unmount(path)?;
        self.mount()
    }

    fn mount(&self) -> Result<()> {
        // A loop device made in this way goes with its last mount.
        let mut mount = Command::new("mount");
        judge::run(mount.args(["-o", "loop"]).args([&self.image, &self.filesystem.path]))
    }

    /// Mounts an image that is there, where `filesystem` says; dropped, it goes as any other.
    ///
    /// # Errors
    ///
    /// If it cannot be mounted.
    pub fn open(image: &Path, filesystem: &Filesystem) -> Result<Self> {
        let disk = Self { filesystem: filesystem.clone(), image: image.to_owned() };
        disk.mount()?;
        Ok(disk)
    }
}

/// Unmounts a filesystem. A process that another test has just begun shares the descriptors of
/// this one until it is a program of its own, and keeps what they are of busy for that long.
///
/// # Errors
///
/// If it stays busy, or is not mounted.
pub fn unmount(path: &Path) -> Result<()> {
    let mut result = judge::run(Command::new("umount").arg(path));
    for _ in 0..50 {
        if result.is_ok() {
            break;
        }
        thread::sleep(Duration::from_millis(100));
        result = judge::run(Command::new("umount").arg(path));
    }
    result
}

impl Drop for LoopFs {
    fn drop(&mut self) {
        // Best effort: what is busy is the mount namespace's to undo.
        drop(Command::new("umount").args(["-q", "-R"]).arg(&self.filesystem.path).status());
        drop(fs::remove_file(&self.image));
    }
}
