//! R1 and R2: killed at any state-changing call, a store opens, holds an image whole or not at
//! all, and after one collection has nothing in it that it had not before.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use testkit::compare::Snapshot;
use testkit::fs_role::Filesystem;
use testkit::kill::{Call, Outcome, run_until};
use testkit::peer::Compression;

use crate::built::Built;
use crate::needs::on;
use crate::small;
use crate::store::{Store, said};
use crate::tried::tried;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        on("ext4", "r1_killed_in_a_full_pull", |fs| {
            every_point(fs, Compression::Gzip, Victim::Pull { before: None })
        }),
        on("xfs", "r1_killed_in_a_pull_by_toc", |fs| {
            every_point(fs, Compression::Chunked, Victim::Pull { before: None })
        }),
        on("xfs", "r1_killed_in_an_update", |fs| {
            every_point(fs, Compression::Chunked, Victim::Pull { before: Some("v1") })
        }),
        on("ext4", "r1_killed_in_a_removal", |fs| {
            every_point(fs, Compression::Gzip, Victim::Removal)
        }),
    ]
}

/// What is killed.
#[derive(Debug, Clone, Copy)]
enum Victim {
    /// A pull of v2 into a store that has this version already.
    Pull { before: Option<&'static str> },
    /// The removal of v2, the only image.
    Removal,
}

impl Victim {
    fn words(self) -> &'static str {
        match self {
            Self::Pull { before: None } => "kills in a pull",
            Self::Pull { before: Some(_) } => "kills in an update",
            Self::Removal => "kills in a removal",
        }
    }
}

fn every_point(filesystem: &Filesystem, form: Compression, victim: Victim) -> Result<()> {
    let store = Store::new(filesystem)?;
    let small = small::make(&store.room().join("small"), &[form])?;
    let bench = Bench { store: &store, small: &small, form, victim };
    bench.start()?;
    let usual = census(&store.root())?;
    let mut calls = BTreeMap::<&str, u32>::new();
    for n in 1.. {
        let mut command =
            store.command(&bench.arguments()?.iter().map(String::as_str).collect::<Vec<_>>());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let call = match run_until(command, n)? {
            Outcome::Killed(call) => call,
            Outcome::Ended { status, calls: made } => {
                ensure!(status.success(), "undisturbed: {status}");
                ensure!(!made.is_empty(), "no state-changing call was seen");
                break;
            }
        };
        *calls.entry(call.name()).or_default() += 1;
        bench.expect_sound(&usual).with_context(|| at(n, &call))?;
    }
    let points: u32 = calls.values().sum();
    eprintln!("{} {form:?} {victim:?}: {points} points: {calls:?}", filesystem.name);
    ensure!(points > 20, "a pull with so few calls is none: {points}");
    tried(filesystem.name, points.into(), victim.words())
}

fn at(n: u64, call: &Call) -> String {
    format!("after a kill at call {n}, {call}")
}

struct Bench<'a> {
    store: &'a Store,
    small: &'a Built,
    form: Compression,
    victim: Victim,
}

impl Bench<'_> {
    /// Brings the store into the state in which the victim starts, having been through one round.
    fn start(&self) -> Result<()> {
        if let Victim::Pull { before: Some(version) } = self.victim {
            self.pull(version)?;
        }
        self.pull("v2")?;
        self.remove()?;
        self.succeed(&["gc"])?;
        self.ready()
    }

    /// For a removal, there has to be something to remove.
    fn ready(&self) -> Result<()> {
        if matches!(self.victim, Victim::Removal) { self.pull("v2") } else { Ok(()) }
    }

    fn arguments(&self) -> Result<Vec<String>> {
        Ok(match self.victim {
            Victim::Pull { .. } => vec!["pull".into(), self.small.reference(self.form, "v2")],
            Victim::Removal => vec!["rmi".into(), self.id("v2")?],
        })
    }

    /// All that is promised after a kill; leaves the store ready for the next.
    fn expect_sound(&self, usual: &BTreeMap<String, u32>) -> Result<()> {
        // It opens, before anything was repaired.
        let listed = self.store.image_ids()?;
        self.succeed(&["gc"])?;
        self.store.expect_clean().context("after gc")?;
        ensure!(self.store.leftovers().is_empty(), "left over: {:?}", self.store.leftovers());
        let now = self.store.image_ids()?;
        ensure!(now == listed, "gc changed the images from {listed:?} to {now:?}");
        let id = self.id("v2")?;
        if now.contains(&id) == matches!(self.victim, Victim::Removal) {
            // As the victim found it: then exactly that is there.
            let found = census(&self.store.root())?;
            ensure!(found == *usual, "more or less than before: {:?}", differing(usual, &found));
        }
        self.pull("v2").context("the next pull")?;
        self.small.expect_in(self.store, &self.small.layout(self.form).image("v2")?)?;
        self.remove()?;
        self.succeed(&["gc"])?;
        self.ready()
    }

    fn id(&self, version: &str) -> Result<String> {
        Ok(self.small.layout(self.form).image(version)?.config)
    }

    fn pull(&self, version: &str) -> Result<()> {
        self.store.pull(&self.small.reference(self.form, version)).map(drop)
    }

    fn remove(&self) -> Result<()> {
        self.succeed(&["rmi", &self.id("v2")?])
    }

    fn succeed(&self, arguments: &[&str]) -> Result<()> {
        let out = self.store.output(arguments)?;
        ensure!(out.status.success(), "reflayer {arguments:?}: {}", said(&out));
        Ok(())
    }
}

/// How many names there are in each directory of a store. Link names are drawn anew each time.
fn census(root: &Path) -> Result<BTreeMap<String, u32>> {
    let mut count = BTreeMap::new();
    for path in Snapshot::of(root)?.nodes.into_keys() {
        let path = String::from_utf8_lossy(&path).into_owned();
        let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
        *count.entry(directory.to_owned()).or_default() += 1;
    }
    Ok(count)
}

fn differing(usual: &BTreeMap<String, u32>, found: &BTreeMap<String, u32>) -> Vec<String> {
    let names: std::collections::BTreeSet<_> = usual.keys().chain(found.keys()).collect();
    let differs = |name: &&&String| usual.get(**name) != found.get(**name);
    let line = |name: &String| format!("{name}: {:?} → {:?}", usual.get(name), found.get(name));
    names.iter().filter(differs).map(|name| line(name)).collect()
}
