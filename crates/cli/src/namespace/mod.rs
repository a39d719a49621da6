//! A user namespace of one's own, in which an ordinary user is root of its store.
//!
//! It has the ids that podman's would have, so that both write the same owners to disk.
//! It is entered before the first thread starts, and by this process itself: signals and
//! exit codes need no go-between. A helper with one task stays outside: it has the ids
//! mapped by `newuidmap` and `newgidmap`, which only work from there.

mod ids;
mod sys;

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail, ensure};
use nix::fcntl::OFlag;
use nix::sched::CloneFlags;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, User, getegid, geteuid};

use ids::Run;
use sys::SingleThreaded;

use crate::printable::printable;

/// Where the helpers may be.
///
/// Not `PATH`: they get to decide which ids we have, so that the one who set our
/// variables should not decide which programs they are.
const PLACES: [&str; 4] = ["/usr/bin", "/bin", "/usr/local/bin", "/run/wrappers/bin"];

/// Becomes root of a user namespace with a mount namespace, unless this process is root
/// of one, or of the machine.
///
/// # Errors
///
/// If the kernel or a helper refuses, or threads are running.
pub(crate) fn enter() -> anyhow::Result<()> {
    if geteuid().is_root() {
        return Ok(());
    }
    enter_new().context(
        "enter a user namespace, in which a store can have files of several owners \
         (`sysctl user.max_user_namespaces` and a policy of the system may forbid them)",
    )
}

/// Whether this process would have to enter one to be root.
pub(crate) fn is_outside() -> bool {
    !geteuid().is_root()
}

fn enter_new() -> anyhow::Result<()> {
    let single = SingleThreaded::prove()?;
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    let maps = Maps::of_user(uid, gid)?;
    match maps.helpers()? {
        Some(helpers) => unshare_with(single, &maps, &helpers)?,
        None => unshare_alone(&maps)?,
    }
    // What podman says to its children: who is meant by root, and that all is done.
    single.set_variable("_CONTAINERS_ROOTLESS_UID", &uid.to_string());
    single.set_variable("_CONTAINERS_ROOTLESS_GID", &gid.to_string());
    single.set_variable("_CONTAINERS_USERNS_CONFIGURED", "done");
    Ok(())
}

/// Both maps of a namespace.
struct Maps {
    users: Vec<Run>,
    groups: Vec<Run>,
}

/// The programs that may map other ids than one's own.
struct Helpers {
    users: PathBuf,
    groups: PathBuf,
}

impl Maps {
    fn of_user(uid: u32, gid: u32) -> anyhow::Result<Self> {
        // A user without an entry may still have ids under its number.
        let name = User::from_uid(uid.into()).ok().flatten().map(|user| user.name);
        let map = |own, file| {
            let text = ids::read(file).with_context(|| format!("read {file}"))?;
            anyhow::Ok(ids::map(own, &text, name.as_deref(), uid))
        };
        Ok(Self { users: map(uid, "/etc/subuid")?, groups: map(gid, "/etc/subgid")? })
    }

    /// The helpers, if they are there and there is something for them to do.
    fn helpers(&self) -> anyhow::Result<Option<Helpers>> {
        let lacking = if self.users.len() < 2 {
            "no ids in /etc/subuid"
        } else if self.groups.len() < 2 {
            "no ids in /etc/subgid"
        } else if let (Some(users), Some(groups)) = (find("newuidmap"), find("newgidmap")) {
            return Ok(Some(Helpers { users, groups }));
        } else {
            "no newuidmap and newgidmap (package uidmap)"
        };
        warn(lacking)
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the answer of the one function that calls it")]
fn warn(lacking: &str) -> anyhow::Result<Option<Helpers>> {
    tracing::warn!(
        "this user has {lacking}: only images whose files all belong to root can be pulled"
    );
    Ok(None)
}

fn find(program: &str) -> Option<PathBuf> {
    PLACES.iter().map(|place| Path::new(place).join(program)).find(|path| path.is_file())
}

fn unshare() -> anyhow::Result<()> {
    nix::sched::unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS).context("unshare")
}

/// Enters, and maps only this user, which needs nobody's leave.
fn unshare_alone(maps: &Maps) -> anyhow::Result<()> {
    unshare()?;
    let write = |file: &str, text: &str| fs::write(file, text).with_context(|| file.to_owned());
    // Without this the kernel takes no map of groups from us.
    write("/proc/self/setgroups", "deny")?;
    write("/proc/self/uid_map", &ids::lines(&maps.users[..1]))?;
    write("/proc/self/gid_map", &ids::lines(&maps.groups[..1]))
}

/// Enters, while a process that stays outside has the ids mapped.
fn unshare_with(single: SingleThreaded, maps: &Maps, helpers: &Helpers) -> anyhow::Result<()> {
    let us = Pid::this();
    let (go, entered) = nix::unistd::pipe2(OFlag::O_CLOEXEC).context("make a pipe")?;
    match single.fork().context("fork")? {
        ForkResult::Child => {
            drop(entered);
            std::process::exit(i32::from(map_from_outside(go, us, maps, helpers)))
        }
        ForkResult::Parent { child } => {
            drop(go);
            let result = unshare();
            if result.is_ok() {
                nix::unistd::write(&entered, b"!").context("wake the helper")?;
            }
            drop(entered);
            let status = waitpid(child, None).context("wait for the helper")?;
            result?;
            let done = matches!(status, WaitStatus::Exited(_, 0));
            ensure!(done, "map the ids of {} (see above)", lines_of(maps));
            Ok(())
        }
    }
}

fn lines_of(maps: &Maps) -> String {
    ids::lines(&maps.users).replace('\n', ", ")
}

/// The whole life of the helper; gives its exit code.
fn map_from_outside(go: OwnedFd, target: Pid, maps: &Maps, helpers: &Helpers) -> u8 {
    match wait_and_map(go, target, maps, helpers) {
        Ok(()) => 0,
        Err(error) => {
            anstream::eprintln!("reflayer: {}", printable(&format!("{error:#}")));
            1
        }
    }
}

fn wait_and_map(go: OwnedFd, target: Pid, maps: &Maps, helpers: &Helpers) -> anyhow::Result<()> {
    let mut byte = [0];
    match File::from(go).read_exact(&mut byte) {
        // There is no namespace; the other side says why.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
        read => read.context("wait for the namespace")?,
    }
    for (program, runs) in [(&helpers.users, &maps.users), (&helpers.groups, &maps.groups)] {
        let mut command = Command::new(program);
        command.arg(target.to_string());
        for run in runs {
            command.args([run.inside, run.outside, run.count].map(|number| number.to_string()));
        }
        let status = command.status().with_context(|| format!("start {}", program.display()))?;
        if !status.success() {
            bail!("{}: {status}", program.display());
        }
    }
    Ok(())
}
