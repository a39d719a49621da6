//! The two calls that are sound only while a process has one thread.
#![expect(unsafe_code, reason = "fork and a change of the environment can't be had otherwise")]

use nix::unistd::{ForkResult, fork};

/// What may still be done to a process that has one thread.
#[derive(Debug, Clone, Copy)]
pub(super) struct SingleThreaded(());

#[expect(clippy::unused_self, reason = "to have one is the proof")]
impl SingleThreaded {
    /// The proof, if this process has one thread only.
    pub(super) fn prove() -> std::io::Result<Self> {
        match std::fs::read_dir("/proc/self/task")?.count() {
            1 => Ok(Self(())),
            threads => Err(std::io::Error::other(format!("this process has {threads} threads"))),
        }
    }

    /// Makes a process like this one.
    pub(super) fn fork(self) -> nix::Result<ForkResult> {
        // SAFETY: no other thread can have left a lock or the heap in the middle of a change.
        unsafe { fork() }
    }

    /// Sets a variable of this process.
    pub(super) fn set_variable(self, name: &str, value: &str) {
        // SAFETY: no other thread can be reading the environment.
        unsafe { std::env::set_var(name, value) }
    }
}
