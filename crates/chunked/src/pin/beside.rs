//! Files are made from local ones on another thread, too, while the walk goes on.

use crossbeam::channel::{Receiver, Sender, TrySendError, bounded, unbounded};

use super::whole_file::{Begun, WholeFiles};
use crate::{ApplyError, TocFile};

/// Files that are handed over together: to wake a thread for each one would cost more than
/// to make most. Up to four times as many are open at once.
pub(super) const TOGETHER: usize = 4;

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

impl<'t> Helper<'t> {
    /// Makes files until there will be no more, or one can't be written.
    ///
    /// What some have taken comes from the disk while those before them are looked at.
    pub(super) fn run<'p>(self, mut files: WholeFiles<'p>) -> WholeFiles<'p> {
        let mut ahead = None;
        while let Some(now) = ahead.or_else(|| Some(files.take_all(self.begun.recv().ok()?))) {
            ahead = self.begun.try_recv().ok().map(|begun| files.take_all(begun));
            let settled = files.settle_all(now);
            let failed = settled.is_err();
            // Nobody listens if the walk has failed.
            if self.settled.send(settled).is_err() || failed {
                break;
            }
        }
        files
    }
}
