//! Pulls side by side with podman, and what goes out beside skopeo, in one run on one
//! store's filesystem.
//!
//! Only ratios mean something: both programs take turns, so that whatever else
//! the machine does hits both.

pub(crate) mod measure;
mod out;
mod table;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use testkit::layout::Layout;
use testkit::peer::{Compression, Podman, Sid, peers_dir};
use testkit::registry::{Registry, Traffic};
use testkit::versions::Content;
use xshell::{Shell, cmd};

use crate::flags::{Bench, What};
use crate::integration::mounts;
use crate::say::step;
use crate::{made, packages, peers, scale, workspace};
use measure::{Sample, measure};

/// What is pulled, one after the other, into a store that is empty at first.
const PULLS: [(&str, &str); 3] =
    [("v1", "cold pull of v1"), ("v2", "update to v2"), ("v2", "v2 again")];

pub(crate) fn run(flags: &Bench) -> Result<()> {
    ensure!(packages::is_root(), "filesystems can be made and mounted by root only");
    packages::ensure(packages::INTEGRATION)?;
    packages::ensure(packages::BENCH)?;
    peers::run()?;
    let sh = workspace::shell()?;
    step("build", || Ok(cmd!(sh, "cargo build --release --locked --bin reflayer").run()?))?;
    mounts::enter_namespace()?;
    let place = tempfile::Builder::new()
        .prefix("reflayer-bench-")
        .tempdir_in("/var/tmp")
        .context("make a place for filesystems")?;
    for fs in &flags.fs {
        let filesystem = mounts::make(&sh, place.path(), fs.name())?;
        let other = match flags.what {
            What::Plan => Some(scale::plans(&sh, &filesystem.path, &scale::LAYERS)),
            What::Out => Some(out::run(&sh, fs.name(), &filesystem.path, flags.rounds)),
            _ => None,
        };
        if let Some(result) = other {
            filesystem.unmount(&sh)?;
            result?;
            continue;
        }
        let bench = World::new(&sh, place.path(), &filesystem.path, &layout(flags.what)?)?;
        let samples = bench.rounds(&sh, flags.rounds);
        drop(bench);
        filesystem.unmount(&sh)?;
        table::print(fs.name(), "podman", &table::COLUMNS, &samples?);
    }
    Ok(())
}

/// The images, tags v1 and v2.
fn layout(what: What) -> Result<Layout> {
    match what {
        What::Pulls | What::Plan | What::Out => {
            Ok(Layout::open(&peers_dir().join("images/oci-chunked")))
        }
        What::Insertions => made::versions(Content::Insertions(256 << 20)),
        What::Tiny => made::versions(Content::Tiny { files: 200_000, every: 100 }),
        What::Repeated => made::versions(Content::Repeated),
    }
}

/// What every round needs.
struct World {
    program: PathBuf,
    sid: Sid,
    registry: Registry,
    place: PathBuf,
}

/// The samples of one kind of work, one of each program per round.
pub(crate) struct Pair {
    pub(crate) what: &'static str,
    pub(crate) ours: Vec<Sample>,
    pub(crate) theirs: Vec<Sample>,
}

impl Pair {
    fn new(what: &'static str) -> Self {
        Self { what, ours: Vec::new(), theirs: Vec::new() }
    }
}

impl World {
    fn new(sh: &Shell, place: &Path, filesystem: &Path, layout: &Layout) -> Result<Self> {
        let sid = Sid::find()?;
        let registry = Registry::start(&place.join("registry"))?;
        for version in ["v1", "v2"] {
            let from = format!("oci:{}:{version}", layout.dir().display());
            let to = registry.reference(&format!("bench:{version}"));
            sid.copy(&[layout.dir()], &from, &to, Compression::Keep)?;
        }
        let program = workspace::target_dir(sh)?.join("release/reflayer");
        Ok(Self { program, sid, registry, place: filesystem.to_owned() })
    }

    fn rounds(&self, sh: &Shell, rounds: usize) -> Result<Vec<Pair>> {
        let mut pairs: Vec<Pair> = PULLS.iter().map(|&(_, what)| Pair::new(what)).collect();
        for round in 0..rounds {
            step(&format!("round {}", round + 1), || {
                let ours = self.place.join("reflayer");
                for (pair, (version, _)) in pairs.iter_mut().zip(PULLS) {
                    pair.ours.push(self.reflayer(&ours, version)?);
                }
                let theirs = self.place.join("podman");
                let podman = Podman::new(&self.sid, &theirs.join("root"), &theirs.join("run"))?;
                for (pair, (version, _)) in pairs.iter_mut().zip(PULLS) {
                    pair.theirs.push(self.podman(&podman, version)?);
                }
                // podman keeps its root mounted on itself, inside its own namespace only.
                for store in [&ours, &theirs] {
                    sh.remove_path(store)?;
                }
                Ok(())
            })?;
        }
        Ok(pairs)
    }

    fn reflayer(&self, store: &Path, version: &str) -> Result<Sample> {
        let mut command = std::process::Command::new(&self.program);
        command.arg("--root").arg(store.join("root")).arg("--runroot").arg(store.join("run"));
        command.arg("pull").arg(self.registry.reference(&format!("bench:{version}")));
        self.sample(&command)
    }

    fn podman(&self, podman: &Podman, version: &str) -> Result<Sample> {
        let mut command = podman.command();
        command.args(["pull", "--quiet", "--tls-verify=false"]);
        command.arg(self.registry.reference(&format!("bench:{version}")));
        self.sample(&command)
    }

    fn sample(&self, command: &std::process::Command) -> Result<Sample> {
        // What one pull left unwritten is not to be paid by the next.
        nix::unistd::sync();
        let mark = self.registry.mark()?;
        let usage = measure(command)?;
        let traffic = Traffic::of_blobs(&self.registry.since(mark)?);
        Ok(Sample { usage, traffic })
    }
}
