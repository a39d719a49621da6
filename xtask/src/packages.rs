//! Debian packages that tasks need.

use anyhow::{Context, Result, bail};
use xshell::{Shell, cmd};

use crate::search;

/// A program, and the package that has it.
pub(crate) type Need = (&'static str, &'static str);

/// What the scenarios and the making of the peers run.
pub(crate) const INTEGRATION: &[Need] = &[
    ("debootstrap", "debootstrap"),
    ("docker-registry", "docker-registry"),
    ("filefrag", "e2fsprogs"),
    ("mkfs.btrfs", "btrfs-progs"),
    ("mkfs.ext4", "e2fsprogs"),
    ("mkfs.xfs", "xfsprogs"),
    ("mount", "mount"),
    ("qemu-storage-daemon", "qemu-utils"),
    ("strace", "strace"),
    ("tar", "tar"),
    ("unshare", "util-linux"),
    ("xfs_io", "xfsprogs"),
];

/// What the benchmark runs besides.
pub(crate) const BENCH: &[Need] = &[("time", "time")];

/// What builds libFuzzer, which is C++.
pub(crate) const FUZZ: &[Need] = &[("c++", "g++")];

/// What counts system calls.
pub(crate) const SYSCALLS: &[Need] = &[("strace", "strace")];

/// What the tests of the crates run as independent judges.
pub(crate) const UNIT: &[Need] =
    &[("gzip", "gzip"), ("python3", "python3"), ("tar", "tar"), ("zstd", "zstd")];

/// Installs what is missing, where that is allowed.
///
/// # Errors
///
/// If something is missing and cannot be installed; the message says what to install.
pub(crate) fn ensure(needs: &[Need]) -> Result<()> {
    let mut missing: Vec<&str> = needs
        .iter()
        .filter(|(program, _)| search::program(program).is_none())
        .map(|(_, package)| *package)
        .collect();
    missing.sort_unstable();
    missing.dedup();
    if missing.is_empty() {
        return Ok(());
    }
    let wanted = missing.join(" ");
    if !is_root() || search::program("apt-get").is_none() {
        bail!("these Debian packages are needed, please install them: {wanted}");
    }
    eprintln!("installing {wanted}");
    let sh = Shell::new()?;
    let _environment = sh.push_env("DEBIAN_FRONTEND", "noninteractive");
    let install = || {
        let packages = &missing;
        cmd!(sh, "apt-get install -y -q --no-install-recommends {packages...}").quiet().run()
    };
    // Package lists may be absent or old: only then are they worth their download.
    if install().is_err() {
        cmd!(sh, "apt-get update -q").quiet().run().context("update the package lists")?;
        install().with_context(|| format!("install {wanted}"))?;
    }
    Ok(())
}

/// Whether this process may mount and install.
pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}
