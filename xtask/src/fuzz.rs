//! Targets that are fed with whatever breaks them.
//!
//! libFuzzer on the stable toolchain: the compiler's own coverage passes, without a
//! sanitizer, since the code is safe Rust with overflow checks.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use xshell::{Shell, cmd};

use crate::flags::Fuzz;
use crate::say::step;
use crate::{packages, workspace};

/// Counters of edges and comparisons; what only targets may see is behind the cfg.
const FLAGS: &str = "-Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares \
    --cfg fuzzing";

pub(crate) fn run(flags: &Fuzz) -> Result<()> {
    packages::ensure(packages::FUZZ)?;
    let sh = workspace::shell()?;
    let place = Place::new(&sh)?;
    let mut targets = place.targets()?;
    if let Some(one) = &flags.target {
        if !targets.contains(one) {
            bail!("there is no target {one}, but {}", targets.join(", "));
        }
        targets = vec![one.clone()];
    }
    step("build of the fuzz targets", || place.build(&sh, flags.target.as_deref()))?;
    let outcomes = place.run_all(&targets, flags);
    print(&outcomes);
    let crashed: Vec<&str> =
        outcomes.iter().filter(|outcome| outcome.crashed).map(|outcome| &*outcome.target).collect();
    if crashed.is_empty() {
        return Ok(());
    }
    bail!("found in {}: see {}", crashed.join(", "), place.found.display())
}

/// The names of all targets.
pub(crate) fn targets(sh: &Shell) -> Result<Vec<String>> {
    Place::new(sh)?.targets()
}

/// Feeds one target for some seconds; gives how often, and whether it held.
pub(crate) fn feed(sh: &Shell, target: &str, seconds: u32) -> Result<(u64, bool)> {
    packages::ensure(packages::FUZZ)?;
    let place = Place::new(sh)?;
    place.build(sh, Some(target))?;
    let flags = Fuzz { target: None, seconds, runs: None };
    let outcome = place.run(target, &flags);
    Ok((outcome.executed, !outcome.crashed))
}

/// Checks the format of what is no part of the main workspace. Lints would take another
/// build of everything that it stands on.
pub(crate) fn check_format(sh: &Shell) -> Result<()> {
    let manifest = Place::new(sh)?.manifest;
    Ok(cmd!(sh, "cargo fmt --manifest-path {manifest} --check").run()?)
}

/// Where everything is.
struct Place {
    manifest: PathBuf,
    seeds: PathBuf,
    found: PathBuf,
    built: PathBuf,
    triple: String,
}

/// How one target fared.
struct Outcome {
    target: String,
    executed: u64,
    /// Edges that the seeds reached, with what earlier runs added, and those at the end.
    covered: (u64, u64),
    added: u64,
    crashed: bool,
}

impl Place {
    fn new(sh: &Shell) -> Result<Self> {
        let fuzz = workspace::root().join("fuzz");
        let version = cmd!(sh, "rustc -vV").quiet().read()?;
        let triple = version.lines().find_map(|line| line.strip_prefix("host: "));
        Ok(Self {
            manifest: fuzz.join("Cargo.toml"),
            seeds: fuzz.join("seeds"),
            found: fuzz.join("found"),
            built: workspace::target_dir(sh)?.join("fuzz"),
            triple: triple.context("rustc does not tell its host")?.to_owned(),
        })
    }

    /// Every target has seeds.
    fn targets(&self) -> Result<Vec<String>> {
        let seeds = std::fs::read_dir(&self.seeds).context("list the seeds")?;
        let name = |entry: std::io::Result<std::fs::DirEntry>| -> Result<String> {
            Ok(entry?.file_name().to_string_lossy().into_owned())
        };
        let mut targets = seeds.map(name).collect::<Result<Vec<_>>>()?;
        targets.sort();
        Ok(targets)
    }

    /// With a target triple, so that build scripts have no counters.
    fn build(&self, sh: &Shell, target: Option<&str>) -> Result<()> {
        let (manifest, built, triple) = (&self.manifest, &self.built, &self.triple);
        let _flags = sh.push_env("RUSTFLAGS", FLAGS);
        let which: &[&str] = match &target {
            Some(target) => &["--bin", target],
            None => &["--bins"],
        };
        let command = cmd!(
            sh,
            "cargo build --manifest-path {manifest} --target-dir {built} --target {triple} --locked
             {which...}"
        );
        Ok(command.run()?)
    }

    /// As many at a time as there are processors.
    fn run_all(&self, targets: &[String], flags: &Fuzz) -> Vec<Outcome> {
        let left = Mutex::new(targets.iter());
        let outcomes = Mutex::new(Vec::new());
        let worker = || {
            while let Some(target) = locked(&left, Iterator::next) {
                let outcome = self.run(target, flags);
                locked(&outcomes, |outcomes| outcomes.push(outcome));
            }
        };
        std::thread::scope(|scope| {
            let workers = std::thread::available_parallelism().map_or(1, usize::from);
            for _ in 0..workers {
                scope.spawn(worker);
            }
        });
        let mut outcomes = outcomes.into_inner().unwrap_or_else(PoisonError::into_inner);
        outcomes.sort_by(|a: &Outcome, b| a.target.cmp(&b.target));
        outcomes
    }

    /// Runs one target; what it says is shown if it failed.
    fn run(&self, target: &str, flags: &Fuzz) -> Outcome {
        let ran = self.command(target, flags).and_then(|mut command| {
            command.output().with_context(|| format!("run the target {target}"))
        });
        let (log, crashed) = match ran {
            Ok(output) => {
                let log = String::from_utf8_lossy(&output.stderr).into_owned();
                (log, !output.status.success())
            }
            Err(error) => (format!("{error:#}"), true),
        };
        if crashed {
            eprintln!("=== {target}\n{log}");
        }
        let covered = (number(&log, "INITED", "cov:"), last_number(&log, "cov:"));
        let executed = number(&log, "stat::number_of_executed_units:", "units:");
        let added = number(&log, "stat::new_units_added:", "added:");
        Outcome { target: target.into(), executed, covered, added, crashed }
    }

    fn command(&self, target: &str, flags: &Fuzz) -> Result<Command> {
        // What earlier runs found worth keeping makes later ones start further on.
        let mut corpus = self.built.join("corpus").join(target);
        let mut limits = vec![format!("-max_total_time={}", flags.seconds)];
        if let Some(runs) = flags.runs {
            corpus = self.built.join("fixed").join(target);
            if corpus.exists() {
                std::fs::remove_dir_all(&corpus).context("remove what an earlier run kept")?;
            }
            limits = vec![format!("-runs={runs}"), "-seed=1".into()];
        }
        for dir in [&corpus, &self.found] {
            std::fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))?;
        }
        let program = self.built.join(&self.triple).join("debug").join(target);
        let prefix = self.found.join(format!("{target}-"));
        let mut command = Command::new(program);
        command
            .arg(corpus)
            .arg(self.seeds.join(target))
            .args(limits)
            .arg(format!("-artifact_prefix={}", prefix.display()))
            .args([
                "-print_final_stats=1",
                "-timeout=20",
                "-rss_limit_mb=1024",
                "-use_value_profile=1",
            ])
            .env("RUST_BACKTRACE", "1")
            .stdin(Stdio::null());
        Ok(command)
    }
}

fn locked<T, R>(mutex: &Mutex<T>, work: impl FnOnce(&mut T) -> R) -> R {
    work(&mut mutex.lock().unwrap_or_else(PoisonError::into_inner))
}

/// The number after `key` in the first line that has `mark`; zero if there is none.
fn number(log: &str, mark: &str, key: &str) -> u64 {
    let line = log.lines().find(|line| line.contains(mark));
    line.and_then(|line| after(line, key)).unwrap_or(0)
}

fn last_number(log: &str, key: &str) -> u64 {
    log.lines().rev().find_map(|line| after(line, key)).unwrap_or(0)
}

fn after(line: &str, key: &str) -> Option<u64> {
    line.split_once(key)?.1.split_whitespace().next()?.parse().ok()
}

#[expect(clippy::print_stdout, reason = "the table is what was asked for")]
fn print(outcomes: &[Outcome]) {
    println!(
        "| target | executions | edges of the seeds | edges | inputs added | |\n|---|---|---|---|---|---|"
    );
    for Outcome { target, executed, covered, added, crashed } in outcomes {
        let verdict = if *crashed { "CRASHED" } else { "" };
        println!("| {target} | {executed} | {} | {} | {added} | {verdict} |", covered.0, covered.1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_libfuzzer_says_is_read() {
        let log = "#2\tINITED cov: 10 ft: 11 corp: 1/1b exec/s: 0 rss: 30Mb\n\
                   #9\tDONE   cov: 25 ft: 40 corp: 3/9b\n\
                   stat::number_of_executed_units: 9\nstat::new_units_added:          2\n";
        assert_eq!(number(log, "INITED", "cov:"), 10);
        assert_eq!(last_number(log, "cov:"), 25);
        assert_eq!(number(log, "stat::number_of_executed_units:", "units:"), 9);
        assert_eq!(number(log, "stat::new_units_added:", "added:"), 2);
        assert_eq!(number("", "INITED", "cov:"), 0);
    }
}
