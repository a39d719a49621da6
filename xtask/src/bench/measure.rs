//! Time, processor and memory of a command.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use testkit::registry::Traffic;

/// One run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) usage: Usage,
    pub(crate) traffic: Traffic,
}

/// What a command and its children took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    /// Seconds from start to end.
    pub(crate) wall: f64,
    /// Seconds of processor, in the program and in the kernel.
    pub(crate) cpu: f64,
    /// Most memory of one process, in KiB.
    pub(crate) memory: f64,
}

/// Runs a command under `time`, which also counts the children of its children.
pub(crate) fn measure(command: &Command) -> Result<Usage> {
    let report = tempfile::NamedTempFile::new().context("make a file for time")?;
    let mut timed = Command::new("/usr/bin/time");
    timed.args(["-f", "%e %U %S %M", "-o"]).arg(report.path());
    timed.arg(command.get_program()).args(command.get_args());
    // A peer's command says which variables it has, and has no others.
    let own: Vec<_> = command.get_envs().collect();
    if !own.is_empty() {
        timed.env_clear();
        timed.envs(own.into_iter().filter_map(|(name, value)| Some((name, value?))));
    }
    let output = timed.stdin(Stdio::null()).output().context("start /usr/bin/time")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}\n{said}", output.status);
    let text = std::fs::read_to_string(report.path()).context("read what time wrote")?;
    let numbers: Vec<f64> = text.split_whitespace().filter_map(|n| n.parse().ok()).collect();
    let &[wall, user, system, memory] = numbers.as_slice() else {
        anyhow::bail!("time wrote {text:?}")
    };
    Ok(Usage { wall, cpu: user + system, memory })
}
