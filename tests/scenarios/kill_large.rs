//! R1, R2: killed at any moment of a pull of 20,000 files, a store opens, holds the image whole
//! or not at all, serves the next pull, and has nothing left over after one collection.

use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use testkit::fs_role::Filesystem;
use testkit::layout::Image;
use testkit::tried::tried;

use crate::needs::on;
use crate::pairs::{self, Pair};
use crate::store::{Store, said};
use crate::world::setting_or;

const FILES: u64 = 20_000;
/// Of so many kills one is followed by a pull at once, and not by a collection.
const PER_PULL: u32 = 10;

pub(crate) fn trials() -> Vec<Trial> {
    vec![on("xfs", "r1_r2_killed_in_a_large_pull", many_moments)]
}

/// `REFLAYER_KILLS` says at how many moments, which are spread evenly over a pull.
fn many_moments(filesystem: &Filesystem) -> Result<()> {
    let kills = u32::try_from(setting_or("REFLAYER_KILLS", 5, 500))?;
    let pair = pairs::of_tiny_files(FILES)?;
    let bench = Bench::new(filesystem, &pair)?;
    let (mut whole, mut killed) = (bench.undisturbed()?, 0);
    for number in 0..kills {
        let after = whole.mul_f64((f64::from(number) + 0.5) / f64::from(kills));
        let ended = bench.kill_after(after)?;
        match ended {
            // The machine is faster now than when it was measured.
            Some(time) => whole = time,
            None => killed += 1,
        }
        let is_pull = number % PER_PULL == PER_PULL / 2;
        bench.expect_sound(is_pull).with_context(|| format!("killed after {after:?}"))?;
    }
    bench.pull_and_remove(true)?;
    ensure!(killed > kills / 2, "only {killed} of {kills} pulls were killed");
    tried(filesystem.name, killed.into(), &format!("kills in a pull of {FILES} files"))
}

struct Bench<'a> {
    store: Store,
    pair: &'a Pair,
    image: Image,
    reference: String,
}

impl<'a> Bench<'a> {
    fn new(filesystem: &Filesystem, pair: &'a Pair) -> Result<Self> {
        let layout = pair.layout();
        let reference = format!("oci:{}:v1", layout.dir().display());
        Ok(Self { store: Store::new(filesystem)?, pair, image: layout.image("v1")?, reference })
    }

    /// How long a pull takes.
    fn undisturbed(&self) -> Result<Duration> {
        let start = Instant::now();
        self.store.pull(&self.reference)?;
        let time = start.elapsed();
        self.remove()?;
        Ok(time)
    }

    /// Kills a pull; the time that it took, if it had ended by then.
    fn kill_after(&self, time: Duration) -> Result<Option<Duration>> {
        let mut pull: Command = self.store.command(&["pull", &self.reference]);
        pull.stdout(Stdio::null()).stderr(Stdio::null());
        let start = Instant::now();
        let mut running = pull.spawn().context("start a pull")?;
        thread::sleep(time);
        running.kill().context("kill a pull")?;
        let status = running.wait().context("wait for a pull")?;
        if status.code().is_none() {
            return Ok(None);
        }
        ensure!(status.success(), "an undisturbed pull: {status}");
        Ok(Some(start.elapsed()))
    }

    /// All that is promised; leaves the store empty.
    fn expect_sound(&self, is_pull: bool) -> Result<()> {
        let has_image = !self.store.image_ids().context("the store opens")?.is_empty();
        if is_pull {
            return self.pull_and_remove(false);
        }
        if has_image {
            return self.remove();
        }
        self.succeed(&["gc"])?;
        self.expect_empty()
    }

    fn pull_and_remove(&self, is_last: bool) -> Result<()> {
        self.store.pull(&self.reference).context("the next pull")?;
        self.succeed(&["check", "--level", "content"])?;
        if is_last {
            self.pair.expect_in(&self.store, &self.image)?;
        }
        self.remove()
    }

    /// Removes the image, whose files must be what they should be.
    fn remove(&self) -> Result<()> {
        self.succeed(&["check", "--level", "attributes"])?;
        self.succeed(&["rmi", &self.image.config])?;
        self.succeed(&["gc"])?;
        self.expect_empty()
    }

    fn expect_empty(&self) -> Result<()> {
        let (images, layers) = (self.store.image_ids()?, self.store.layer_ids()?);
        ensure!(images.is_empty() && layers.is_empty(), "left: {images:?} {layers:?}");
        ensure!(self.store.leftovers().is_empty(), "left over: {:?}", self.store.leftovers());
        let trees = self.store.root().join("overlay").read_dir().context("list the trees")?;
        let trees = trees.flatten().filter(|entry| entry.file_name().len() == 64).count();
        ensure!(trees == 0, "{trees} trees are left");
        Ok(())
    }

    fn succeed(&self, arguments: &[&str]) -> Result<()> {
        let out = self.store.output(arguments)?;
        ensure!(out.status.success(), "reflayer {arguments:?}: {}", said(&out));
        Ok(())
    }
}
