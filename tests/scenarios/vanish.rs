//! Nothing that happens to a source can harm a pull: neither at random moments, nor at any of
//! its steps, nor by any error that a source's filesystem can give.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use testkit::compare::Snapshot;
use testkit::dice::Dice;
use testkit::fs_role::Filesystem;
use testkit::judge::Names;
use testkit::kill::{Errno, Outcome, Watch, run_disturbed, run_failing, watched};
use testkit::peer::Compression;
use testkit::tree::{Tree, directory, file, hard_link, noise, sparse, symlink};
use testkit::tried::tried;

use crate::built::Built;
use crate::mutator::Mutator;
use crate::needs::{on_each, on_two};
use crate::small;
use crate::source::Scene;
use crate::world::{self, setting, setting_or};

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = on_each("r8_r9_a_source_changes_at_random", |fs| at_random(fs, None));
    for (name, other) in [("ext4", "xfs"), ("xfs", "btrfs")] {
        trials.push(on_two(
            name,
            other,
            "r8_r9_a_source_on_another_device_changes_at_random",
            |fs, other| at_random(fs, Some(other)),
        ));
    }
    trials.extend(on_each("r8_r9_a_source_goes_at_any_step", at_every_step));
    trials.extend(on_each("r8_r9_calls_on_a_source_fail", failing_calls));
    trials
}

/// `REFLAYER_PULLS` and `REFLAYER_SEED` say how many pulls, and from which seed on.
fn at_random(filesystem: &Filesystem, other: Option<&Filesystem>) -> Result<()> {
    let (pulls, seed) = (setting_or("REFLAYER_PULLS", 10, 100), setting("REFLAYER_SEED", 1));
    let mut scene = Scene::new(filesystem, many()?, other)?;
    let (mut sum, mut least) = (0, u64::MAX);
    for seed in seed..seed + pulls {
        scene.restore()?;
        let (changes, reused) = disturbed(&scene, seed)
            .with_context(|| format!("on {}, REFLAYER_SEED={seed}", filesystem.name))?;
        sum += changes;
        least = least.min(reused);
    }
    eprintln!(
        "{} other device {:?}: {pulls} pulls from seed {seed}, {sum} changes meanwhile; \
         least reused {least} of {}",
        filesystem.name,
        other.map(|other| other.name),
        scene.reused
    );
    scene.expect_sound()?;
    tried(filesystem.name, pulls, "pulls beside a source that changes")
}

fn disturbed(scene: &Scene, seed: u64) -> Result<(u32, u64)> {
    let remove = scene.store.patient(60, &["rmi", &scene.id("v1")?]);
    let attic = scene.store.room().join("attic");
    // Inside a layer that is moved a mount goes with it, and nobody could undo it.
    let layers_move = (!scene.is_elsewhere()).then(|| attic.clone());
    let decoy = scene.store.room().join("decoy");
    fs::create_dir_all(&decoy).context("make a decoy")?;
    fs::write(decoy.join("file"), "not a file of any layer").context("make a decoy")?;
    let mutator = Mutator::new(seed, scene.layers()?, decoy.clone(), layers_move, remove);
    let stop = AtomicBool::new(false);
    let (out, changes) = thread::scope(|scope| {
        let mutator = scope.spawn(|| mutator.run(&stop));
        let out = scene.pull().output();
        stop.store(true, Ordering::Relaxed);
        (out, mutator.join().expect("the mutator ignores all errors"))
    });
    let reused = scene.expect_good(&out.context("start reflayer")?)?;
    for place in [attic, decoy] {
        if place.exists() {
            fs::remove_dir_all(place).context("clear away what the mutator left")?;
        }
    }
    Ok((changes, reused))
}

/// 300 files, most of them alike in both versions, and some in several chunks.
fn many() -> Result<Built> {
    let place = world::once("many", |place| {
        let versions = [1, 2].map(|seed| vec![(tree(seed), Names::WithTop)]);
        let [v1, v2] = versions;
        let versions = [("v1", v1), ("v2", v2)];
        Built::from_trees(place, &[Compression::Chunked], &versions).map(drop)
    })?;
    Ok(Built::open(&place))
}

fn tree(seed: u64) -> Tree {
    let mut dice = Dice::new(99);
    (0..300u64).fold(base(seed), |tree, number| {
        let length = usize::try_from(100 + dice.below(30_000)).expect("it is small");
        let content = noise(length, if number % 30 == 0 { 1000 * seed + number } else { number });
        tree.with(&format!("usr/share/{}/{number}", number % 12), file(content))
    })
}

fn base(seed: u64) -> Tree {
    // Cut into chunks of which only those around the change differ.
    let large = |number| [noise(900_000, number), noise(1000, seed), noise(900_000, number + 50)];
    Tree::new()
        .with(".", directory())
        .with("etc/version", file(format!("{seed}\n")))
        .with("usr/bin/one", file(large(1).concat()).mode(0o4755))
        .with("usr/bin/alias", hard_link("usr/bin/one"))
        .with("usr/bin/two", file(large(2).concat()))
        .with("usr/bin/link", symlink("one"))
        .with(
            "var/sparse",
            sparse(4 << 20, vec![(1_000_000, noise(300_000, 7)), (3 << 20, noise(9000, seed))]),
        )
        .with("var/zeros", sparse(1 << 20, vec![]))
}

/// Done to the layers of the source.
type Blow = fn(&[PathBuf]) -> Result<()>;

/// What can happen to all of a source at one moment.
const BLOWS: [(&str, Blow); 3] = [
    ("removed", |layers| {
        layers.iter().try_for_each(|layer| Ok(fs::remove_dir_all(layer.join("diff"))?))
    }),
    ("cut short", |layers| layers.iter().try_for_each(|layer| cut(&layer.join("diff")))),
    ("moved away", |layers| {
        layers.iter().try_for_each(|layer| Ok(fs::rename(layer, layer.with_extension("away"))?))
    }),
];

/// `REFLAYER_STEPS=1` tries every step, 2 every other, and so on.
fn at_every_step(filesystem: &Filesystem) -> Result<()> {
    let stride = setting_or("REFLAYER_STEPS", 29, 1);
    let mut scene = Scene::new(filesystem, small_image()?, None)?;
    let mut steps = 0;
    for n in (1..).step_by(usize::try_from(stride)?) {
        let mut ended = false;
        for (index, (what, blow)) in BLOWS.iter().enumerate() {
            // With strides the three take turns.
            if stride > 1 && (n / stride) % 3 != index as u64 {
                continue;
            }
            scene.restore()?;
            let calls = struck(&scene, n, *blow)
                .with_context(|| format!("the source was {what} at call {n}"))?;
            steps += 1;
            ended |= calls < n;
            // No part of the store, so nobody else removes it.
            for layer in scene.layers()? {
                drop(fs::remove_dir_all(layer.with_extension("away")));
            }
        }
        if ended {
            break;
        }
    }
    eprintln!("{}: the source went at {steps} steps", filesystem.name);
    ensure!(steps > 3, "a pull with so few calls is none");
    scene.expect_sound()?;
    tried(filesystem.name, steps, "steps at which the source went")
}

/// Strikes when the pull is about to make its n-th state-changing call; tells how many it made.
fn struck(scene: &Scene, n: u64, blow: Blow) -> Result<u64> {
    let layers = scene.layers()?;
    let (run, mut blown) = (Captured::new(scene)?, Ok(()));
    let outcome = run_disturbed(run.command(scene)?, n, || blown = blow(&layers))?;
    blown.context("strike")?;
    let Outcome::Ended { status, calls } = outcome else { anyhow::bail!("{outcome:?}") };
    scene.expect_good(&run.output(status)?)?;
    Ok(calls.len() as u64)
}

fn cut(tree: &Path) -> Result<()> {
    for (path, node) in Snapshot::of(tree)?.nodes {
        if let Some(size) = node.size.filter(|size| *size > 0) {
            let path = tree.join(PathBuf::from(String::from_utf8(path)?));
            File::options().write(true).open(path)?.set_len(size / 2)?;
        }
    }
    Ok(())
}

const ERRORS: [Errno; 7] = [
    Errno::EIO,
    Errno::ENOSPC,
    Errno::EDQUOT,
    Errno::EMFILE,
    Errno::ESTALE,
    Errno::EXDEV,
    Errno::EOPNOTSUPP,
];

/// `REFLAYER_STEPS=1` tries every call with every error; else they take turns.
fn failing_calls(filesystem: &Filesystem) -> Result<()> {
    let stride = setting_or("REFLAYER_STEPS", 5, 1);
    let mut scene = Scene::new(filesystem, small_image()?, None)?;
    let reads = Watch::ReadsBelow(scene.trees()?);
    let run = Captured::new(&scene)?;
    let made = watched(run.command(&scene)?, &reads)?;
    scene.restore()?;
    let mut names = std::collections::BTreeMap::<&str, u32>::new();
    for call in &made {
        *names.entry(call.name()).or_default() += 1;
    }
    eprintln!("{}: calls on the source: {names:?}", filesystem.name);
    ensure!(made.len() > 10, "the driver sees too few calls on the source: {made:?}");
    let (mut failed, mut least) = (0, u64::MAX);
    for (n, call) in (1..).zip(&made) {
        for (index, errno) in ERRORS.iter().enumerate() {
            if stride > 1 && (n % stride != 0 || (n / stride) % 7 != index as u64) {
                continue;
            }
            let reused = failing(&scene, &reads, n, *errno)
                .with_context(|| format!("call {n}, {call}, fails with {errno}"))?;
            (failed, least) = (failed + 1, least.min(reused));
        }
    }
    eprintln!(
        "{}: {failed} calls failed; least reused {least} of {}",
        filesystem.name, scene.reused
    );
    scene.expect_sound()?;
    tried(filesystem.name, failed, "failing calls on a source")
}

fn failing(scene: &Scene, reads: &Watch, n: u64, errno: Errno) -> Result<u64> {
    let run = Captured::new(scene)?;
    let outcome = run_failing(run.command(scene)?, reads, n..=n, errno)?;
    let Outcome::Ended { status, .. } = outcome else { anyhow::bail!("{outcome:?}") };
    scene.expect_good(&run.output(status)?)
}

fn small_image() -> Result<Built> {
    let place =
        world::once("small", |place| small::make(place, &[Compression::Chunked]).map(drop))?;
    Ok(Built::open(&place))
}

/// The output of a command under trace: files, since nobody empties a pipe meanwhile.
struct Captured {
    place: tempfile::TempDir,
}

impl Captured {
    fn new(scene: &Scene) -> Result<Self> {
        Ok(Self { place: tempfile::tempdir_in(scene.store.room())? })
    }

    fn command(&self, scene: &Scene) -> Result<Command> {
        let mut command = scene.pull();
        command.stdout(File::create(self.place.path().join("stdout"))?);
        command.stderr(File::create(self.place.path().join("stderr"))?);
        Ok(command)
    }

    fn output(&self, status: std::process::ExitStatus) -> Result<std::process::Output> {
        let [stdout, stderr] =
            ["stdout", "stderr"].map(|name| fs::read(self.place.path().join(name)));
        Ok(std::process::Output { status, stdout: stdout?, stderr: stderr? })
    }
}
