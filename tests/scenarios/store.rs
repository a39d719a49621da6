//! A store of one scenario, and the command working on it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;
use testkit::compare::{self, Options, Whiteouts};
use testkit::fs_role::Filesystem;
use testkit::layout::Image;
use testkit::peer::Podman;

use crate::world;

/// A store in a room of its own.
pub(crate) struct Store {
    room: TempDir,
}

impl Store {
    /// An empty store on a filesystem.
    pub(crate) fn new(filesystem: &Filesystem) -> Result<Self> {
        Ok(Self { room: filesystem.room().context("make a room for a store")? })
    }

    /// The graph root.
    pub(crate) fn root(&self) -> PathBuf {
        self.room.path().join("root")
    }

    /// The run root.
    pub(crate) fn run_root(&self) -> PathBuf {
        self.room.path().join("run")
    }

    /// Room on the same filesystem for what belongs to the scenario.
    pub(crate) fn room(&self) -> &Path {
        self.room.path()
    }

    /// `reflayer` on this store.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(world::binary());
        command.arg("--root").arg(self.root()).arg("--runroot").arg(self.run_root());
        command.args(arguments);
        command
    }

    /// `reflayer` on this store, ended with status 124 when it takes too long: a hang is a failure.
    pub(crate) fn patient(&self, seconds: u32, arguments: &[&str]) -> Command {
        let plain = self.command(arguments);
        let mut command = Command::new("timeout");
        command.args(["-k", "5", &seconds.to_string()]);
        command.arg(plain.get_program()).args(plain.get_args());
        command
    }

    /// Runs `reflayer` on this store, whatever comes of it.
    pub(crate) fn output(&self, arguments: &[&str]) -> Result<Output> {
        self.command(arguments).output().context("start reflayer")
    }

    /// Runs `reflayer`, and gives the JSON document that it prints.
    pub(crate) fn json(&self, arguments: &[&str]) -> Result<Value> {
        let out = self.output(&[&["--json"], arguments].concat())?;
        if !out.status.success() {
            bail!("reflayer {arguments:?}: {}\n{}", out.status, said(&out));
        }
        serde_json::from_slice(&out.stdout)
            .with_context(|| format!("reflayer {arguments:?} printed {}", said(&out)))
    }

    /// Pulls, and gives the report.
    pub(crate) fn pull(&self, reference: &str) -> Result<Report> {
        Ok(Report(self.json(&["pull", reference])?))
    }

    /// That `reflayer check` finds nothing.
    pub(crate) fn expect_clean(&self) -> Result<()> {
        let out = self.output(&["check"])?;
        ensure!(out.status.success(), "reflayer check: {}\n{}", out.status, said(&out));
        Ok(())
    }

    /// The ids of the images.
    pub(crate) fn image_ids(&self) -> Result<Vec<String>> {
        ids(&self.json(&["images"])?)
    }

    /// The ids of the layers.
    pub(crate) fn layer_ids(&self) -> Result<Vec<String>> {
        ids(&self.json(&["layers"])?)
    }

    /// The tree of a layer.
    pub(crate) fn diff(&self, layer_id: &str) -> PathBuf {
        self.root().join("overlay").join(layer_id).join("diff")
    }

    /// podman on this store.
    pub(crate) fn podman(&self) -> Result<Podman> {
        Podman::new(&world::sid()?, &self.root(), &self.run_root())
    }

    /// That the tree of every layer is what GNU tar makes of its tar.
    pub(crate) fn expect_trees(&self, image: &Image) -> Result<()> {
        for (index, layer) in image.layers.iter().enumerate() {
            let tree = world::judged_tree(&layer.diff_id)?;
            // Only the base layers of the real images have an entry for their top.
            let options = Options { whiteouts: Whiteouts::Aufs, ignore_top: index > 0 };
            let found = compare::trees(&tree, &self.diff(&layer.layer_id), &options)?;
            compare::expect_none(&format!("layer {}", layer.layer_id), &found)?;
        }
        Ok(())
    }

    /// What is left of pulls and removals, and should not be.
    pub(crate) fn leftovers(&self) -> Vec<PathBuf> {
        let marks = ["reflayer-pulls", "reflayer-blobs"].map(|place| self.run_root().join(place));
        let marks = marks.iter().flat_map(|place| entries(place));
        let is_mutex = |path: &PathBuf| ["lock", ".lock"].iter().any(|name| path.ends_with(name));
        leftovers(&self.root()).into_iter().chain(marks.filter(|mark| !is_mutex(mark))).collect()
    }
}

/// What stands in directories that pulls and removals use, and that should be empty after them.
pub(crate) fn leftovers(root: &Path) -> Vec<PathBuf> {
    let places = ["overlay/staging", "overlay/tempdirs", "overlay-layers/tmp"];
    places.into_iter().flat_map(|place| entries(&root.join(place))).collect()
}

fn entries(place: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    place.read_dir().into_iter().flatten().flatten().map(|entry| entry.path())
}

/// What a command said, on both ways.
pub(crate) fn said(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

/// The ids in a list that the command printed.
pub(crate) fn ids(list: &Value) -> Result<Vec<String>> {
    let list = list.as_array().with_context(|| format!("not a list: {list}"))?;
    let id = |item: &Value| item["id"].as_str().map(str::to_owned).context("an item without an id");
    list.iter().map(id).collect()
}

/// The report of a pull.
pub(crate) struct Report(pub(crate) Value);

impl Report {
    /// A sum over all layers.
    pub(crate) fn bytes(&self, name: &str) -> Result<u64> {
        let value = &self.0["bytes"][name];
        value.as_u64().with_context(|| format!("no bytes.{name} in {}", self.0))
    }

    /// Requests for blobs of layers.
    pub(crate) fn requests(&self) -> u64 {
        self.layers().filter_map(|layer| layer["requests"].as_u64()).sum()
    }

    /// Bytes of all blobs.
    pub(crate) fn blobs(&self) -> u64 {
        self.layers().filter_map(|layer| layer["bytes"]["blob"].as_u64()).sum()
    }

    /// The way that each layer took.
    pub(crate) fn paths(&self) -> Vec<&str> {
        self.layers().filter_map(|layer| layer["path"].as_str()).collect()
    }

    /// Why each layer took its way.
    pub(crate) fn reasons(&self) -> Vec<&str> {
        self.layers().filter_map(|layer| layer["reason"].as_str()).collect()
    }

    fn layers(&self) -> impl Iterator<Item = &Value> {
        self.0["layers"].as_array().into_iter().flatten()
    }

    /// One line of figures.
    pub(crate) fn figures(&self) -> String {
        let count = |name| self.bytes(name).map_or_else(|_| "?".into(), |n| n.to_string());
        format!(
            "paths {:?} blobs {} fetched {} in {} requests, reused files {} chunks {}, shared {}, \
             holes {}, written {}, {} ms",
            self.paths(),
            self.blobs(),
            count("fetched"),
            self.requests(),
            count("reused_files"),
            count("reused_chunks"),
            count("shared"),
            count("holes"),
            count("written"),
            self.0["duration_ms"],
        )
    }
}
