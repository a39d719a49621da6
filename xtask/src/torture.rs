//! Promise by promise, all that is tried to break it: in full, not as briefly as in ci.
//!
//! A test belongs to the promises whose numbers its name begins with (`r12_…`, `r3_r4_…`).
//! What came of it is kept at once, so that a run can be stopped at any time and gone on with.

mod promises;
mod results;
mod table;
mod trials;

use std::collections::HashSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use testkit::fs_role;
use xshell::{Shell, cmd};

use crate::flags::Torture;
use crate::integration::mounts;
use crate::say::step;
use crate::{fuzz, packages, peers, workspace};
pub(crate) use promises::number;
use results::{Outcome, Results};
use trials::{How, Trial};

/// Operations of each process where podman is on the store as well.
const MIXED: &str = "100";

/// How long each fuzz target is fed.
const FUZZ_SECONDS: u32 = 60;

pub(crate) fn run(flags: &Torture) -> Result<()> {
    ensure!(packages::is_root(), "filesystems can be made and mounted by root only");
    packages::ensure(packages::INTEGRATION)?;
    peers::run()?;
    let sh = workspace::shell()?;
    step("build", || Ok(cmd!(sh, "cargo build --release --locked --bin reflayer").run()?))?;
    let bench = Bench::new(&sh)?;
    let mut results = Results::open(&bench.place.join("results.jsonl"))?;
    let wanted = promises::wanted(&flags.promises);
    if !flags.resume {
        results.forget(&wanted)?;
    }
    mounts::enter_namespace()?;
    let mut tried = HashSet::new();
    for promise in &wanted {
        let trials = bench.trials.iter().filter(|trial| trial.is_of(*promise));
        // One that is for several promises is tried once, and a failure stays one.
        let left = trials.filter(|trial| !results.has_passed(&trial.name));
        let left: Vec<&Trial> = left.filter(|trial| tried.insert(trial.name.clone())).collect();
        if !left.is_empty() {
            step(&format!("R{promise}"), || bench.promise(&sh, &left, &mut results))?;
        }
    }
    table::print(&wanted, &results, &bench.commit);
    let failed = results.failed(&wanted);
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    Ok(())
}

struct Bench {
    /// Results, logs, and filesystems while they are needed.
    place: PathBuf,
    /// A copy, as the tests are.
    reflayer: PathBuf,
    trials: Vec<Trial>,
    commit: String,
}

impl Bench {
    fn new(sh: &Shell) -> Result<Self> {
        let target = workspace::target_dir(sh)?;
        let place = target.join("torture");
        fs::create_dir_all(&place).context("make a place for results")?;
        let reflayer = place.join("reflayer");
        fs::copy(target.join("release/reflayer"), &reflayer).context("copy the command")?;
        let changed = !cmd!(sh, "git status --porcelain").quiet().read()?.is_empty();
        let commit = cmd!(sh, "git rev-parse --short HEAD").quiet().read()?;
        Ok(Self {
            trials: trials::all(sh, &place)?,
            place,
            reflayer,
            commit: if changed { commit + " and changes" } else { commit },
        })
    }

    /// Tries one thing after the other; scenarios on filesystems that were never used before.
    fn promise(&self, sh: &Shell, trials: &[&Trial], results: &mut Results) -> Result<()> {
        let place = self.place.join("filesystems");
        // A run that was stopped leaves its own; its mounts went with it.
        if place.exists() {
            fs::remove_dir_all(&place).context("remove old filesystems")?;
        }
        fs::create_dir(&place).context("make a place for filesystems")?;
        let mut mounted = Vec::new();
        if trials.iter().any(|trial| trial.wants_filesystems()) {
            for name in fs_role::LARGE.into_iter().chain(["tiny"]) {
                mounted.push(mounts::make(sh, &place, name)?);
            }
        }
        for trial in trials {
            let outcome = self.attempt(sh, trial, &mounted)?;
            let verdict = if outcome.failed.is_empty() { "held" } else { "FAILED" };
            eprintln!("{}: {verdict} in {:.0} s", trial.name, outcome.seconds);
            results.add(outcome)?;
        }
        for filesystem in mounted {
            filesystem.unmount(sh)?;
        }
        fs::remove_dir_all(&place).context("remove the filesystems")
    }

    fn attempt(&self, sh: &Shell, trial: &Trial, mounted: &[mounts::Mounted]) -> Result<Outcome> {
        let start = Instant::now();
        let (tried, failed) = match &trial.how {
            How::Fuzz { target } => {
                let (executed, held) = fuzz::feed(sh, target, FUZZ_SECONDS)?;
                let failed = if held { String::new() } else { "fuzz/found".into() };
                (vec![(format!("inputs of {target}"), executed)], failed)
            }
            How::Test { program, .. } => {
                self.tests(program, &["--exact", &trial.name], trial, mounted)?
            }
            How::Family { program } => {
                self.tests(program, &[&format!("{}::", trial.name)], trial, mounted)?
            }
        };
        Ok(Outcome {
            scenario: trial.name.clone(),
            tried,
            failed,
            seconds: start.elapsed().as_secs_f64(),
            commit: self.commit.clone(),
        })
    }

    /// Runs tests of a program; what was tried, and the log if they failed.
    fn tests(
        &self,
        program: &Path,
        arguments: &[&str],
        trial: &Trial,
        mounted: &[mounts::Mounted],
    ) -> Result<(Vec<(String, u64)>, String)> {
        let file =
            |kind: &str| self.place.join(format!("{}.{kind}", trial.name.replace("::", "-")));
        let (log, tried) = (file("log"), file("tried"));
        File::create(&tried).context("make a file for what is tried")?;
        let said = File::create(&log).context("make a log")?;
        let mut command = Command::new(program);
        command.args(arguments).current_dir(&trial.directory);
        command.env("REFLAYER_FULL", "1").env("REFLAYER_ALL_ROLES", "1");
        command.env("REFLAYER_MIXED", MIXED);
        command.env("REFLAYER_BIN", &self.reflayer).env("REFLAYER_TRIED", &tried);
        command.envs(mounted.iter().map(|fs| (fs_role::variable(fs.name), &fs.path)));
        command.stdin(Stdio::null()).stdout(said.try_clone()?).stderr(said);
        let status = command.status().context("start a test")?;
        let mut tried = read_tried(&tried)?;
        let said = fs::read(&log).context("read a log")?;
        let passed = trials::passed(&String::from_utf8_lossy(&said));
        if matches!(trial.how, How::Family { .. }) {
            tried.push(("cases".into(), passed));
        }
        // None at all is what a name gives that no test has.
        let held = status.success() && passed > 0;
        let failed = if held { String::new() } else { log.display().to_string() };
        Ok((tried, failed))
    }
}

/// Lines of a number and, after a tab, what was done so often.
fn read_tried(file: &Path) -> Result<Vec<(String, u64)>> {
    let text = fs::read_to_string(file).context("read what was tried")?;
    let line = |line: &str| -> Result<(String, u64)> {
        let Some((count, what)) = line.split_once('\t') else { bail!("not a count: {line:?}") };
        Ok((what.to_owned(), count.parse().with_context(|| format!("a count: {line:?}"))?))
    };
    text.lines().map(line).collect()
}
