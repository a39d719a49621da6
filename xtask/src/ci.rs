//! All that has to pass.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use testkit::peer::peers_dir;
use xshell::{Shell, cmd};

use crate::flags::Integration;
use crate::say::step;
use crate::{fuzz, integration, layering, licences, packages, workspace};

pub(crate) fn run() -> Result<()> {
    let start = Instant::now();
    step("packages", || {
        packages::ensure(packages::UNIT)?;
        packages::ensure(packages::INTEGRATION)
    })?;
    // Mostly downloads: they go on beside the builds.
    let peers = Background::start(&["peers"])?;
    let sh = workspace::shell()?;
    step("format", || {
        cmd!(sh, "cargo fmt --all --check").run()?;
        fuzz::check_format(&sh)
    })?;
    step("layering", layering::run)?;
    step("licences", licences::run)?;
    step("lints", || {
        cmd!(sh, "cargo clippy --workspace --all-targets --locked -- -D warnings").run()?;
        // A test that cargo leaves out by default.
        let scenarios =
            cmd!(sh, "cargo clippy -p reflayer-tests --test scenarios --locked -- -D warnings");
        Ok(scenarios.run()?)
    })?;
    step("tests", || {
        cmd!(sh, "cargo test --workspace --locked --no-fail-fast").run()?;
        if packages::is_root() {
            cmd!(sh, "cargo test --workspace --locked --lib --no-fail-fast -- --ignored").run()?;
        }
        Ok(())
    })?;
    step("docs", || {
        let _flags = sh.push_env("RUSTDOCFLAGS", "-D warnings");
        Ok(cmd!(sh, "cargo doc --workspace --no-deps --locked").run()?)
    })?;
    step("peers", || peers.finish())?;
    step("examples", || examples(&sh))?;
    // Scenarios mostly wait for the disk.
    packages::ensure(packages::FUZZ)?;
    let fuzz = Background::start(&["fuzz", "--runs", "5000"])?;
    let everything = Integration { fs: Vec::new(), threads: 2, filter: None };
    step("integration", || integration::run(&everything))?;
    step("fuzz", || fuzz.finish())?;
    eprintln!("=== ci: all passed in {:.0} s", start.elapsed().as_secs_f64());
    Ok(())
}

/// Runs the examples that work on files, on files.
fn examples(sh: &Shell) -> Result<()> {
    // The tests have built most of what they need.
    cmd!(sh, "cargo build --workspace --locked --examples").run()?;
    let place = tempfile::tempdir().context("make a place for examples")?;
    let built = workspace::target_dir(sh)?.join("debug/examples");
    let example = |name: &str, arguments: &[&Path]| -> Result<()> {
        let program = built.join(name);
        Ok(cmd!(sh, "{program} {arguments...}").run()?)
    };
    let copy = place.path().join("copy");
    example("share", &[Path::new("Cargo.lock"), &copy])?;
    cmd!(sh, "cmp Cargo.lock {copy}").run()?;
    let layout = peers_dir().join("images/oci-chunked");
    let trees = place.path().join("trees");
    example("unpack_layout", &[&layout, Path::new("v1"), &trees])?;
    let root = place.path().join("root");
    sh.create_dir(&root)?;
    example("stage_and_commit", &[&root])
}

/// A task of ours that runs beside this one; its output shows up if it fails.
struct Background {
    task: &'static [&'static str],
    process: Child,
    log: tempfile::NamedTempFile,
}

impl Background {
    fn start(task: &'static [&'static str]) -> Result<Self> {
        let log = tempfile::NamedTempFile::new().context("make a log file")?;
        let output = || -> Result<File> { log.reopen().context("open a log file") };
        let process = Command::new(std::env::current_exe()?)
            .args(task)
            .stdin(Stdio::null())
            .stdout(output()?)
            .stderr(output()?)
            .spawn()
            .with_context(|| format!("start {}", task.join(" ")))?;
        Ok(Self { task, process, log })
    }

    fn finish(mut self) -> Result<()> {
        let status = self.process.wait().context("wait")?;
        if status.success() {
            return Ok(());
        }
        let log = std::fs::read(self.log.path()).context("read the log")?;
        bail!("{}: {status}\n{}", self.task.join(" "), String::from_utf8_lossy(&log))
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // Another step failed. What the task was making is made anew next time.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
