//! Promise by promise, all that is tried to break it: in full, not as briefly as in ci.
//!
//! A scenario belongs to the promise whose number its name begins with (`r12_…`). What came
//! of it is kept at once, so that a run can be stopped at any time and gone on with.

mod promises;
mod results;
mod table;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use testkit::fs_role;
use xshell::{Shell, cmd};

use crate::flags::Torture;
use crate::integration::{self, mounts};
use crate::say::step;
use crate::{packages, peers, workspace};
pub(crate) use promises::number;
use results::{Outcome, Results};

pub(crate) fn run(flags: &Torture) -> Result<()> {
    ensure!(packages::is_root(), "filesystems can be made and mounted by root only");
    packages::ensure(packages::INTEGRATION)?;
    peers::run()?;
    let sh = workspace::shell()?;
    step("build", || integration::build(&sh))?;
    let bench = Bench::new(&sh)?;
    let mut results = Results::open(&bench.place.join("results.jsonl"))?;
    let wanted = promises::wanted(&flags.promises);
    if !flags.resume {
        results.forget(&wanted)?;
    }
    mounts::enter_namespace()?;
    for promise in &wanted {
        let scenarios = bench.scenarios_of(*promise);
        let left: Vec<&String> = scenarios.filter(|name| !results.has_passed(name)).collect();
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
    /// Copies: a run takes hours, and what is built meanwhile is not what it tells of.
    reflayer: PathBuf,
    tests: PathBuf,
    scenarios: Vec<String>,
    commit: String,
}

impl Bench {
    fn new(sh: &Shell) -> Result<Self> {
        let target = workspace::target_dir(sh)?;
        let place = target.join("torture");
        fs::create_dir_all(&place).context("make a place for results")?;
        let (reflayer, tests) = (place.join("reflayer"), place.join("scenarios"));
        for (built, copy) in
            [(target.join("debug/reflayer"), &reflayer), (built_tests(sh)?, &tests)]
        {
            fs::copy(&built, copy).with_context(|| format!("copy {}", built.display()))?;
        }
        let list = cmd!(sh, "{tests} --list").quiet().ignore_stderr().read()?;
        let names = list.lines().filter_map(|line| line.strip_suffix(": test"));
        let changed = !cmd!(sh, "git status --porcelain").quiet().read()?.is_empty();
        let commit = cmd!(sh, "git rev-parse --short HEAD").quiet().read()?;
        Ok(Self {
            place,
            reflayer,
            tests,
            scenarios: names.map(str::to_owned).collect(),
            commit: if changed { commit + " and changes" } else { commit },
        })
    }

    fn scenarios_of(&self, promise: u32) -> impl Iterator<Item = &String> {
        self.scenarios.iter().filter(move |name| promises::of(name).any(|of| of == promise))
    }

    /// Runs scenarios one by one on filesystems that were never used before.
    fn promise(&self, sh: &Shell, scenarios: &[&String], results: &mut Results) -> Result<()> {
        let place = self.place.join("filesystems");
        // A run that was stopped leaves its own; its mounts went with it.
        if place.exists() {
            fs::remove_dir_all(&place).context("remove old filesystems")?;
        }
        fs::create_dir(&place).context("make a place for filesystems")?;
        let mut mounted = Vec::new();
        for name in fs_role::LARGE.into_iter().chain(["tiny"]) {
            mounted.push(mounts::make(sh, &place, name)?);
        }
        for scenario in scenarios {
            let outcome = self.scenario(scenario, &mounted)?;
            let verdict = if outcome.failed.is_empty() { "held" } else { "FAILED" };
            eprintln!("{scenario}: {verdict} in {:.0} s", outcome.seconds);
            results.add(outcome)?;
        }
        for filesystem in mounted {
            filesystem.unmount(sh)?;
        }
        fs::remove_dir_all(&place).context("remove the filesystems")
    }

    fn scenario(&self, name: &str, mounted: &[mounts::Mounted]) -> Result<Outcome> {
        let file = |kind: &str| self.place.join(format!("{}.{kind}", name.replace("::", "-")));
        let (log, tried) = (file("log"), file("tried"));
        File::create(&tried).context("make a file for what is tried")?;
        let said = File::create(&log).context("make a log")?;
        let mut command = Command::new(&self.tests);
        command.args(["--exact", name]).current_dir(workspace::root().join("tests"));
        command.env("REFLAYER_FULL", "1").env("REFLAYER_ALL_ROLES", "1");
        command.env("REFLAYER_BIN", &self.reflayer).env("REFLAYER_TRIED", &tried);
        command.envs(mounted.iter().map(|fs| (fs_role::variable(fs.name), &fs.path)));
        command.stdin(Stdio::null()).stdout(said.try_clone()?).stderr(said);
        let start = Instant::now();
        let status = command.status().context("start a scenario")?;
        let failed = if status.success() { String::new() } else { log.display().to_string() };
        Ok(Outcome {
            scenario: name.to_owned(),
            tried: read_tried(&tried)?,
            failed,
            seconds: start.elapsed().as_secs_f64(),
            commit: self.commit.clone(),
        })
    }
}

/// The program that has the scenarios; it is built.
fn built_tests(sh: &Shell) -> Result<PathBuf> {
    let build = cmd!(
        sh,
        "cargo test -q --workspace --locked --test scenarios --no-run --message-format json"
    );
    let messages = build.quiet().ignore_stderr().read()?;
    let mut messages = messages.lines().filter_map(|line| serde_json::from_str(line).ok());
    let program = messages.find_map(|message: serde_json::Value| {
        let named = message["target"]["name"] == "scenarios";
        message["executable"].as_str().filter(|_| named).map(PathBuf::from)
    });
    program.context("cargo does not say where the scenarios are")
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
