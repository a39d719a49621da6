//! Two processes that want the same: it is fetched once, and neither depends on the other's life.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process};
use testkit::fs_role::Filesystem;
use testkit::layout::Image;
use testkit::peer::Compression;
use testkit::proxy::Proxy;
use testkit::registry::{Registry, Traffic};
use testkit::tree::noise;

use crate::built::Built;
use crate::needs::{on, on_each};
use crate::pairs;
use crate::store::Store;
use crate::world;

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = on_each("r12_two_pulls_fetch_what_one_does", both);
    trials.push(on("xfs", "r14_a_pull_outlives_another_that_is_killed", killed));
    trials.push(on("ext4", "r14_a_pull_outlives_another_that_is_killed", killed));
    trials.push(on("xfs", "r14_a_pull_outlives_another_that_stands_still", stopped));
    trials.push(on("ext4", "r12_layers_in_either_order_are_pulled_side_by_side", crossed));
    trials
}

/// Bytes a second that the registry seems to give: a pull takes two seconds.
const RATE: u64 = 4 << 20;
/// Two pulls may fetch so many parts of a hundred of what one has to.
const PERCENT: u64 = 110;
/// The same, if one of them was killed when it had a third.
const AFTER_A_KILL: u64 = 115;
/// Nothing here takes so long, unless it waits for ever.
const LIMIT: Duration = Duration::from_secs(90);

fn both(filesystem: &Filesystem) -> Result<()> {
    let bench = Bench::new(filesystem, "both")?;
    let mark = bench.registry.mark()?;
    let pulls = [bench.pull("ab", "0", None)?, bench.pull("ab", "1", None)?];
    pulls.into_iter().try_for_each(Pull::expect_success)?;
    bench.expect_right("ab")?;
    bench.expect_once(mark)
}

fn killed(filesystem: &Filesystem) -> Result<()> {
    let bench = Bench::new(filesystem, "killed")?;
    let mut first = bench.pull("ab", "0", None)?;
    bench.wait_for_bytes()?;
    let second = bench.pull("ab", "1", None)?;
    thread::sleep(Duration::from_millis(200));
    ensure!(first.child.try_wait()?.is_none(), "the first pull has ended before it was killed");
    first.child.kill().context("kill the first pull")?;
    first.child.wait().context("wait for the first pull")?;
    second.expect_success().context("the second, when the first was killed")?;
    let (passed, size) = (bench.proxy.passed(), bench.size()?);
    eprintln!("{} killed: {passed} bytes passed in all, of {size}", filesystem.name);
    // What the first had written was taken from it; what was on the line was lost.
    ensure!(passed <= size * AFTER_A_KILL / 100, "{passed} bytes of {size} were fetched");
    bench.expect_right("ab")
}

fn stopped(filesystem: &Filesystem) -> Result<()> {
    let bench = Bench::new(filesystem, "stopped")?;
    let first = bench.pull("ab", "0", None)?;
    bench.wait_for_bytes()?;
    let process = Pid::from_child(&first.child);
    kill_process(process, Signal::STOP).context("stop the first pull")?;
    let start = Instant::now();
    let second = bench.pull("ab", "1", Some("1.5"))?.expect_success();
    eprintln!("{} stopped: the second took {:?}", filesystem.name, start.elapsed());
    // Whatever came of the second, the first must not stand there for ever.
    kill_process(process, Signal::CONT).context("let the first pull go on")?;
    second.context("the second, while the first stood still")?;
    first.expect_success().context("the first, when it went on")?;
    bench.expect_right("ab")
}

fn crossed(filesystem: &Filesystem) -> Result<()> {
    let bench = Bench::new(filesystem, "crossed")?;
    let mark = bench.registry.mark()?;
    let pulls = [bench.pull("ab", "0", None)?, bench.pull("ba", "1", None)?];
    pulls.into_iter().try_for_each(Pull::expect_success)?;
    bench.expect_right("ab")?;
    bench.expect_right("ba")?;
    bench.expect_once(mark)
}

struct Bench {
    store: Store,
    built: Built,
    registry: Arc<Registry>,
    proxy: Proxy,
    repository: String,
}

impl Bench {
    fn new(filesystem: &Filesystem, what: &str) -> Result<Self> {
        let built = Built::open(&world::once("two", make)?);
        let registry = world::registry()?;
        let repository = format!("two-{what}-{}/app", filesystem.name);
        for tag in ["ab", "ba"] {
            let layout = built.layout(Compression::Chunked);
            let name = format!("{repository}:{tag}");
            world::push(&world::sid()?, &registry, &layout, tag, &name)?;
        }
        let proxy = Proxy::start(registry.address(), RATE)?;
        Ok(Self { store: Store::new(filesystem)?, built, registry, proxy, repository })
    }

    /// A pull that is under way; `name` tells its output from the other's.
    fn pull(&self, tag: &str, name: &str, patience: Option<&str>) -> Result<Pull> {
        let reference = self.proxy.reference(&format!("{}:{tag}", self.repository));
        let mut arguments = vec!["pull"];
        arguments.extend(patience.iter().flat_map(|patience| ["--patience", *patience]));
        arguments.push(&reference);
        let command = self.store.command(&arguments);
        Pull::start(command, self.store.room().join(format!("said-{name}")))
    }

    fn image(&self, tag: &str) -> Result<Image> {
        self.built.layout(Compression::Chunked).image(tag)
    }

    fn size(&self) -> Result<u64> {
        Ok(self.image("ab")?.layers.iter().map(|layer| layer.size).sum())
    }

    /// Until a good part of the image has come.
    fn wait_for_bytes(&self) -> Result<()> {
        let (part, start) = (self.size()? / 3, Instant::now());
        while self.proxy.passed() < part {
            ensure!(start.elapsed() < LIMIT, "only {} bytes came", self.proxy.passed());
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn expect_once(&self, mark: testkit::registry::Mark) -> Result<()> {
        let mut requests = self.registry.since(mark)?;
        requests.retain(|request| request.uri.contains(&self.repository));
        let (sent, size) = (Traffic::of_blobs(&requests).bytes, self.size()?);
        eprintln!("{}: two pulls fetched {sent} bytes of an image of {size}", self.repository);
        ensure!(sent <= size * PERCENT / 100, "{sent} bytes of {size} were fetched");
        Ok(())
    }

    fn expect_right(&self, tag: &str) -> Result<()> {
        let image = self.image(tag)?;
        ensure!(self.store.image_ids()?.contains(&image.config), "image {tag} is not listed");
        self.built.expect_below_tops_in(&self.store, &image)?;
        self.store.json(&["gc"])?;
        ensure!(self.store.leftovers().is_empty(), "left over: {:?}", self.store.leftovers());
        self.store.expect_clean()
    }
}

/// A pull that is under way; killed when it is dropped.
struct Pull {
    child: Child,
    said: PathBuf,
}

impl Pull {
    fn start(mut command: Command, said: PathBuf) -> Result<Self> {
        let file = File::create(&said).context("make a file for what a pull says")?;
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file).spawn();
        Ok(Self { child: child.context("start reflayer")?, said })
    }

    fn expect_success(mut self) -> Result<()> {
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().context("wait for a pull")? {
                break status;
            }
            ensure!(start.elapsed() < LIMIT, "a pull does not end");
            thread::sleep(Duration::from_millis(10));
        };
        let said = std::fs::read_to_string(&self.said).context("read what a pull said")?;
        ensure!(status.success(), "a pull: {status}\n{said}");
        Ok(())
    }
}

impl Drop for Pull {
    fn drop(&mut self) {
        // It has ended, unless the scenario failed.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Images of the same two layers, in either order.
fn make(place: &Path) -> Result<()> {
    let layer = |name: &str, seed: u64| {
        pairs::tar(place, name, |tar| {
            for number in 0..20 {
                tar.file(&format!("{name}-{number}"), &noise(200_000, seed + number))?;
            }
            Ok(())
        })
    };
    let (a, b) = (layer("a", 1000)?, layer("b", 2000)?);
    let versions = [("ab", vec![a.clone(), b.clone()]), ("ba", vec![b, a])];
    Built::from_tars(place, &[Compression::Chunked], &versions).map(drop)
}
