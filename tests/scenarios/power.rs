//! R3 and R4: what a pull has returned survives a power cut, and a cut at any moment leaves
//! the old state or the new one.
//!
//! The filesystem is stopped as by a cut: nothing that is not on the disk gets there any more.

mod rebuilt;

use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use testkit::compare;
use testkit::dice::Dice;
use testkit::fs_role::Filesystem;
use testkit::judge;
use testkit::loop_fs::{Journal, LoopFs};
use testkit::peer::Compression;
use testkit::tried::tried;

use Journal::{Lost, Written};

use crate::built::Built;
use crate::needs::on;
use crate::small;
use crate::store::{Store, said};
use crate::world::{self, full, setting, setting_or};

const FORM: Compression = Compression::Chunked;
const DISK: u64 = 1 << 30;

pub(crate) fn trials() -> Vec<Trial> {
    let each = |name: &'static str| {
        [
            on(name, "r3_what_was_pulled_survives_a_power_cut", at_return),
            on(name, "r4_a_power_cut_at_any_moment_harms_nothing", at_any_moment),
            on(name, "r3_a_power_cut_is_felt_by_what_was_not_flushed", blindness),
            on(name, "r3_a_power_cut_is_felt_by_podman", podman),
        ]
    };
    let stopped = ["xfs", "ext4"].into_iter().flat_map(each);
    stopped.chain(rebuilt::trials()).collect()
}

/// A machine whose disk this is.
struct Machine {
    store: Store,
    disk: LoopFs,
    built: Built,
    place: tempfile::TempDir,
}

impl Machine {
    /// The filesystem given tells the kind.
    fn new(kind: &Filesystem) -> Result<Self> {
        let place = tempfile::Builder::new().prefix("power-").tempdir_in("/var/tmp")?;
        let built = small::make(&place.path().join("small"), &[FORM])?;
        let disk = LoopFs::make(place.path(), kind.name, DISK)?;
        let store = Store::new(&disk.filesystem)?;
        // What is there before the first pull was there for long.
        let machine = Self { store, disk, built, place };
        machine.flush()?;
        Ok(machine)
    }

    fn flush(&self) -> Result<()> {
        let room = fs::File::open(self.store.room()).context("open the room")?;
        rustix::fs::syncfs(room).context("flush the disk")
    }

    /// A boot empties the run root.
    fn cut_power(&self, journal: Journal) -> Result<()> {
        self.disk.cut_power(journal)?;
        let run = self.store.run_root();
        if run.exists() { fs::remove_dir_all(run).context("empty the run root") } else { Ok(()) }
    }

    fn start(&self, version: &str) -> Result<Child> {
        let mut command = self.store.command(&["pull", &self.built.reference(FORM, version)]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().context("start a pull")
    }

    fn pull(&self, options: &[&str], version: &str) -> Result<()> {
        let reference = self.built.reference(FORM, version);
        let out = self.store.output(&[&["pull"], options, &[&reference]].concat())?;
        ensure!(out.status.success(), "{}", said(&out));
        Ok(())
    }

    fn has(&self, version: &str) -> Result<bool> {
        let id = self.built.layout(FORM).image(version)?.config;
        Ok(self.store.image_ids()?.contains(&id))
    }

    /// Whether v1 is there and right.
    fn is_sound(&self) -> bool {
        self.has("v1").unwrap_or(false)
            && self.store.expect_clean().is_ok()
            && self.expect("v1").is_ok()
    }

    fn expect(&self, version: &str) -> Result<()> {
        self.built.expect_in(&self.store, &self.built.layout(FORM).image(version)?)
    }
}

fn at_return(kind: &Filesystem) -> Result<()> {
    let cuts: &[(u64, Journal)] = if full() {
        &[(0, Lost), (0, Written), (1, Lost), (1, Written), (10, Lost), (10, Written)]
    } else {
        &[(0, Lost), (1, Written)]
    };
    for (pause, journal) in cuts {
        let machine = Machine::new(kind)?;
        for version in ["v1", "v2"] {
            machine.pull(&[], version)?;
            sleep(Duration::from_secs(*pause));
            machine.cut_power(*journal)?;
            let at =
                || format!("{version}, cut {pause} s after its pull had returned, {journal:?}");
            machine.store.expect_clean().with_context(at)?;
            machine.expect(version).with_context(at)?;
        }
        machine.expect("v1")?;
        let what = format!("power cuts {pause} s after return, the journal {journal:?}");
        tried(kind.name, 2, &what.to_lowercase())?;
    }
    Ok(())
}

/// `REFLAYER_CUTS` says at how many moments, `REFLAYER_SEED` at which.
fn at_any_moment(kind: &Filesystem) -> Result<()> {
    let machine = Machine::new(kind)?;
    machine.pull(&[], "v1")?;
    let start = Instant::now();
    machine.pull(&[], "v2")?;
    let usual = start.elapsed();
    let (mut dice, mut old) = (Dice::new(setting("REFLAYER_SEED", 1)), 0);
    let cuts = setting_or("REFLAYER_CUTS", 6, 50);
    for cut in 0..cuts {
        machine.store.json(&["rmi", &machine.built.layout(FORM).image("v2")?.config])?;
        machine.store.json(&["gc"])?;
        machine.flush()?;
        let mut child = machine.start("v2")?;
        let micros = u64::try_from(usual.as_micros())?;
        sleep(Duration::from_micros(dice.below(micros + micros / 10)));
        let ended = child.try_wait()?.is_some();
        // Whoever runs without a disk does not run on.
        child.kill().context("stop the pull")?;
        child.wait()?;
        let journal = if cut % 2 == 0 { Lost } else { Written };
        machine.cut_power(journal)?;
        let at = || format!("cut {cut}, {journal:?}");
        let has = machine.has("v2").with_context(|| format!("{}: the store opens", at()))?;
        ensure!(has || !ended, "{}: the pull had ended, and its image is lost", at());
        old += u64::from(!has);
        machine.store.json(&["gc"])?;
        machine.store.expect_clean().with_context(|| format!("{}, image there: {has}", at()))?;
        ensure!(machine.store.leftovers().is_empty(), "{:?}", machine.store.leftovers());
        machine.expect("v1")?;
        machine.pull(&[], "v2").with_context(|| format!("the pull after {}", at()))?;
        machine.expect("v2")?;
    }
    eprintln!("{}: of {cuts} cuts {old} left the old state", kind.name);
    tried(kind.name, cuts.div_ceil(2), "power cuts at random moments, the journal lost")?;
    tried(kind.name, cuts / 2, "power cuts at random moments, the journal written")
}

/// If nothing is lost even so, a cut is none, and the others prove nothing.
fn blindness(kind: &Filesystem) -> Result<()> {
    let machine = Machine::new(kind)?;
    machine.pull(&["--no-sync"], "v1")?;
    machine.cut_power(Lost)?;
    ensure!(!machine.is_sound(), "a pull without flushing has survived a power cut");
    Ok(())
}

/// The control: another tool, the same image, the same cut, the same judge. What was flushed
/// first is sound afterwards, so that it is the cut which the judge sees.
fn podman(kind: &Filesystem) -> Result<()> {
    let registry = world::registry()?;
    let name = format!("power-{}/small:v1", kind.name);
    for flushed in [true, false] {
        let machine = Machine::new(kind)?;
        let layout = machine.built.layout(FORM);
        world::push(&world::sid()?, &registry, &layout, "v1", &name)?;
        let podman = machine.store.podman()?;
        machine.flush()?;
        podman.pull(&registry.reference(&name))?;
        if flushed {
            machine.flush()?;
        }
        let (overlay, before) =
            (machine.store.root().join("overlay"), machine.place.path().join("before"));
        judge::run(Command::new("cp").arg("-a").args([&overlay, &before]))?;
        machine.cut_power(Lost)?;
        let after = compare::trees(&before, &overlay, &compare::Options::default());
        // Before the cut all was as podman had made it, whatever that is.
        let sound = after.is_ok_and(|found| found.is_empty());
        ensure!(sound == flushed, "podman's pull, flushed: {flushed}, as before the cut: {sound}");
    }
    tried(kind.name, 1, "power cut at podman's return, with damage")
}
