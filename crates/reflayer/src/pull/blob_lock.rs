//! One process fetches a blob at a time.
//!
//! ```text
//! RUN/reflayer-blobs/
//! ├── lock              held while locks are taken or given back: microseconds
//! └── <blob digest>     a symlink whose text is the name of the pull that has it
//! ```
//!
//! A lock counts as long as its pull lives, as its mark tells: one open file per
//! pull, however many blobs. A pull takes all locks that it needs or none, so that
//! nobody who waits has what another waits for.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, readlinkat, symlinkat, unlinkat};
use rustix::io::Errno;
use storage_core::{BlobDigest, FsError, FsResultExt as _, Lock};

use super::mark::{PullMark, is_name, last_beat, own_directory, pull_is_alive};

const DIRECTORY: &str = "reflayer-blobs";
const MUTEX: &str = "lock";

/// How often a waiting pull looks.
const POLL: Duration = Duration::from_millis(50);

/// The blobs that a pull keeps others from fetching, until this is dropped.
#[derive(Debug)]
pub(super) struct BlobLocks<'a> {
    run_root: BorrowedFd<'a>,
    directory: OwnedFd,
    mark: &'a PullMark,
    held: BTreeSet<BlobDigest>,
    /// Pulls that were waited for too long: what they hold is free for us.
    stalled: BTreeSet<String>,
}

/// Another pull, and which of the wanted blobs it has.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Holder {
    pull: String,
    pub(super) blobs: BTreeSet<BlobDigest>,
}

/// What was seen of a pull's beats, and since when it is the same.
#[derive(Debug)]
struct Watch<B> {
    beat: B,
    since: Instant,
}

impl<B: PartialEq> Watch<B> {
    fn new(beat: B, now: Instant) -> Self {
        Self { beat, since: now }
    }

    /// How long `beat` has been what is seen.
    fn unchanged(&mut self, beat: B, now: Instant) -> Duration {
        if beat != self.beat {
            *self = Self::new(beat, now);
        }
        now.saturating_duration_since(self.since)
    }
}

/// How waiting for a pull ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Waited {
    /// It has given a blob back, or has ended.
    Released,
    /// It lives, but nothing of it moves.
    Stalled,
}

impl<'a> BlobLocks<'a> {
    /// No locks yet, for the pull that `mark` stands for.
    pub(super) fn new(run_root: BorrowedFd<'a>, mark: &'a PullMark) -> Result<Self, FsError> {
        let directory = own_directory(run_root, DIRECTORY)?;
        Ok(Self { run_root, directory, mark, held: BTreeSet::new(), stalled: BTreeSet::new() })
    }

    /// Takes the locks of all `blobs`, or none and tells who has some of them.
    pub(super) fn try_take(
        &mut self,
        blobs: &BTreeSet<BlobDigest>,
    ) -> Result<Option<Holder>, FsError> {
        let _mutex = Lock::exclusive(&self.directory, MUTEX)?;
        let mut holder: Option<Holder> = None;
        for blob in blobs {
            let Some(pull) = self.other(blob)? else { continue };
            let holder =
                holder.get_or_insert_with(|| Holder { pull: pull.clone(), blobs: BTreeSet::new() });
            if holder.pull == pull {
                holder.blobs.insert(*blob);
            }
        }
        if holder.is_none() {
            self.take(blobs)?;
        }
        Ok(holder)
    }

    /// Takes the locks of those `blobs` that nobody else has.
    pub(super) fn take_free(&mut self, blobs: &BTreeSet<BlobDigest>) -> Result<(), FsError> {
        let _mutex = Lock::exclusive(&self.directory, MUTEX)?;
        for blob in blobs {
            if self.other(blob)?.is_none() {
                self.take(&BTreeSet::from([*blob]))?;
            }
        }
        Ok(())
    }

    /// Gives back all locks but those of `blobs`.
    pub(super) fn keep_only(&mut self, blobs: &BTreeSet<BlobDigest>) -> Result<(), FsError> {
        let given_back = self.held.difference(blobs).copied().collect::<BTreeSet<_>>();
        if given_back.is_empty() {
            return Ok(());
        }
        let _mutex = Lock::exclusive(&self.directory, MUTEX)?;
        for blob in given_back {
            // One that took us for stalled may have it.
            if self.owner(&blob)?.as_deref() == Some(self.mark.name()) {
                self.remove(&blob)?;
            }
            self.held.remove(&blob);
        }
        Ok(())
    }

    /// Waits until `holder` has given a blob back, has ended, or has not moved for `patience`.
    pub(super) fn wait(&mut self, holder: &Holder, patience: Duration) -> Result<Waited, FsError> {
        let mut watch = Watch::new(last_beat(self.run_root, &holder.pull)?, Instant::now());
        loop {
            for blob in &holder.blobs {
                if self.owner(blob)?.as_ref() != Some(&holder.pull) {
                    return Ok(Waited::Released);
                }
            }
            if !pull_is_alive(self.run_root, &holder.pull)? {
                return Ok(Waited::Released);
            }
            let beat = last_beat(self.run_root, &holder.pull)?;
            if watch.unchanged(beat, Instant::now()) >= patience {
                self.stalled.insert(holder.pull.clone());
                return Ok(Waited::Stalled);
            }
            std::thread::sleep(POLL.min(patience));
        }
    }

    /// The living pull that keeps us from `blob`.
    fn other(&self, blob: &BlobDigest) -> Result<Option<String>, FsError> {
        let Some(pull) = self.owner(blob)? else { return Ok(None) };
        let free = pull == self.mark.name()
            || self.stalled.contains(&pull)
            || !pull_is_alive(self.run_root, &pull)?;
        Ok((!free).then_some(pull))
    }

    /// What the lock of `blob` says, whether or not that pull lives.
    fn owner(&self, blob: &BlobDigest) -> Result<Option<String>, FsError> {
        let name = file_name(blob);
        match readlinkat(&self.directory, &name, Vec::new()) {
            // Something else by that name is not ours, and protects nothing.
            Err(Errno::NOENT | Errno::INVAL) => Ok(None),
            text => {
                let text = text.during("read lock of blob", &name)?.into_string();
                Ok(text.ok().filter(|text| is_name(text)))
            }
        }
    }

    /// Takes locks that are free; the mutex is held.
    fn take(&mut self, blobs: &BTreeSet<BlobDigest>) -> Result<(), FsError> {
        for blob in blobs {
            self.remove(blob)?;
            let name = file_name(blob);
            symlinkat(self.mark.name(), &self.directory, &name).during("lock blob", &name)?;
            self.held.insert(*blob);
        }
        Ok(())
    }

    fn remove(&self, blob: &BlobDigest) -> Result<(), FsError> {
        let name = file_name(blob);
        match unlinkat(&self.directory, &name, AtFlags::empty()) {
            Err(Errno::NOENT) => Ok(()),
            removed => removed.during("unlock blob", &name),
        }
    }
}

impl Drop for BlobLocks<'_> {
    fn drop(&mut self) {
        // Best effort: a lock whose pull has ended is free.
        drop(self.keep_only(&BTreeSet::new()));
    }
}

fn file_name(blob: &BlobDigest) -> String {
    blob.digest().hex()
}

/// Removes the locks of pulls that died; tells how many.
pub(crate) fn remove_dead_blob_locks(run_root: impl AsFd) -> Result<usize, FsError> {
    let run_root = run_root.as_fd();
    let directory = own_directory(run_root, DIRECTORY)?;
    let _mutex = Lock::exclusive(&directory, MUTEX)?;
    let mut removed = 0;
    let names = rustix::fs::Dir::read_from(&directory).during("read directory", DIRECTORY)?;
    for entry in names {
        let name = entry.during("read directory", DIRECTORY)?;
        let name = name.file_name();
        let Ok(pull) = readlinkat(&directory, name, Vec::new()) else { continue };
        let Some(pull) = pull.to_str().ok().filter(|pull| is_name(pull)) else { continue };
        if !pull_is_alive(run_root, pull)? {
            unlinkat(&directory, name, AtFlags::empty()).during("unlock blob", DIRECTORY)?;
            removed += 1;
        }
    }
    Ok(removed)
}

#[cfg(test)]
#[path = "blob_lock_tests.rs"]
mod tests;
