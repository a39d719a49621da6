//! Following all threads of a command.

use std::collections::HashSet;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::thread;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::{Call, Outcome, Watch, answer, sys};

/// What becomes of a call that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// It begins.
    GoOn,
    /// Nothing of the command lives on.
    Kill,
    /// The kernel never sees it; the command is told that it failed.
    Fail(Errno),
    /// It begins, and is to move a single byte.
    Shorten,
}

/// What to do at the n-th call that counts; the first is 1.
pub(super) trait AtCall: FnMut(u64) -> Action + Send {}
impl<T: FnMut(u64) -> Action + Send> AtCall for T {}

/// Runs a command to its end, or until `at_call` has it killed.
pub(super) fn follow(command: Command, watch: &Watch, at_call: impl AtCall) -> Result<Outcome> {
    // Only the thread that started a process may trace it, and it must not
    // wait for processes that others of this program started.
    thread::scope(|scope| {
        scope
            .spawn(|| Trace::start(command, watch, at_call)?.run())
            .join()
            .expect("the tracing thread panicked")
    })
}

struct Trace<'a, F> {
    watch: &'a Watch,
    at_call: F,
    leader: Pid,
    /// All threads that were ever seen.
    threads: HashSet<Pid>,
    calls: Vec<Call>,
    status: Option<ExitStatus>,
    killed: bool,
}

impl<'a, F: AtCall> Trace<'a, F> {
    fn start(mut command: Command, watch: &'a Watch, at_call: F) -> Result<Self> {
        let filter = sys::filter(watch.numbers()).context("make the filter of calls")?;
        let child = sys::spawn(&mut command, filter).context("start the command")?;
        let leader = Pid::from_raw(child.id().try_into().context("a process id")?);
        match waitpid(leader, Some(flags())).context("wait for the command's start")? {
            WaitStatus::Stopped(_, Signal::SIGTRAP) => {}
            other => bail!("the command did not start: {other:?}"),
        }
        let options = Options::PTRACE_O_TRACECLONE
            | Options::PTRACE_O_TRACEFORK
            | Options::PTRACE_O_TRACEVFORK
            | Options::PTRACE_O_TRACEEXEC
            | Options::PTRACE_O_TRACESECCOMP
            | Options::PTRACE_O_EXITKILL;
        ptrace::setoptions(leader, options).context("set options of the trace")?;
        let threads = HashSet::from([leader]);
        let (calls, status, killed) = (Vec::new(), None, false);
        let trace = Self { watch, at_call, leader, threads, calls, status, killed };
        go_on(leader, None)?;
        Ok(trace)
    }

    fn run(mut self) -> Result<Outcome> {
        loop {
            match waitpid(Pid::from_raw(-1), Some(flags())) {
                Err(Errno::ECHILD) => break,
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error).context("wait for the command"),
                Ok(status) => self.step(status)?,
            }
        }
        match (self.killed, self.calls.pop(), self.status) {
            (true, Some(last), _) => Ok(Outcome::Killed(last)),
            (false, last, Some(status)) => {
                self.calls.extend(last);
                Ok(Outcome::Ended { status, calls: self.calls })
            }
            _ => bail!("the command was lost"),
        }
    }

    fn step(&mut self, status: WaitStatus) -> Result<()> {
        match status {
            WaitStatus::Exited(pid, code) => self.ended(pid, ExitStatus::from_raw(code << 8)),
            WaitStatus::Signaled(pid, signal, _) => {
                self.ended(pid, ExitStatus::from_raw(signal as i32));
            }
            WaitStatus::PtraceEvent(pid, _, libc::PTRACE_EVENT_SECCOMP) => {
                return self.stopped(pid);
            }
            WaitStatus::PtraceEvent(pid, ..) => return go_on(pid, None),
            // A new thread begins with this stop, which is none of its own.
            WaitStatus::Stopped(pid, Signal::SIGSTOP) if self.threads.insert(pid) => {
                return go_on(pid, None);
            }
            WaitStatus::Stopped(pid, signal) => return go_on(pid, Some(signal)),
            _ => {}
        }
        Ok(())
    }

    fn ended(&mut self, pid: Pid, status: ExitStatus) {
        self.threads.remove(&pid);
        if pid == self.leader {
            self.status = Some(status);
        }
    }

    fn stopped(&mut self, thread: Pid) -> Result<()> {
        if self.killed {
            return Ok(());
        }
        if let Some(call) = self.watch.call(thread)? {
            let length = call.length();
            self.calls.push(call);
            match (self.at_call)(self.calls.len() as u64) {
                Action::GoOn => {}
                Action::Fail(errno) => answer::refuse(thread, errno)?,
                Action::Shorten => {
                    answer::change(thread, length.context("a call that moves no bytes")?, 1)?;
                }
                Action::Kill => {
                    self.kill();
                    return Ok(());
                }
            }
        }
        go_on(thread, None)
    }

    /// Nothing of the command survives this, nor does the call that it stands at begin.
    fn kill(&mut self) {
        self.killed = true;
        // Any of them may have ended just now.
        let _ = killpg(self.leader, Signal::SIGKILL);
        for thread in &self.threads {
            let _ = kill(*thread, Signal::SIGKILL);
        }
    }
}

fn flags() -> WaitPidFlag {
    WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD
}

/// Lets a thread run; one that was killed meanwhile is no error.
fn go_on(thread: Pid, signal: Option<Signal>) -> Result<()> {
    match ptrace::cont(thread, signal) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(error) => Err(error).context("let a thread go on"),
    }
}
