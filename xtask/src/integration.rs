//! The scenarios of `tests/`, on real filesystems.

pub(crate) mod mounts;

use anyhow::{Context, Result, ensure};
use testkit::fs_role;
use xshell::{Shell, cmd};

use crate::flags::{Fs, Integration};
use crate::say::step;
use crate::{packages, peers, workspace};

pub(crate) fn run(flags: &Integration) -> Result<()> {
    ensure!(packages::is_root(), "filesystems can be made and mounted by root only");
    packages::ensure(packages::INTEGRATION)?;
    peers::run()?;
    let sh = workspace::shell()?;
    step("build", || build(&sh))?;
    // Beyond this line all mounts are this process's own, and go with it, however it ends.
    mounts::enter_namespace()?;
    let place = tempfile::Builder::new()
        .prefix("reflayer-")
        .tempdir_in("/var/tmp")
        .context("make a place for filesystems")?;
    let names = wanted(&flags.fs);
    let mut mounted = Vec::new();
    for name in &names {
        mounted.push(mounts::make(&sh, place.path(), name)?);
    }
    // Where there is no room, everything fails.
    let room = || cmd!(sh, "df -h /var/tmp").quiet().run();
    room()?;
    let result = step("scenarios", || scenarios(&sh, flags, &mounted));
    room()?;
    for filesystem in mounted {
        filesystem.unmount(&sh)?;
    }
    result
}

/// Of the whole workspace, as in all of ci: with other features much would be built again.
pub(crate) fn build(sh: &Shell) -> Result<()> {
    Ok(cmd!(sh, "cargo build --workspace --locked --bin reflayer --test scenarios").run()?)
}

fn wanted(fs: &[Fs]) -> Vec<&'static str> {
    let chosen = |name: &str| fs.is_empty() || fs.iter().any(|fs| fs.name() == name);
    fs_role::LARGE.into_iter().filter(|name| chosen(name)).chain(["tiny"]).collect()
}

fn scenarios(sh: &Shell, flags: &Integration, mounted: &[mounts::Mounted]) -> Result<()> {
    let _roles: Vec<_> = mounted
        .iter()
        .map(|filesystem| sh.push_env(fs_role::variable(filesystem.name), &filesystem.path))
        .collect();
    let _binary = sh.push_env("REFLAYER_BIN", workspace::target_dir(sh)?.join("debug/reflayer"));
    // With every role at hand an ignored scenario is a mistake.
    let _all = flags.fs.is_empty().then(|| sh.push_env("REFLAYER_ALL_ROLES", "1"));
    let threads = flags.threads.to_string();
    let filter = &flags.filter;
    let run = cmd!(
        sh,
        "cargo test --workspace --locked --test scenarios -- --test-threads {threads} {filter...}"
    );
    Ok(run.run()?)
}
