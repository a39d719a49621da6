//! Disks as a power cut may have left them.

use std::fmt;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rustix::fs::{FallocateFlags, fallocate};

use super::log::{self, Entry};
use crate::dice::Dice;
use crate::judge;

/// What a disk writes whole or not at all.
const BLOCK: u64 = 4096;
const PIECE: u64 = 1 << 20;

/// A log, and the disk as it was at some flush.
#[derive(Debug)]
pub(super) struct Rebuilder {
    log: File,
    entries: Vec<Entry>,
    disk: PathBuf,
    /// The entries that the disk has.
    applied: usize,
}

/// What became of the writes after the last flush.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fate {
    /// How many reached the disk.
    pub kept: u64,
    /// How many reached it with only their beginning.
    pub cut: u64,
    /// How many did not reach it.
    pub lost: u64,
}

impl Rebuilder {
    /// `disk` is as it was when the log began.
    pub(super) fn new(log: File, disk: PathBuf) -> Result<Self> {
        let entries = log::entries(&log)?;
        Ok(Self { log, entries, disk, applied: 0 })
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Makes at `into` the disk as it may be when the power goes after `position` entries: all
    /// up to the last flush, and some of what followed. Positions have to ascend.
    pub(super) fn state(&mut self, position: usize, dice: &mut Dice, into: &Path) -> Result<Fate> {
        let so_far = self.entries.get(..position).context("a position beyond the log")?;
        let flushed = so_far.iter().rposition(|entry| entry.flush).map_or(0, |last| last + 1);
        ensure!(self.applied <= flushed, "positions that descend");
        let disk = open(&self.disk)?;
        for entry in &so_far[self.applied..flushed] {
            self.apply(entry, entry.length, &disk)?;
        }
        self.applied = flushed;
        let mut copy = Command::new("cp");
        judge::run(copy.args(["--sparse=always", "--reflink=auto"]).args([&self.disk, into]))?;
        self.gamble(&so_far[flushed..], dice, &open(into)?)
    }

    /// Each write is kept, cut or lost; how likely that is differs from state to state, so that
    /// there are some which have all of them, and some which have none.
    fn gamble(&self, entries: &[Entry], dice: &mut Dice, disk: &File) -> Result<Fate> {
        let kept_of_four = dice.below(5);
        let mut fate = Fate::default();
        for entry in entries {
            if entry.durable || dice.below(4) < kept_of_four {
                self.apply(entry, entry.length, disk)?;
                fate.kept += 1;
            } else if entry.length > BLOCK && dice.below(4) == 0 {
                self.apply(entry, dice.below(entry.length / BLOCK) * BLOCK, disk)?;
                fate.cut += 1;
            } else {
                fate.lost += 1;
            }
        }
        Ok(fate)
    }

    /// Writes the first `length` bytes of an entry.
    fn apply(&self, entry: &Entry, length: u64, disk: &File) -> Result<()> {
        let Some(data) = entry.data else { return clear(disk, entry.start, length) };
        let mut done = 0;
        while done < length {
            let size = PIECE.min(length - done);
            let mut piece = vec![0; usize::try_from(size).context("a piece")?];
            self.log.read_exact_at(&mut piece, data + done).context("read the log")?;
            // A disk that stays sparse is copied quickly.
            if piece.iter().all(|byte| *byte == 0) {
                clear(disk, entry.start + done, size)?;
            } else {
                disk.write_all_at(&piece, entry.start + done).context("write to a disk")?;
            }
            done += size;
        }
        Ok(())
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "of the writes after its last flush {} kept, ", self.kept)?;
        write!(f, "{} cut, {} lost", self.cut, self.lost)
    }
}

fn open(path: &Path) -> Result<File> {
    let file = File::options().read(true).write(true).open(path);
    file.with_context(|| format!("open {}", path.display()))
}

fn clear(disk: &File, start: u64, length: u64) -> Result<()> {
    if length == 0 {
        return Ok(());
    }
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    fallocate(disk.as_fd(), flags, start, length).context("clear a part of a disk")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Fate, Rebuilder};
    use crate::dice::Dice;
    use crate::recorder::log::tests::written;

    const SECTOR: usize = 512;

    fn read(path: &Path) -> Vec<u8> {
        let bytes = std::fs::read(path).expect("a disk");
        bytes.chunks(8 * SECTOR).map(|block| block[0]).collect()
    }

    #[test]
    fn what_was_flushed_is_there_and_what_was_not_may_be() {
        let place = tempfile::tempdir().expect("a place");
        let [disk, state] = ["disk", "state"].map(|name| place.path().join(name));
        std::fs::write(&disk, vec![9; 32 * SECTOR]).expect("a disk");
        let block = |value| vec![value; 8 * SECTOR];
        // Blocks of the disk: 0 is flushed, 1 written with FUA, 2 and 3 are in limbo.
        let log = written(&[
            (0, 0, block(1)),
            (0, 1, vec![]),
            (8, 2, block(2)),
            (16, 0, [block(3), block(0)].concat()),
            (0, 1, vec![]),
            (0, 4, block(0)),
        ]);
        let mut rebuilder = Rebuilder::new(log, disk).expect("a log");
        let mut dice = Dice::new(1);
        let fate = rebuilder.state(0, &mut dice, &state).expect("a state");
        assert_eq!((read(&state), fate), (vec![9; 4], Fate::default()));
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..200 {
            rebuilder.state(4, &mut Dice::new(seed), &state).expect("a state");
            let now = read(&state);
            rebuilder.state(4, &mut Dice::new(seed), &state).expect("the state again");
            assert_eq!(read(&state), now, "the same seed, the same state");
            seen.insert(now);
        }
        let all = [vec![1, 2, 9, 9], vec![1, 2, 3, 9], vec![1, 2, 3, 0]];
        assert_eq!(seen, all.into_iter().collect());
        let mut last = std::collections::BTreeSet::new();
        for seed in 0..50 {
            rebuilder.state(6, &mut Dice::new(seed), &state).expect("a state");
            last.insert(read(&state));
        }
        assert_eq!(last, [vec![1, 2, 3, 0], vec![0, 2, 3, 0]].into_iter().collect());
        assert!(rebuilder.state(4, &mut dice, &state).is_err(), "a descent");
        assert!(rebuilder.state(7, &mut dice, &state).is_err(), "beyond");
    }
}
