//! Files are made from local ones on another thread, too, while the walk goes on.

use crossbeam::channel::{Receiver, Sender, TrySendError, bounded, unbounded};
use rustix::process::{Resource, getrlimit};

use super::whole_file::{Begun, WholeFiles};
use crate::{ApplyError, TocFile};

/// Files that are handed over together: to wake a thread for each one would cost more than
/// to make most. Up to three times as many are open at once.
const TOGETHER: usize = 4;

/// Where a process may have fewer descriptors, files are made one by one, by the walk.
const DESCRIPTORS: u64 = 144;

/// How many files are to be made together.
pub(super) fn together() -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    if limit.is_none_or(|limit| limit >= DESCRIPTORS) { TOGETHER } else { 1 }
}

/// Files of which no candidate was right.
pub(super) type Settled<'t> = Result<Vec<TocFile<'t>>, ApplyError>;

/// The walk's end of what it shares with the other thread.
pub(super) struct Beside<'t> {
    begun: Sender<Vec<Begun<'t>>>,
    settled: Receiver<Settled<'t>>,
    /// How often files were handed over and not heard of yet.
    out: usize,
}

/// The other thread's end.
pub(super) struct Helper<'t> {
    begun: Receiver<Vec<Begun<'t>>>,
    settled: Sender<Settled<'t>>,
}

pub(super) fn pair<'t>() -> (Beside<'t>, Helper<'t>) {
    let (to_helper, from_walk) = bounded(1);
    let (to_walk, from_helper) = unbounded();
    let beside = Beside { begun: to_helper, settled: from_helper, out: 0 };
    (beside, Helper { begun: from_walk, settled: to_walk })
}

impl<'t> Beside<'t> {
    /// Gives files to the other thread if it is about to have nothing to do, else gives
    /// them back.
    pub(super) fn hand_over(&mut self, files: Vec<Begun<'t>>) -> Option<Vec<Begun<'t>>> {
        match self.begun.try_send(files) {
            Ok(()) => {
                self.out += 1;
                None
            }
            // It stops only after an error, which is still to be heard.
            Err(TrySendError::Full(files) | TrySendError::Disconnected(files)) => Some(files),
        }
    }

    /// What the other thread could not make since this was asked last.
    pub(super) fn hopeless(&mut self) -> Settled<'t> {
        let mut hopeless = Vec::new();
        while let Ok(settled) = self.settled.try_recv() {
            self.out -= 1;
            hopeless.extend(settled?);
        }
        Ok(hopeless)
    }

    /// Waits until the other thread has done all that it was given; gives what it could
    /// not make.
    pub(super) fn wait(&mut self) -> Settled<'t> {
        let mut hopeless = Vec::new();
        while self.out > 0 {
            self.out -= 1;
            // Without an answer it has panicked, which is told when it is joined.
            if let Ok(settled) = self.settled.recv() {
                hopeless.extend(settled?);
            }
        }
        Ok(hopeless)
    }
}

impl Helper<'_> {
    /// Makes files until there will be no more, or one can't be written.
    pub(super) fn run(self, mut files: WholeFiles<'_>) -> WholeFiles<'_> {
        for begun in self.begun {
            let settled = files.make_all(begun);
            let failed = settled.is_err();
            // Nobody listens if the walk has failed.
            if self.settled.send(settled).is_err() || failed {
                break;
            }
        }
        files
    }
}
