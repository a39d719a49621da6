//! Pulls of ever larger layers, and plans beside ever more of them.

mod watch;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use testkit::layout::Layout;
use testkit::peer::{Podman, Sid};
use testkit::registry::Registry;
use testkit::tree::noise;
use testkit::versions::Content;
use xshell::{Shell, cmd};

use crate::flags::Scale;
use crate::integration::mounts;
use crate::say::step;
use crate::{made, packages, peers, workspace};
use watch::{Seen, watch};

/// Layers in the store while plans are measured, unless somebody says otherwise.
pub(crate) const LAYERS: [u64; 3] = [10, 100, 1000];
/// podman takes too long beyond.
const PODMAN: u64 = 200_000;
/// Layers of one image: stores of others refuse more than 127.
const TOGETHER: u64 = 100;

pub(crate) fn run(flags: &Scale) -> Result<()> {
    packages::ensure(packages::INTEGRATION)?;
    packages::ensure(packages::BENCH)?;
    if flags.podman {
        peers::run()?;
    }
    let sh = workspace::shell()?;
    step("build", || Ok(cmd!(sh, "cargo build --release --locked --bin reflayer").run()?))?;
    mounts::enter_namespace()?;
    let place = tempfile::Builder::new()
        .prefix("reflayer-scale-")
        .tempdir_in("/var/tmp")
        .context("make a place for filesystems")?;
    let filesystem = mounts::make(&sh, place.path(), flags.fs.name())?;
    let result = pulls(&sh, flags, place.path(), &filesystem.path).and_then(|()| {
        if flags.layers.is_empty() { Ok(()) } else { plans(&sh, &filesystem.path, &flags.layers) }
    });
    filesystem.unmount(&sh)?;
    result
}

fn files(count: u64) -> Result<Layout> {
    made::versions(Content::Tiny { files: count, every: 100 })
}

fn pulls(sh: &Shell, flags: &Scale, place: &Path, filesystem: &Path) -> Result<()> {
    let mut lines = Vec::new();
    for &count in &flags.files {
        let layout = files(count)?;
        let store = Store::new(sh, filesystem)?;
        for version in ["v1", "v2"] {
            let what = format!("reflayer {count} {version}");
            let seen = step(&what, || store.measure(&["pull", &reference(&layout, version)]))?;
            lines.push(seen.line(&what, count));
        }
        store.remove(sh)?;
        if flags.podman && count <= PODMAN {
            lines.extend(podman(sh, place, filesystem, &layout, count)?);
        }
    }
    say(&format!("{}\n{}", Seen::HEAD, lines.join("\n")));
    Ok(())
}

/// podman goes by the TOC only from a registry.
fn podman(
    sh: &Shell,
    place: &Path,
    filesystem: &Path,
    layout: &Layout,
    count: u64,
) -> Result<Vec<String>> {
    let sid = Sid::find()?;
    let registry = Registry::start(&place.join(format!("registry-{count}")))?;
    let store = filesystem.join("podman");
    let podman = Podman::new(&sid, &store.join("root"), &store.join("run"))?;
    let mut lines = Vec::new();
    for version in ["v1", "v2"] {
        let name = registry.reference(&format!("scale:{version}"));
        let from = reference(layout, version);
        sid.copy(&[layout.dir()], &from, &name, testkit::peer::Compression::Keep)?;
        let mut command = podman.command();
        command.args(["pull", "--quiet", "--tls-verify=false", &name]);
        let what = format!("podman {count} {version}");
        let seen = step(&what, || watch(&command, &store.join("root")))?;
        lines.push(seen.line(&what, count));
    }
    sh.remove_path(store)?;
    Ok(lines)
}

/// Plans of an image whose files are all there, with more and more other layers in the store.
pub(crate) fn plans(sh: &Shell, filesystem: &Path, layers: &[u64]) -> Result<()> {
    let store = Store::new(sh, filesystem)?;
    let image = files(20_000)?;
    store.reflayer(&["pull", &reference(&image, "v1")])?;
    let (mut present, mut lines) = (1, Vec::new());
    for &wanted in layers {
        while present < wanted {
            let more = TOGETHER.min(wanted - present);
            let many = many(present, more)?;
            store.reflayer(&["pull", "--no-sync", &reference(&many, "many")])?;
            present += more;
        }
        let what = format!("plan beside {present} layers");
        let target = reference(&image, "v2");
        let seen = step(&what, || store.measure(&["plan", &target]))?;
        lines.push(seen.line(&what, 20_000));
    }
    say(&format!("{}\n{}", Seen::HEAD, lines.join("\n")));
    store.remove(sh)
}

/// An image of so many layers of 20 small files; no two such images have anything in common.
fn many(first: u64, layers: u64) -> Result<Layout> {
    made::layout(&format!("many-{first}-{layers}"), |making| {
        making.image("many", layers, |layer, tar| {
            for number in 0..20 {
                let seed = (first + layer) * 1000 + number;
                tar.file(&format!("l{}-{number}", first + layer), &noise(300, seed))?;
            }
            Ok(())
        })
    })
}

fn reference(layout: &Layout, tag: &str) -> String {
    format!("oci:{}:{tag}", layout.dir().display())
}

/// reflayer on a store of its own.
struct Store {
    program: PathBuf,
    place: PathBuf,
}

impl Store {
    fn new(sh: &Shell, filesystem: &Path) -> Result<Self> {
        let program = workspace::target_dir(sh)?.join("release/reflayer");
        Ok(Self { program, place: filesystem.join("reflayer") })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--root").arg(self.place.join("root"));
        command.arg("--runroot").arg(self.place.join("run")).args(arguments);
        command
    }

    fn reflayer(&self, arguments: &[&str]) -> Result<()> {
        testkit::judge::run(&mut self.command(arguments))
    }

    fn measure(&self, arguments: &[&str]) -> Result<Seen> {
        nix::unistd::sync();
        watch(&self.command(arguments), &self.place.join("root"))
    }

    fn remove(&self, sh: &Shell) -> Result<()> {
        Ok(sh.remove_path(&self.place)?)
    }
}

#[expect(clippy::print_stdout, reason = "the table is what was asked for")]
fn say(text: &str) {
    println!("\n{text}\n");
}
