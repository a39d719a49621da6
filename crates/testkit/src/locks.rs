//! Which files are locked at this moment, as the kernel tells it of all processes.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::{major, minor};

/// The files and directories at or below `place` on which somebody has a lock of any kind.
///
/// For filesystems whose files show the device that they are mounted from (not btrfs).
///
/// # Errors
///
/// If `/proc/locks` or a directory cannot be read.
///
/// ```
/// let dir = tempfile::tempdir()?;
/// let file = std::fs::File::create(dir.path().join("a.lock"))?;
/// std::fs::File::create(dir.path().join("b.lock"))?;
/// file.lock()?;
/// assert_eq!(testkit::locks::held_below(dir.path())?, [dir.path().join("a.lock")]);
/// # anyhow::Ok(())
/// ```
pub fn held_below(place: &Path) -> Result<Vec<PathBuf>> {
    let locks = fs::read_to_string("/proc/locks").context("read /proc/locks")?;
    let held: HashSet<_> = locks.lines().filter_map(inode).collect();
    let mut found = Vec::new();
    search(place, &held, &mut found)?;
    found.sort_unstable();
    Ok(found)
}

/// What a line's lock is on: device and inode as they stand there. Who waits has none.
fn inode(line: &str) -> Option<&str> {
    line.split_whitespace().filter(|_| !line.contains("->")).nth(5)
}

fn search(place: &Path, held: &HashSet<&str>, found: &mut Vec<PathBuf>) -> Result<()> {
    let at = || format!("look at {}", place.display());
    let status = place.symlink_metadata().with_context(at)?;
    let (device, number) = (status.dev(), status.ino());
    if held.contains(&*format!("{:02x}:{:02x}:{number}", major(device), minor(device))) {
        found.push(place.to_owned());
    }
    if status.is_dir() {
        for entry in fs::read_dir(place).with_context(at)? {
            search(&entry.with_context(at)?.path(), held, found)?;
        }
    }
    Ok(())
}
