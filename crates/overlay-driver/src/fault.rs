//! Tests stop a process in front of any of its changes to the disk.

/// Called before every change that [`crate::dir::Dir`] makes.
#[cfg(not(test))]
pub(crate) fn before_change() {}

#[cfg(test)]
pub(crate) use armed::before_change;

#[cfg(test)]
pub(crate) mod armed {
    use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

    /// Changes left until the process is killed; `MAX` means never.
    static LEFT: AtomicU64 = AtomicU64::new(u64::MAX);
    /// Changes seen since [`arm`].
    static SEEN: AtomicU64 = AtomicU64::new(0);

    /// Kills this process, as `kill -9` does, in front of its `n`-th change from now (the first is 0).
    pub(crate) fn arm(n: u64) {
        SEEN.store(0, SeqCst);
        LEFT.store(n, SeqCst);
    }

    /// Changes made since [`arm`].
    pub(crate) fn seen() -> u64 {
        SEEN.load(SeqCst)
    }

    pub(crate) fn before_change() {
        let left = LEFT.load(SeqCst);
        if left == u64::MAX {
            return;
        }
        if left == 0 {
            let own = rustix::process::getpid();
            rustix::process::kill_process(own, rustix::process::Signal::KILL).expect("own process");
            unreachable!("killed");
        }
        LEFT.store(left - 1, SeqCst);
        SEEN.fetch_add(1, SeqCst);
    }
}
