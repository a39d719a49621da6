//! A command that something happens to in its midst, and what is promised of the store then.

mod mount;
mod repair;
mod seen;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use testkit::fs_role::Filesystem;
use testkit::judge;
use testkit::kill::{Outcome, calls, run_until};
use testkit::peer::Compression;

use crate::built::Built;
use crate::small;
use crate::state::{Census, State, differing};
use crate::store::{Store, said};

pub(crate) use seen::Seen;

/// A store that is as it was, byte for byte, can do what it could; so often that is tried, too.
const EVERY: u64 = 20;

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
    /// The mount of v2, the only image.
    Mount,
    /// The repair of v2, the only image, of which files are damaged in several ways.
    Repair,
}

impl Victim {
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Pull { before: None } => "a pull",
            Self::Pull { before: Some(_) } => "an update",
            Self::Removal => "a removal",
            Self::Collection => "a collection",
            Self::Mount => "a mount",
            Self::Repair => "a repair",
        }
    }

    /// Whether the store holds v2 when the victim starts.
    fn needs_image(self) -> bool {
        matches!(self, Self::Removal | Self::Mount | Self::Repair)
    }
}

/// A store on which the victim can start, again and again.
pub(crate) struct Scene {
    pub(crate) store: Store,
    small: Built,
    form: Compression,
    victim: Victim,
    /// Where a mount is made.
    target: PathBuf,
    /// The store without v2.
    without: Census,
    /// The store with it.
    with: Census,
    /// The store as it is when the victim has changed nothing, nothing is damaged, and after
    /// a collection.
    usual: State,
    /// Where a pull is killed that leaves something to collect.
    late: u64,
    /// How often it was left sound.
    rounds: u64,
}

impl Scene {
    pub(crate) fn new(filesystem: &Filesystem, form: Compression, victim: Victim) -> Result<Self> {
        let store = Store::new(filesystem)?;
        let small = small::make(&store.room().join("small"), &[form])?;
        let (with, without) = (Census::new(), Census::new());
        let usual = State::of(store.room())?;
        let target = store.room().join("target");
        let mut scene =
            Self { store, small, form, victim, target, without, with, usual, late: 0, rounds: 0 };
        if let Victim::Pull { before: Some(version) } = victim {
            scene.pull(version)?;
        }
        // What is made once, and stays, is made by this round.
        let made = calls(scene.quiet(&["pull", &scene.reference("v2")]))?;
        scene.late = made.len() as u64 * 4 / 5;
        scene.clear()?;
        scene.without = scene.state()?.census();
        scene.pull("v2")?;
        scene.with = scene.state()?.census();
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
            Victim::Mount => self.quiet(&["mount", &self.id()?, self.target()?]),
            Victim::Repair => self.quiet(&["check", "--repair", "--from", &self.reference("v2")]),
        })
    }

    /// Where the images are that are pulled.
    pub(crate) fn images(&self) -> &Path {
        self.small.place()
    }

    /// All that is promised after whatever happened; leaves the store ready for the next.
    ///
    /// That is: it opens, holds v2 whole or not at all, after a collection nothing else, and
    /// the next pull succeeds. `seen` is what [`Scene::seen`] said just now.
    pub(crate) fn expect_sound(&mut self, seen: Seen) -> Result<()> {
        let has_image = seen.has_image;
        self.succeed(&["gc"])?;
        self.settle(seen)?;
        let now = self.state()?;
        self.rounds += 1;
        if now == self.usual && !self.rounds.is_multiple_of(EVERY) {
            let usually = self.victim.needs_image();
            ensure!(has_image == usually, "listed before gc: {has_image}, and not after it");
            return self.again();
        }
        let usual = if has_image { &self.with } else { &self.without };
        let found = now.census();
        ensure!(found == *usual, "more or less than usual: {:?}", differing(usual, &found));
        let after = self.seen()?.has_image;
        ensure!(after == has_image, "listed: {has_image} before gc, {after} after it");
        self.store.expect_clean().context("after gc")?;
        ensure!(self.store.leftovers().is_empty(), "left over: {:?}", self.store.leftovers());
        if has_image {
            self.expect_right()?;
        }
        self.pull("v2").context("the next pull")?;
        self.expect_right()?;
        self.clear()?;
        self.ready()
    }

    /// That v2 is there, with the right trees.
    fn expect_right(&self) -> Result<()> {
        self.small.expect_in(&self.store, &self.small.layout(self.form).image("v2")?)
    }

    /// Brings the store, which is without v2, into the state in which the victim starts.
    fn ready(&mut self) -> Result<()> {
        if self.victim.needs_image() {
            self.pull("v2")?;
        }
        self.usual = self.state()?;
        match self.victim {
            Victim::Collection => self.leave_garbage(),
            Victim::Mount => fs::create_dir_all(self.target()?).context("make a mount point"),
            _ => self.again(),
        }
    }

    /// Kills a pull, and keeps what it leaves.
    fn leave_garbage(&self) -> Result<()> {
        let pull = self.quiet(&["pull", &self.reference("v2")]);
        let outcome = run_until(pull, self.late)?;
        ensure!(matches!(outcome, Outcome::Killed(_)), "it was to be killed: {outcome:?}");
        if self.kept().exists() {
            fs::remove_dir_all(self.kept()).context("remove an old copy")?;
        }
        copy(&self.store.root(), &self.kept())
    }

    /// Brings a store that is as usual into the state in which the victim starts.
    fn again(&self) -> Result<()> {
        match self.victim {
            Victim::Collection => {
                fs::remove_dir_all(self.store.root()).context("remove the store")?;
                copy(&self.kept(), &self.store.root())
            }
            Victim::Repair => self.damage(),
            _ => Ok(()),
        }
    }

    /// Undoes what a mount is there for, and does what a repair is.
    fn settle(&self, seen: Seen) -> Result<()> {
        match self.victim {
            Victim::Mount => self.expect_mount(seen.is_done == Some(true)),
            Victim::Repair => self.mend().context("the next repair"),
            _ => Ok(()),
        }
    }

    /// What a killed pull left, once more.
    fn kept(&self) -> PathBuf {
        self.store.room().join("kept")
    }

    fn state(&self) -> Result<State> {
        State::of(&self.store.root())
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

fn copy(from: &Path, to: &Path) -> Result<()> {
    judge::run(Command::new("cp").args(["-a", "--reflink=auto"]).args([from, to]))
}
