//! A store whose v1 is about to suffer while v2 is pulled, again and again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use testkit::fs_role::Filesystem;
use testkit::judge;
use testkit::loop_fs::unmount;
use testkit::peer::Compression;

use crate::built::Built;
use crate::store::{Report, Store, said};

/// The store, and a copy of how it was with v1 alone.
pub(crate) struct Scene {
    /// Goes before the store does: what is mounted cannot be removed.
    elsewhere: Option<Elsewhere>,
    pub(crate) store: Store,
    built: Built,
    /// What v2 takes from v1 when nobody disturbs it.
    pub(crate) reused: u64,
}

/// The trees of v1's layers, on another device.
struct Elsewhere {
    room: TempDir,
    mounted: Vec<PathBuf>,
}

/// No pull of so small an image takes longer, unless it hangs.
pub(crate) const SECONDS: u32 = 60;
const FORM: Compression = Compression::Chunked;

impl Scene {
    /// A store on `filesystem` with v1 of `built`; with its trees on `other`, if given.
    pub(crate) fn new(
        filesystem: &Filesystem,
        built: Built,
        other: Option<&Filesystem>,
    ) -> Result<Self> {
        let store = Store::new(filesystem)?;
        store.pull(&built.reference(FORM, "v1"))?;
        copy(&store.root(), &store.room().join("pristine"))?;
        let elsewhere = match other {
            Some(other) => Some(Elsewhere { room: other.room()?, mounted: Vec::new() }),
            None => None,
        };
        let mut scene = Self { elsewhere, store, built, reused: 0 };
        scene.restore()?;
        let report = Report(scene.store.json(&["pull", &scene.reference()])?);
        eprintln!("{} undisturbed: {}", filesystem.name, report.figures());
        scene.reused = reused(&report)?;
        ensure!(scene.reused > 0, "v2 takes nothing from v1: what is there to disturb?");
        scene.expect_right().context("undisturbed")?;
        scene.restore()?;
        Ok(scene)
    }

    /// Whether the trees of v1's layers are on another device.
    pub(crate) fn is_elsewhere(&self) -> bool {
        self.elsewhere.is_some()
    }

    /// The directories of v1's layers.
    pub(crate) fn layers(&self) -> Result<Vec<PathBuf>> {
        let image = self.built.layout(FORM).image("v1")?;
        let layer = |id: &String| self.store.root().join("overlay").join(id);
        Ok(image.layers.iter().map(|found| layer(&found.layer_id)).collect())
    }

    /// The trees of v1's layers.
    pub(crate) fn trees(&self) -> Result<Vec<PathBuf>> {
        Ok(self.layers()?.into_iter().map(|layer| layer.join("diff")).collect())
    }

    /// The id of a version.
    pub(crate) fn id(&self, version: &str) -> Result<String> {
        Ok(self.built.layout(FORM).image(version)?.config)
    }

    /// How v2 is named.
    pub(crate) fn reference(&self) -> String {
        self.built.reference(FORM, "v2")
    }

    /// The pull that is disturbed.
    pub(crate) fn pull(&self) -> Command {
        self.store.patient(SECONDS, &["--json", "pull", &self.reference()])
    }

    /// That a pull came to a good end; gives what it reused.
    pub(crate) fn expect_good(&self, out: &Output) -> Result<u64> {
        ensure!(out.status.success(), "the pull: {}\n{}", out.status, said(out));
        ensure!(!said(out).contains("panicked"), "{}", said(out));
        let report = serde_json::from_slice(&out.stdout).context("parse the report")?;
        self.expect_right()?;
        reused(&Report(report))
    }

    /// That v2 is there, whole, and nothing is left of the pull; then removes it.
    pub(crate) fn expect_right(&self) -> Result<()> {
        let image = self.built.layout(FORM).image("v2")?;
        self.built.expect_in(&self.store, &image)?;
        ensure!(self.store.leftovers().is_empty(), "left over: {:?}", self.store.leftovers());
        let out = self.store.output(&["rmi", &image.config])?;
        ensure!(out.status.success(), "rmi: {}", said(&out));
        for layer in &image.layers {
            let diff = self.store.diff(&layer.layer_id);
            ensure!(!diff.exists(), "rmi left {}", diff.display());
        }
        Ok(())
    }

    /// Brings back the store with v1 alone.
    pub(crate) fn restore(&mut self) -> Result<()> {
        if let Some(elsewhere) = &mut self.elsewhere {
            elsewhere.unmount()?;
        }
        let root = self.store.root();
        fs::remove_dir_all(&root).context("remove the root")?;
        copy(&self.store.room().join("pristine"), &root)?;
        let trees = self.trees()?;
        self.elsewhere.as_mut().map_or(Ok(()), |elsewhere| elsewhere.mount(&trees))
    }

    /// That the store is sound when all is done and v1 was restored.
    pub(crate) fn expect_sound(&mut self) -> Result<()> {
        self.restore()?;
        self.store.pull(&self.reference())?;
        self.store.expect_clean()
    }
}

/// Bytes that a pull took from local files.
fn reused(report: &Report) -> Result<u64> {
    Ok(report.bytes("reused_files")? + report.bytes("reused_chunks")?)
}

impl Elsewhere {
    fn mount(&mut self, trees: &[PathBuf]) -> Result<()> {
        for (index, tree) in trees.iter().enumerate() {
            let place = self.room.path().join(index.to_string());
            if place.exists() {
                fs::remove_dir_all(&place).context("remove a tree")?;
            }
            copy(tree, &place)?;
            judge::run(Command::new("mount").arg("--bind").args([&place, tree]))?;
            self.mounted.push(tree.clone());
        }
        Ok(())
    }

    fn unmount(&mut self) -> Result<()> {
        while let Some(tree) = self.mounted.pop() {
            unmount(&tree)?;
        }
        Ok(())
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        // A scenario that failed has its own message.
        drop(self.unmount());
    }
}

/// `to` must not exist; clones where that is possible.
fn copy(from: &Path, to: &Path) -> Result<()> {
    judge::run(Command::new("cp").args(["-a", "--reflink=auto"]).args([from, to]))
}
