//! Time, processor and memory of a command.

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use tempfile::NamedTempFile;
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

/// A command that runs under `time`, which also counts the children of its children.
pub(crate) struct Timed {
    pub(crate) child: Child,
    report: NamedTempFile,
    said: NamedTempFile,
}

/// Starts a command under `time`.
pub(crate) fn timed(command: &Command) -> Result<Timed> {
    let report = NamedTempFile::new().context("make a file for time")?;
    let said = NamedTempFile::new().context("make a file for what a command says")?;
    let mut timed = Command::new("/usr/bin/time");
    timed.args(["-f", "%e %U %S %M", "-o"]).arg(report.path());
    timed.arg(command.get_program()).args(command.get_args());
    // A peer's command says which variables it has, and has no others.
    let own: Vec<_> = command.get_envs().collect();
    if !own.is_empty() {
        timed.env_clear();
        timed.envs(own.into_iter().filter_map(|(name, value)| Some((name, value?))));
    }
    timed.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said.reopen()?);
    Ok(Timed { child: timed.spawn().context("start /usr/bin/time")?, report, said })
}

/// Runs a command to its end.
pub(crate) fn measure(command: &Command) -> Result<Usage> {
    let mut timed = timed(command)?;
    match timed.usage()? {
        Some(usage) => Ok(usage),
        None => bail!("{command:?} failed:\n{}", timed.said()?),
    }
}

impl Timed {
    /// Waits for the end; nothing if that is a failure.
    pub(crate) fn usage(&mut self) -> Result<Option<Usage>> {
        let status = self.child.wait().context("wait for /usr/bin/time")?;
        if !status.success() || status.signal().is_some() {
            return Ok(None);
        }
        let text = std::fs::read_to_string(self.report.path()).context("read what time wrote")?;
        let numbers: Vec<f64> = text.split_whitespace().filter_map(|n| n.parse().ok()).collect();
        let &[wall, user, system, memory] = numbers.as_slice() else {
            bail!("time wrote {text:?}")
        };
        Ok(Some(Usage { wall, cpu: user + system, memory }))
    }

    /// What the command wrote to its standard error.
    pub(crate) fn said(&self) -> Result<String> {
        let mut bytes = Vec::new();
        self.said.reopen()?.read_to_end(&mut bytes).context("read what a command said")?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}
