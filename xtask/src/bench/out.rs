//! A real image written as zstd:chunked, side by side with skopeo.
//!
//! Both write OCI layouts that are new each time: a registry would remember blobs, and
//! skopeo remembers which registry has which.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use testkit::peer::{Compression, Podman, Sid, peers_dir};
use testkit::registry::Traffic;
use xshell::{Shell, cmd};

use super::measure::{Sample, measure};
use super::{Pair, table};
use crate::say::step;
use crate::workspace;

/// What is written from where, and how hard both compress; the defaults are 6 and 3.
const WAYS: [(&str, From, Option<&str>); 3] = [
    ("convert, level 3", From::Layout, Some("3")),
    ("push, level 3", From::Store, Some("3")),
    ("push, default levels", From::Store, None),
];

#[derive(Debug, Clone, Copy)]
enum From {
    /// Uncompressed layers of a layout.
    Layout,
    /// The store that both read.
    Store,
}

/// The name of the image in the store.
const NAME: &str = "localhost/app:v1";

struct Out {
    program: PathBuf,
    place: PathBuf,
    sid: Sid,
    podman: Podman,
}

/// Runs all rounds, and prints the table.
pub(super) fn run(sh: &Shell, filesystem: &str, place: &Path, rounds: usize) -> Result<()> {
    let out = Out::new(sh, place)?;
    let mut pairs: Vec<Pair> = WAYS.iter().map(|&(what, ..)| Pair::new(what)).collect();
    for round in 0..rounds {
        step(&format!("round {}", round + 1), || {
            for (pair, (_, from, level)) in pairs.iter_mut().zip(WAYS) {
                pair.ours.push(out.sample(|| out.reflayer(from, level))?);
                pair.theirs.push(out.sample(|| out.skopeo(from, level))?);
            }
            Ok(())
        })?;
    }
    table::print(&format!("{filesystem}, out"), "skopeo", &table::COLUMNS[..4], &pairs);
    Ok(())
}

impl Out {
    fn new(sh: &Shell, place: &Path) -> Result<Self> {
        let program = workspace::target_dir(sh)?.join("release/reflayer");
        let (root, run) = (place.join("root"), place.join("run"));
        fs::create_dir_all(place.join("tmp")).context("make a place for temporary files")?;
        let from = format!("oci:{}:v1", layout().display());
        cmd!(sh, "{program} --root {root} --runroot {run} pull --name {NAME} {from}")
            .ignore_stdout()
            .run()?;
        let sid = Sid::find()?;
        let podman = Podman::new(&sid, &root, &run)?;
        Ok(Self { program, place: place.to_owned(), sid, podman })
    }

    fn reflayer(&self, from: From, level: Option<&str>) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--root").arg(self.place.join("root"));
        command.arg("--runroot").arg(self.place.join("run"));
        match from {
            From::Layout => command.args(["convert", &format!("oci:{}:v1", layout().display())]),
            From::Store => command.args(["push", NAME]),
        };
        command.arg(self.target()).arg("--tmpdir").arg(self.place.join("tmp"));
        command.args(level.map(|level| ["--compression-level", level]).into_iter().flatten());
        command
    }

    fn skopeo(&self, from: From, level: Option<&str>) -> Command {
        let tmp = self.place.join("tmp");
        let shared = [&*self.place, &layout()];
        let (mut command, source) = match from {
            From::Layout => (
                self.sid.skopeo_copy(&shared, Compression::Chunked),
                format!("oci:{}:v1", layout().display()),
            ),
            From::Store => {
                let mut command = self.podman.skopeo_copy(&shared[..1]);
                command.args(Compression::Chunked.options());
                (command, format!("containers-storage:{NAME}"))
            }
        };
        command.args(level.map(|level| format!("--dest-compress-level={level}")));
        // What lies below the root's own /var/tmp would be in memory.
        command.args([source, self.target()]).env("TMPDIR", tmp);
        command
    }

    fn sample(&self, command: impl Fn() -> Command) -> Result<Sample> {
        nix::unistd::sync();
        let usage = measure(&command())?;
        let written = self.place.join("written");
        let traffic = blobs(&written)?;
        fs::remove_dir_all(&written).context("remove a layout")?;
        Ok(Sample { usage, traffic })
    }

    fn target(&self) -> String {
        format!("oci:{}:v1", self.place.join("written").display())
    }
}

fn layout() -> PathBuf {
    peers_dir().join("images/oci-plain")
}

/// Number and lengths of the blobs of a layout.
fn blobs(layout: &Path) -> Result<Traffic> {
    let mut traffic = Traffic::default();
    for blob in fs::read_dir(layout.join("blobs/sha256")).context("list blobs")? {
        traffic.requests += 1;
        traffic.bytes += blob.context("list blobs")?.metadata().context("stat a blob")?.len();
    }
    Ok(traffic)
}
