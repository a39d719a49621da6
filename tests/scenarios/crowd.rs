//! R12: many processes on one store. Every pull succeeds, every tree is right, nothing is left.

use std::fs;
use std::path::PathBuf;
use std::process::Output;
use std::thread;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use testkit::dice::Dice;
use testkit::fs_role::Filesystem;
use testkit::judge::Names;
use testkit::peer::Compression;
use testkit::tree::{Tree, file, noise};
use testkit::tried::tried;

use crate::built::Built;
use crate::needs::on;
use crate::store::{Store, said};
use crate::world::{setting, setting_or};

const FORM: Compression = Compression::Chunked;
const PROCESSES: u64 = 8;
const TAGS: [&str; 4] = ["a", "b", "c", "d"];
/// Nothing here takes so long, unless it waits for ever.
const SECONDS: u32 = 120;

pub(crate) fn trials() -> Vec<Trial> {
    ["xfs", "ext4"].map(|name| on(name, "r12_many_processes_on_one_store", many)).into()
}

/// `REFLAYER_OPERATIONS` says how many each process does, `REFLAYER_SEED` which ones.
fn many(filesystem: &Filesystem) -> Result<()> {
    let operations = setting_or("REFLAYER_OPERATIONS", 8, 1000);
    let store = Store::new(filesystem)?;
    let built = make(&store)?;
    thread::scope(|scope| {
        let seed = setting("REFLAYER_SEED", 1);
        let workers: Vec<_> = (0..PROCESSES)
            .map(|number| {
                let worker = Worker::new(&store, &built, number, seed * PROCESSES + number);
                scope.spawn(move || worker?.run(operations))
            })
            .collect();
        let results = workers.into_iter().map(|worker| worker.join().expect("no worker panics"));
        // All of them end before the first error is told.
        results.collect::<Vec<_>>().into_iter().collect::<Result<()>>()
    })?;
    expect_sound(&store, &built)?;
    tried(filesystem.name, PROCESSES * operations, "operations of 8 processes")
}

/// Images that share their base, and files of their tops.
fn make(store: &Store) -> Result<Built> {
    let base = || Tree::new().with("base", file(noise(100_000, 1))).with("etc/b", file("base"));
    let top = |seed: u64| {
        (0..4).fold(Tree::new().with("tag", file(TAGS[tag_index(seed)])), |tree, number| {
            tree.with(&format!("f{number}"), file(noise(60_000, 10 + (seed + number) % 5)))
        })
    };
    let version = |seed| vec![(base(), Names::Bare), (top(seed), Names::Bare)];
    let versions = [
        (TAGS[0], version(0)),
        (TAGS[1], version(1)),
        (TAGS[2], version(2)),
        (TAGS[3], version(3)),
    ];
    Built::from_trees(&store.room().join("images"), &[FORM], &versions)
}

fn tag_index(seed: u64) -> usize {
    usize::try_from(seed).expect("it is small") % TAGS.len()
}

/// Afterwards all images are pulled and right, and when they are removed nothing is left.
fn expect_sound(store: &Store, built: &Built) -> Result<()> {
    store.json(&["gc"])?;
    store.expect_clean().context("after all of them")?;
    ensure!(store.leftovers().is_empty(), "left over: {:?}", store.leftovers());
    for tag in TAGS {
        store.pull(&built.reference(FORM, tag))?;
        built.expect_below_tops_in(store, &built.layout(FORM).image(tag)?)?;
    }
    for tag in TAGS {
        store.json(&["rmi", &built.layout(FORM).image(tag)?.config])?;
    }
    store.json(&["gc"])?;
    ensure!(store.layer_ids()?.is_empty(), "layers are left: {:?}", store.layer_ids()?);
    let links = fs::read_dir(store.root().join("overlay/l"))?.count();
    ensure!(links == 0, "{links} short links are left");
    store.expect_clean()
}

/// One of the processes, in turn.
struct Worker<'a> {
    store: &'a Store,
    built: &'a Built,
    dice: Dice,
    target: PathBuf,
}

impl<'a> Worker<'a> {
    fn new(store: &'a Store, built: &'a Built, number: u64, seed: u64) -> Result<Self> {
        let target = store.room().join(format!("target-{number}"));
        fs::create_dir(&target).context("make a mount point")?;
        Ok(Self { store, built, dice: Dice::new(seed), target })
    }

    fn run(mut self, operations: u64) -> Result<()> {
        for number in 0..operations {
            let tag = *self.dice.one_of(&TAGS);
            let what = self.dice.below(10);
            self.operation(what, tag)
                .with_context(|| format!("operation {number}: {what} {tag}"))?;
        }
        Ok(())
    }

    fn operation(&self, what: u64, tag: &str) -> Result<()> {
        let id = self.built.layout(FORM).image(tag)?.config;
        match what {
            0..=3 => self.expect(&["pull", &self.built.reference(FORM, tag)], &[0]),
            // Another may have removed it, or have it mounted.
            4 | 5 => self.expect(&["rmi", &id], &[0, 4, 5]),
            6 => self.expect(&["gc"], &[0]),
            7 => self.expect(&["images"], &[0]),
            8 => self.expect(&["check", "--level", "attributes"], &[0]),
            _ => self.mount(&id, tag),
        }
    }

    fn mount(&self, id: &str, tag: &str) -> Result<()> {
        let target = self.target.to_str().context("a plain path")?;
        let out = self.output(&["mount", id, target])?;
        if out.status.code() == Some(4) {
            return Ok(());
        }
        ensure!(out.status.success(), "mount: {}\n{}", out.status, said(&out));
        let seen = fs::read_to_string(self.target.join("tag"));
        self.expect(&["umount", target], &[0])?;
        let seen = seen.context("read through a mount")?;
        ensure!(seen == tag, "the mount of {tag} shows {seen}");
        Ok(())
    }

    fn expect(&self, arguments: &[&str], codes: &[i32]) -> Result<()> {
        let out = self.output(arguments)?;
        let expected = out.status.code().is_some_and(|code| codes.contains(&code));
        ensure!(expected, "reflayer {arguments:?}: {}\n{}", out.status, said(&out));
        Ok(())
    }

    fn output(&self, arguments: &[&str]) -> Result<Output> {
        self.store.patient(SECONDS, arguments).output().context("start reflayer")
    }
}
