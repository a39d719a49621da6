//! The mount that a victim makes, or does not.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::Scene;

impl Scene {
    /// Where it is made.
    pub(super) fn target(&self) -> Result<&str> {
        self.target.to_str().context("a plain path")
    }

    /// Whether it is there; that nothing else is.
    pub(super) fn is_mounted(&self) -> Result<bool> {
        let points = mounts_below(self.store.room())?;
        let is_there = points == [self.target.as_path()];
        ensure!(points.is_empty() || is_there, "mounted: {points:?}");
        Ok(is_there)
    }

    /// That it is whole, or can be made, and that it can be unmounted.
    pub(super) fn expect_mount(&self, is_there: bool) -> Result<()> {
        ensure!(self.is_mounted()? == is_there, "there: {is_there}, and not after gc");
        if !is_there {
            self.succeed(&["mount", &self.id()?, self.target()?]).context("the next mount")?;
        }
        let shown = fs::read_to_string(self.target.join("etc/os-release"));
        let deleted = self.target.join("gone").exists();
        self.succeed(&["umount", self.target()?])?;
        let shown = shown.context("read a file of the mount")?;
        ensure!(shown == "VERSION=2, patched\n" && !deleted, "it shows another tree: {shown:?}");
        ensure!(!self.is_mounted()?, "it is there after `umount`");
        Ok(())
    }
}

/// Where something is mounted below a place, as this process and its children see it.
fn mounts_below(place: &Path) -> Result<Vec<PathBuf>> {
    let table = fs::read_to_string("/proc/self/mountinfo").context("read the mount table")?;
    let points = table.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from);
    Ok(points.filter(|point| point.starts_with(place)).collect())
}
