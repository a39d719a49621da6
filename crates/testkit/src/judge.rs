//! GNU tar, the judge of what a layer's tar means.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

/// What a tar starts with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// `./`, `./etc/`, …: the top directory has an entry of its own.
    WithTop,
    /// `etc/`, …: nothing is said about the top directory.
    Bare,
}

/// Unpacks `tar` into the existing directory `into`, with all that it says.
///
/// # Errors
///
/// If there is no GNU tar, or it complains.
pub fn unpack(tar: &Path, into: &Path) -> Result<()> {
    let mut command = Command::new("tar");
    command.arg("-x").arg("-f").arg(tar).arg("-C").arg(into);
    command.args(["-p", "--same-owner", "--numeric-owner", "--xattrs", "--xattrs-include=*"]);
    run(&mut command)
}

/// Packs the tree at `from` into `tar`: the same bytes for the same tree.
///
/// Times keep their nanoseconds; overlay's own attributes stay out.
///
/// # Errors
///
/// If there is no GNU tar, or it complains.
pub fn pack(from: &Path, names: Names, tar: &Path) -> Result<()> {
    let mut command = Command::new("tar");
    command.arg("-c").arg("-f").arg(tar).arg("-C").arg(from);
    command.args(["--format=posix", "--sort=name", "--numeric-owner"]);
    command.args(["--xattrs", "--xattrs-include=*", "--xattrs-exclude=trusted.overlay.*"]);
    // Access and change times, and a process id in the names of headers, would differ each time.
    command.arg("--pax-option=delete=atime,delete=ctime,exthdr.name=%d/PaxHeaders/%f");
    match names {
        Names::WithTop => command.arg("."),
        Names::Bare => command.args(top_names(from)?),
    };
    run(&mut command)
}

fn top_names(from: &Path) -> Result<Vec<std::ffi::OsString>> {
    let list = || -> std::io::Result<Vec<_>> {
        from.read_dir()?.map(|entry| Ok(entry?.file_name())).collect()
    };
    let mut names = list().with_context(|| format!("list {}", from.display()))?;
    names.sort_by(|a, b| OsStr::as_bytes(a).cmp(OsStr::as_bytes(b)));
    Ok(names)
}

/// Runs a command to its end; its output is shown only if it fails.
///
/// # Errors
///
/// If it cannot be started, or ends with anything but success.
pub fn run(command: &mut Command) -> Result<()> {
    output(command).map(drop)
}

/// As [`run`], and gives what the command wrote to its standard output.
///
/// # Errors
///
/// If it cannot be started, or ends with anything but success.
pub fn output(command: &mut Command) -> Result<String> {
    let out = command.output().with_context(|| format!("start {command:?}"))?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    if !out.status.success() {
        bail!("{command:?}: {}\n{text}{}", out.status, String::from_utf8_lossy(&out.stderr));
    }
    Ok(text)
}
