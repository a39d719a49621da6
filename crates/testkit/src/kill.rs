//! A command, stopped at its N-th system call of a kind: killed there, or disturbed.
//!
//! All processes and threads of the command are followed. A filter in the
//! kernel stops only those calls that may change something, so that the rest
//! runs at full speed; which of them count is decided by [`Call`].
//!
//! A call counts when it can change what a later process finds: names,
//! contents and attributes of files, flushes, mounts. Writes to pipes and
//! sockets do not. The kill comes before the call does anything, and takes
//! everything that the command started with it.
//!
//! Something else can happen while the caller stands still ([`run_disturbed`], and before a
//! kill [`run_until_with`]), and calls can be made to fail without reaching the kernel
//! ([`run_failing`]), or to move less than they were asked to ([`run_short`]).
//!
//! ```
//! use std::process::Command;
//! use testkit::kill::{Outcome, run_until};
//!
//! let dir = tempfile::tempdir()?;
//! let command = || {
//!     let mut command = Command::new("mkdir");
//!     command.args(["a", "b"]).current_dir(dir.path());
//!     command
//! };
//! let Outcome::Killed(call) = run_until(command(), 2)? else { panic!("it ended by itself") };
//! assert_eq!(call.name(), "mkdir");
//! assert!(dir.path().join("a").exists() && !dir.path().join("b").exists());
//! # anyhow::Ok(())
//! ```

mod answer;
mod call;
mod reads;
mod sys;
mod trace;

use std::ops::RangeBounds;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};

use anyhow::{Context, Result, bail};
use nix::unistd::Pid;

pub use call::Call;
pub use nix::errno::Errno;
use trace::Action;

/// How a traced command ended.
#[derive(Debug)]
pub enum Outcome {
    /// It was killed, and would have made this call.
    Killed(Call),
    /// It ended by itself after so many calls that count.
    Ended {
        /// How.
        status: ExitStatus,
        /// The calls, in the order in which they began.
        calls: Vec<Call>,
    },
}

/// Which calls count.
#[derive(Debug, Clone)]
pub enum Watch {
    /// Those that can change something.
    Changes,
    /// Those that open, read or clone files below these directories.
    ReadsBelow(Vec<PathBuf>),
    /// Of these, those that move bytes and can do so in part.
    Moves(Box<Watch>),
}

impl Watch {
    fn numbers(&self) -> Vec<i64> {
        match self {
            Self::Changes => call::watched().collect(),
            Self::ReadsBelow(_) => reads::watched().collect(),
            Self::Moves(watch) => watch.numbers(),
        }
    }

    fn call(&self, thread: Pid) -> Result<Option<Call>> {
        match self {
            Self::Changes => Call::at(thread),
            Self::ReadsBelow(tops) => reads::at(thread, tops),
            Self::Moves(watch) => Ok(watch.call(thread)?.filter(Call::moves)),
        }
    }
}

/// Runs a command to its end, and tells the state-changing calls that it made.
///
/// Its output must not be a pipe that nobody empties.
///
/// # Errors
///
/// If it cannot be started or followed, or fails.
pub fn calls(command: Command) -> Result<Vec<Call>> {
    watched(command, &Watch::Changes)
}

/// Runs a command to its end, and tells which calls of this kind it made.
///
/// # Errors
///
/// As [`calls`].
pub fn watched(command: Command, watch: &Watch) -> Result<Vec<Call>> {
    match trace::follow(command, watch, |_| Action::GoOn)? {
        Outcome::Ended { status, calls } if status.success() => Ok(calls),
        other => bail!("the command under trace: {other:?}"),
    }
}

/// Runs a command until it is about to make its `n`-th state-changing call
/// (the first is 1), and kills it there.
///
/// # Errors
///
/// If it cannot be started or followed. It may end in any way before.
pub fn run_until(command: Command, n: u64) -> Result<Outcome> {
    run_until_with(command, n, || {})
}

/// As [`run_until`]; `before` happens while the caller stands at that call, before the kill.
/// Only the caller stands still, other threads go on.
///
/// # Errors
///
/// As [`run_until`].
pub fn run_until_with(command: Command, n: u64, before: impl FnOnce() + Send) -> Result<Outcome> {
    let mut before = Some(before);
    let at_call = |at| {
        if at != n {
            return Action::GoOn;
        }
        if let Some(before) = before.take() {
            before();
        }
        Action::Kill
    };
    trace::follow(command, &Watch::Changes, at_call).with_context(|| format!("kill at call {n}"))
}

/// Runs a command to its end; `disturb` happens while it is about to make its `n`-th
/// state-changing call. Only the caller stands still, other threads go on.
///
/// # Errors
///
/// If it cannot be started or followed. It may end in any way.
pub fn run_disturbed(command: Command, n: u64, disturb: impl FnOnce() + Send) -> Result<Outcome> {
    let mut disturb = Some(disturb);
    let at_call = |at| {
        if at == n
            && let Some(disturb) = disturb.take()
        {
            disturb();
        }
        Action::GoOn
    };
    trace::follow(command, &Watch::Changes, at_call).with_context(|| format!("disturb at call {n}"))
}

/// Runs a command to its end; of the calls of this kind those of these numbers (the first is 1)
/// fail with `errno`.
///
/// # Errors
///
/// If it cannot be started or followed, or calls cannot be made to fail on this processor.
pub fn run_failing(
    command: Command,
    watch: &Watch,
    which: impl RangeBounds<u64> + Send,
    errno: Errno,
) -> Result<Outcome> {
    let at_call = move |at| if which.contains(&at) { Action::Fail(errno) } else { Action::GoOn };
    trace::follow(command, watch, at_call).with_context(|| format!("fail calls with {errno}"))
}

/// Runs a command to its end; the `n`-th call of this kind (the first is 1) that moves bytes
/// moves a single one, as a full disk or a signal may have it.
///
/// # Errors
///
/// If it cannot be started or followed, or calls cannot be changed on this processor.
pub fn run_short(command: Command, watch: &Watch, n: u64) -> Result<Outcome> {
    let watch = Watch::Moves(Box::new(watch.clone()));
    let at_call = move |at| if at == n { Action::Shorten } else { Action::GoOn };
    trace::follow(command, &watch, at_call).with_context(|| format!("shorten call {n}"))
}

#[cfg(test)]
mod tests;
