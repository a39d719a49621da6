//! A command, killed at its N-th state-changing system call.
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

mod call;
mod sys;
mod trace;

use std::process::{Command, ExitStatus};

use anyhow::{Context, Result, bail};

pub use call::Call;

/// How a traced command ended.
#[derive(Debug)]
pub enum Outcome {
    /// It was killed, and would have made this call.
    Killed(Call),
    /// It ended by itself after so many state-changing calls.
    Ended {
        /// How.
        status: ExitStatus,
        /// The calls, in the order in which they began.
        calls: Vec<Call>,
    },
}

/// Runs a command to its end, and tells the state-changing calls that it made.
///
/// Its output must not be a pipe that nobody empties.
///
/// # Errors
///
/// If it cannot be started or followed, or fails.
pub fn calls(command: Command) -> Result<Vec<Call>> {
    match trace::follow(command, u64::MAX)? {
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
    trace::follow(command, n).with_context(|| format!("kill at call {n}"))
}

#[cfg(test)]
mod tests;
