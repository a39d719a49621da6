//! A small image that has every kind of entry, for scenarios that pull it hundreds of times.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use testkit::judge::{self, Names};
use testkit::peer::Compression;
use testkit::tree::{Tree, char_device, directory, fifo, file, hard_link, noise, sparse, symlink};

use crate::built::Built;
use crate::world;

/// Makes two versions of it at `place`, tags v1 and v2, in these forms.
pub(crate) fn make(place: &Path, forms: &[Compression]) -> Result<Built> {
    let layers = |seed| vec![(base(seed), Names::WithTop), (top(seed), Names::Bare)];
    Built::from_trees(place, forms, &[("v1", layers(1)), ("v2", layers(2))])
}

/// A program that needs nothing else: on Debian it is linked statically.
pub(crate) const PROGRAM: &str = "sbin/ldconfig";

/// As `make`, with a program to run; made once, where everybody may read it.
pub(crate) fn runnable(forms: &[Compression]) -> Result<Built> {
    let place = world::once("runnable", |place| {
        let program = std::fs::read(Path::new("/").join(PROGRAM)).context("read a program")?;
        let layers = |seed| {
            let base = base(seed).with(PROGRAM, file(program.clone()).mode(0o755));
            vec![(base, Names::WithTop), (top(seed), Names::Bare)]
        };
        Built::from_trees(place, forms, &[("v1", layers(1)), ("v2", layers(2))])?;
        // The trees of the judge keep their modes.
        let layouts = forms.iter().map(|form| place.join(form.word()));
        judge::run(Command::new("chmod").args(["-R", "a+rX"]).args(layouts))?;
        judge::run(Command::new("chmod").arg("a+rx").arg(place))
    })?;
    Ok(Built::open(&place))
}

fn base(seed: u64) -> Tree {
    Tree::new()
        .with(".", directory())
        .with("etc/os-release", file(format!("VERSION={seed}\n")))
        .with("usr/bin/tool", file(noise(200_000, 100)).mode(0o4755))
        .with("usr/bin/alias", hard_link("usr/bin/tool"))
        .with("usr/lib/big", file([noise(150_000, 101), noise(50_000, seed)].concat()))
        .with("usr/lib/link", symlink("big"))
        .with("var/sparse", sparse(1 << 20, vec![(300_000, noise(5000, 102))]))
        .with("dev/null", char_device(1, 3).mode(0o666))
        .with("run/pipe", fifo())
        .with("opt/owned", file("x").owner(1000, 1000).xattr("user.note", "kept"))
        .with("gone", file("deleted by the next layer"))
}

fn top(seed: u64) -> Tree {
    Tree::new()
        .with(".wh.gone", file(""))
        .with("etc/os-release", file(format!("VERSION={seed}, patched\n")))
        .with("opt/.wh..wh..opq", file(""))
        .with("opt/new", file(noise(70_000, 103)))
}
