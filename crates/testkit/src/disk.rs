//! How much of a disk is taken: by the filesystem's own count, and by the extents of files.

use std::fs;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::extents;

/// Bytes in use on the filesystem of `path`, after all that waits was written.
///
/// # Errors
///
/// If it cannot be asked.
pub fn used(path: &Path) -> Result<u64> {
    let directory = fs::File::open(path).with_context(|| format!("open {}", path.display()))?;
    rustix::fs::syncfs(directory.as_fd()).context("flush a filesystem")?;
    let stat = rustix::fs::fstatvfs(directory.as_fd()).context("ask for free blocks")?;
    Ok((stat.f_blocks - stat.f_bfree) * stat.f_frsize)
}

/// Files in use on the filesystem of `path`, directories and all else that has an inode included.
///
/// # Errors
///
/// If it cannot be asked.
pub fn inodes(path: &Path) -> Result<u64> {
    let stat = rustix::fs::statvfs(path).context("ask for free inodes")?;
    Ok(stat.f_files - stat.f_ffree)
}

/// Where the bytes of some trees' files lie on the device.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// Sorted, apart from each other: first byte and the byte after the last.
    runs: Vec<(u64, u64)>,
    /// Bytes of files that are so small that btrfs keeps them beside their inodes.
    tiny: u64,
}

/// The largest such file.
const TINY: u64 = 2048;

impl Places {
    /// Of all files below these directories; what is stored inside inodes is left out.
    ///
    /// # Errors
    ///
    /// If the trees cannot be read, or `filefrag` fails.
    pub fn of(trees: &[PathBuf]) -> Result<Self> {
        let (mut files, mut tiny) = (Vec::new(), 0);
        for tree in trees {
            list(tree, &mut files, &mut tiny)
                .with_context(|| format!("list {}", tree.display()))?;
        }
        let extents = extents::of_all(&files)?;
        let runs = extents.iter().filter(|extent| extent.place > 0);
        let runs = runs.map(|extent| (extent.place, extent.place + extent.length)).collect();
        Ok(Self { tiny, ..Self::from_runs(runs) })
    }

    /// How many bytes these are.
    pub fn bytes(&self) -> u64 {
        self.runs.iter().map(|(start, end)| end - start).sum()
    }

    /// Bytes of all files of up to 2,048 bytes, which btrfs may keep among its metadata.
    pub fn tiny(&self) -> u64 {
        self.tiny
    }

    /// How many of them are also among the others'.
    pub fn common(&self, others: &Self) -> u64 {
        let mut sum = 0;
        let mut others = others.runs.iter().copied().peekable();
        for &(start, end) in &self.runs {
            while let Some(&(from, to)) = others.peek() {
                sum += end.min(to).saturating_sub(start.max(from));
                if to > end {
                    break;
                }
                others.next();
            }
        }
        sum
    }

    fn from_runs(mut runs: Vec<(u64, u64)>) -> Self {
        runs.sort_unstable();
        let mut merged: Vec<(u64, u64)> = Vec::new();
        for (start, end) in runs {
            match merged.last_mut() {
                Some(last) if start <= last.1 => last.1 = last.1.max(end),
                _ => merged.push((start, end)),
            }
        }
        Self { runs: merged, tiny: 0 }
    }
}

fn list(directory: &Path, files: &mut Vec<PathBuf>, tiny: &mut u64) -> std::io::Result<()> {
    for entry in directory.read_dir()? {
        let entry = entry?;
        let meta = entry.metadata()?;
        if meta.is_dir() {
            list(&entry.path(), files, tiny)?;
        } else if meta.is_file() && meta.len() > 0 {
            files.push(entry.path());
            *tiny += if meta.len() <= TINY { meta.len() } else { 0 };
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Places;

    #[test]
    fn places_are_counted_once() {
        let a = Places::from_runs(vec![(30, 40), (0, 10), (5, 20)]);
        assert_eq!((a.runs.clone(), a.bytes()), (vec![(0, 20), (30, 40)], 30));
        let b = Places::from_runs(vec![(8, 12), (15, 35), (38, 50)]);
        assert_eq!((a.common(&b), b.common(&a)), (4 + 5 + 5 + 2, 16));
        assert_eq!(a.common(&Places::default()), 0);
    }
}
