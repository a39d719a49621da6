//! R3 and R4 on any filesystem: the writes of pulls and of a removal are recorded, and the disk
//! is rebuilt as a power cut may have left it, with any part of what was not flushed yet.

use std::fmt;
use std::fs::{self, File};
use std::ops::Range;

use anyhow::{Context, Result, anyhow, ensure};
use libtest_mimic::Trial;
use serde_json::Value;
use testkit::dice::Dice;
use testkit::fs_role::Filesystem;
use testkit::peer::Compression;
use testkit::recorder::{Recorder, Recording};
use testkit::tried::tried;

use crate::built::Built;
use crate::needs::on_each;
use crate::small;
use crate::store::{Store, said};
use crate::world::{VERSIONS, setting, setting_or};

const FORM: Compression = Compression::Chunked;
const DISK: u64 = 512 << 20;

pub(crate) fn trials() -> Vec<Trial> {
    [
        on_each("r3_r4_any_state_that_a_power_cut_leaves_is_sound", any_state),
        on_each("r3_a_rebuilt_state_shows_what_was_not_flushed", blindness),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// What a power cut has done that it must not.
enum Harm {
    /// An image whose pull had returned is not there.
    Lost(String),
    /// What is there is not whole.
    Damaged(String),
}

impl fmt::Display for Harm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(version) => write!(f, "{version} is lost, though its pull had returned"),
            Self::Damaged(how) => write!(f, "damaged: {how}"),
        }
    }
}

/// What was recorded; positions are those of the log.
struct Story {
    /// Fields are dropped in this order: the store first, its image with the place.
    store: Store,
    recording: Recording,
    built: Built,
    _place: tempfile::TempDir,
    moments: Range<u64>,
    /// Between these, this version has to be there.
    promises: Vec<(&'static str, Range<u64>)>,
}

/// `REFLAYER_STATES` says how many states, `REFLAYER_SEED` which.
fn any_state(kind: &Filesystem) -> Result<()> {
    let mut story = Story::record(kind.name, &[])?;
    let seed = setting("REFLAYER_SEED", 1);
    let positions = story.positions(setting_or("REFLAYER_STATES", 4, 200), seed);
    let (mut images, mut promised) = (0, 0);
    for (number, position) in (1_u64..).zip(&positions) {
        let mut dice = Dice::new(seed ^ number << 32);
        let (disk, fate) = story.recording.state(*position, &mut dice)?;
        let found = story.judge(*position)?;
        drop(disk);
        let at = || format!("state {number}, seed {seed}, behind {position} entries: {fate}");
        images += found.map_err(|harm| anyhow!("{harm}")).with_context(at)?;
        promised += story.promised(*position).count();
    }
    eprintln!("{}: {images} images there, and whole; {promised} had to be", kind.name);
    let states = u64::try_from(positions.len())?;
    tried(kind.name, states, "disk states rebuilt from recorded writes")
}

/// If nothing is lost or damaged even so, the states are no power cuts.
fn blindness(kind: &Filesystem) -> Result<()> {
    let mut story = Story::record(kind.name, &["--no-sync"])?;
    let seed = setting("REFLAYER_SEED", 1);
    let positions = story.positions(setting_or("REFLAYER_STATES", 4, 50), seed);
    let (mut lost, mut damaged) = (0_u64, 0_u64);
    for (number, position) in (1_u64..).zip(&positions) {
        let (disk, _) = story.recording.state(*position, &mut Dice::new(seed ^ number << 32))?;
        if let Err(harm) = story.judge(*position)? {
            let sum = if matches!(harm, Harm::Lost(_)) { &mut lost } else { &mut damaged };
            *sum += 1;
            eprintln!("{}, behind {position} entries: {harm}", kind.name);
        }
        drop(disk);
    }
    let states = positions.len();
    eprintln!("{}, not flushed: {lost} lost, {damaged} damaged of {states}", kind.name);
    ensure!(lost + damaged > 0, "what was not flushed has survived every power cut");
    tried(kind.name, lost + damaged, "rebuilt states with harm, of pulls that do not flush")
}

impl Story {
    /// Pulls v1, then v2 beside it, then removes v1.
    fn record(name: &'static str, options: &[&str]) -> Result<Self> {
        let place = tempfile::Builder::new().prefix("recorded-").tempdir_in("/var/tmp")?;
        let built = small::make(&place.path().join("small"), &[FORM])?;
        let recorder = Recorder::make(place.path(), name, DISK)?;
        let store = Store::new(&recorder.filesystem)?;
        let other = File::create_new(store.room().join("other"))?;
        // What is there before the first pull was there for long.
        rustix::fs::syncfs(&other).context("flush the disk")?;
        let start = recorder.position()?;
        let mut promises = Vec::new();
        for version in VERSIONS {
            let reference = built.reference(FORM, version);
            succeed(&store, &[&["pull"], options, &[&reference]].concat())?;
            promises.push((version, recorder.position()?..u64::MAX));
            // Another program makes its own file durable, and with it some of what is ours.
            rustix::fs::fsync(&other).context("flush a file")?;
        }
        promises[0].1.end = recorder.position()?;
        succeed(&store, &["rmi", &built.layout(FORM).image("v1")?.config])?;
        succeed(&store, &["gc"])?;
        let moments = start..recorder.position()?;
        drop(other);
        let recording = recorder.stop()?;
        Ok(Self { store, recording, built, _place: place, moments, promises })
    }

    /// So many, in their order: where the pulls returned, and at random, half of them close
    /// behind a flush, since most writes are bulk.
    fn positions(&self, count: u64, seed: u64) -> Vec<u64> {
        let mut dice = Dice::new(seed);
        let mut flushes = self.recording.flushes();
        flushes.retain(|flush| self.moments.contains(flush));
        let mut positions: Vec<u64> =
            self.promises.iter().map(|(_, promised)| promised.start).collect();
        let Range { start, end } = self.moments;
        while (positions.len() as u64) < count {
            let position = if dice.below(2) == 0 && !flushes.is_empty() {
                *dice.one_of(&flushes) + dice.below(8)
            } else {
                start + dice.below(end - start + 1)
            };
            positions.push(position.min(end));
        }
        positions.sort_unstable();
        positions
    }

    fn promised(&self, position: u64) -> impl Iterator<Item = &'static str> {
        let holds = move |promise: &&(_, Range<u64>)| promise.1.contains(&position);
        self.promises.iter().filter(holds).map(|(version, _)| *version)
    }

    /// How many images there are, if none is lost or damaged.
    fn judge(&self, position: u64) -> Result<Result<u64, Harm>> {
        // A boot empties the run root.
        let run = self.store.run_root();
        if run.exists() {
            fs::remove_dir_all(run).context("empty the run root")?;
        }
        let ids = match self.store.image_ids() {
            Ok(ids) => ids,
            Err(error) => return Ok(Err(Harm::Damaged(format!("does not open: {error:#}")))),
        };
        for version in self.promised(position) {
            if !ids.contains(&self.built.layout(FORM).image(version)?.config) {
                return Ok(Err(Harm::Lost(version.to_owned())));
            }
        }
        let whole = self.expect_whole(&ids);
        Ok(whole.map(|()| ids.len() as u64).map_err(|error| Harm::Damaged(format!("{error:#}"))))
    }

    fn expect_whole(&self, ids: &[String]) -> Result<()> {
        self.expect_no_damage()?;
        succeed(&self.store, &["gc"])?;
        self.store.expect_clean().context("after gc")?;
        ensure!(self.store.leftovers().is_empty(), "left over: {:?}", self.store.leftovers());
        ensure!(self.store.image_ids()? == ids, "gc changed the images");
        for version in VERSIONS {
            let image = self.built.layout(FORM).image(version)?;
            if ids.contains(&image.config) {
                self.built.expect_in(&self.store, &image)?;
            }
        }
        Ok(())
    }

    /// Before anything is collected: what was half made may be there, and nothing else.
    fn expect_no_damage(&self) -> Result<()> {
        let out = self.store.output(&["--json", "check", "--level", "content"])?;
        let findings: Value = serde_json::from_slice(&out.stdout)
            .with_context(|| format!("check says {}", said(&out)))?;
        let findings = findings.as_array().context("no list of findings")?;
        let half_made = |finding: &&Value| {
            ["incomplete", "orphan"].iter().any(|kind| finding["problem"] == **kind)
        };
        let damage = findings.iter().find(|finding| !half_made(finding));
        ensure!(damage.is_none(), "check found {damage:?}");
        Ok(())
    }
}

fn succeed(store: &Store, arguments: &[&str]) -> Result<()> {
    let out = store.output(arguments)?;
    ensure!(out.status.success(), "reflayer {arguments:?}: {}", said(&out));
    Ok(())
}
