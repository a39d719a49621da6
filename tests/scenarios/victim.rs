//! A command that something happens to in its midst, and what is promised of the store then.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use testkit::compare::Snapshot;
use testkit::fs_role::Filesystem;
use testkit::kill::{Outcome, calls, run_until};
use testkit::peer::Compression;

use crate::built::Built;
use crate::small;
use crate::store::{Store, said};

/// How many names there are in each directory of a store. Link names are drawn anew each time.
type Census = BTreeMap<String, u32>;

/// No command on so small an image takes longer, even under trace, unless it hangs.
const SECONDS: u32 = 120;

/// What suffers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Victim {
    /// A pull of v2 into a store that has this version already.
    Pull { before: Option<&'static str> },
    /// The removal of v2, the only image.
    Removal,
    /// The collection of what a killed pull of v2 left.
    Collection,
}

impl Victim {
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Pull { before: None } => "a pull",
            Self::Pull { before: Some(_) } => "an update",
            Self::Removal => "a removal",
            Self::Collection => "a collection",
        }
    }
}

/// A store on which the victim can start, again and again.
pub(crate) struct Scene {
    pub(crate) store: Store,
    small: Built,
    form: Compression,
    victim: Victim,
    /// The store without v2.
    without: Census,
    /// The store with it.
    with: Census,
    /// Where a pull is killed that leaves something to collect.
    late: u64,
}

impl Scene {
    pub(crate) fn new(filesystem: &Filesystem, form: Compression, victim: Victim) -> Result<Self> {
        let store = Store::new(filesystem)?;
        let small = small::make(&store.room().join("small"), &[form])?;
        let (with, without) = (Census::new(), Census::new());
        let mut scene = Self { store, small, form, victim, without, with, late: 0 };
        if let Victim::Pull { before: Some(version) } = victim {
            scene.pull(version)?;
        }
        // What is made once, and stays, is made by this round.
        let made = calls(scene.quiet(&["pull", &scene.reference("v2")]))?;
        scene.late = made.len() as u64 * 4 / 5;
        scene.clear()?;
        scene.without = census(&scene.store.root())?;
        scene.pull("v2")?;
        scene.with = census(&scene.store.root())?;
        scene.clear()?;
        scene.ready()?;
        Ok(scene)
    }

    /// The victim's command; it hangs for ever under no circumstances.
    pub(crate) fn command(&self) -> Result<Command> {
        Ok(match self.victim {
            Victim::Pull { .. } => self.quiet(&["pull", &self.reference("v2")]),
            Victim::Removal => self.quiet(&["rmi", &self.id()?]),
            Victim::Collection => self.quiet(&["gc"]),
        })
    }

    /// Where the images are that are pulled.
    pub(crate) fn images(&self) -> &Path {
        self.small.place()
    }

    /// All that is promised after whatever happened; leaves the store ready for the next.
    pub(crate) fn expect_sound(&self) -> Result<()> {
        self.expect_whole()?;
        self.pull("v2").context("the next pull")?;
        self.expect_right()?;
        self.clear()?;
        self.ready()
    }

    /// That the store opens, holds v2 whole or not at all, and after a collection nothing else.
    pub(crate) fn expect_whole(&self) -> Result<()> {
        // It opens, before anything was repaired.
        let listed = self.store.image_ids()?;
        self.succeed(&["gc"])?;
        self.store.expect_clean().context("after gc")?;
        ensure!(self.store.leftovers().is_empty(), "left over: {:?}", self.store.leftovers());
        let now = self.store.image_ids()?;
        ensure!(now == listed, "gc changed the images from {listed:?} to {now:?}");
        let usual = if self.has_image()? { &self.with } else { &self.without };
        let found = census(&self.store.root())?;
        ensure!(found == *usual, "more or less than usual: {:?}", differing(usual, &found));
        if self.has_image()? { self.expect_right() } else { Ok(()) }
    }

    /// Whether v2 is listed.
    pub(crate) fn has_image(&self) -> Result<bool> {
        Ok(self.store.image_ids()?.contains(&self.id()?))
    }

    /// That v2 is there, with the right trees.
    fn expect_right(&self) -> Result<()> {
        self.small.expect_in(&self.store, &self.small.layout(self.form).image("v2")?)
    }

    /// Brings the store into the state in which the victim starts.
    fn ready(&self) -> Result<()> {
        match self.victim {
            Victim::Pull { .. } => Ok(()),
            Victim::Removal => self.pull("v2"),
            Victim::Collection => {
                let pull = self.quiet(&["pull", &self.reference("v2")]);
                let outcome = run_until(pull, self.late)?;
                ensure!(matches!(outcome, Outcome::Killed(_)), "it was to be killed: {outcome:?}");
                Ok(())
            }
        }
    }

    fn id(&self) -> Result<String> {
        Ok(self.small.layout(self.form).image("v2")?.config)
    }

    fn reference(&self, version: &str) -> String {
        self.small.reference(self.form, version)
    }

    fn quiet(&self, arguments: &[&str]) -> Command {
        let mut command = self.store.patient(SECONDS, arguments);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    fn pull(&self, version: &str) -> Result<()> {
        self.store.pull(&self.reference(version)).map(drop)
    }

    fn clear(&self) -> Result<()> {
        self.succeed(&["rmi", &self.id()?])?;
        self.succeed(&["gc"])
    }

    fn succeed(&self, arguments: &[&str]) -> Result<()> {
        let out = self.store.output(arguments)?;
        ensure!(out.status.success(), "reflayer {arguments:?}: {}", said(&out));
        Ok(())
    }
}

fn census(root: &Path) -> Result<Census> {
    let mut count = Census::new();
    for path in Snapshot::of(root)?.nodes.into_keys() {
        let path = String::from_utf8_lossy(&path).into_owned();
        let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
        *count.entry(directory.to_owned()).or_default() += 1;
    }
    Ok(count)
}

fn differing(usual: &Census, found: &Census) -> Vec<String> {
    let names: BTreeSet<_> = usual.keys().chain(found.keys()).collect();
    let differs = |name: &&&String| usual.get(**name) != found.get(**name);
    let line = |name: &String| format!("{name}: {:?} → {:?}", usual.get(name), found.get(name));
    names.iter().filter(differs).map(|name| line(name)).collect()
}
