//! Layers of one pull that take from each other while they are made.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use storage_core::LayerId;

/// A layer that is being made, and where others find its files then.
///
/// Waits cannot form a circle: a layer takes only from those below it, which were
/// begun before it.
#[derive(Debug)]
pub(crate) struct Flight {
    pub(crate) id: LayerId,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
enum State {
    Coming,
    /// Every file is in its place.
    Here(Arc<OwnedFd>),
    /// It will not come by its TOC.
    Gone,
}

impl Flight {
    pub(crate) fn new(id: LayerId) -> Self {
        Self { id, state: Mutex::new(State::Coming), changed: Condvar::new() }
    }

    /// The layer's tree, once all its files are there.
    ///
    /// # Errors
    ///
    /// If they will not be.
    pub(crate) fn wait(&self) -> io::Result<Arc<OwnedFd>> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let coming = |state: &mut State| matches!(state, State::Coming);
        let state = self.changed.wait_while(state, coming).unwrap_or_else(PoisonError::into_inner);
        match &*state {
            State::Here(tree) => Ok(tree.clone()),
            State::Coming | State::Gone => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// A promise to say what becomes of the layer.
    pub(crate) fn landing(&self) -> Landing<'_> {
        Landing { flight: self }
    }

    fn settle(&self, state: State) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
        self.changed.notify_all();
    }
}

/// Dropped before [`Landing::here`], it tells those who wait not to.
#[derive(Debug)]
pub(crate) struct Landing<'f> {
    flight: &'f Flight,
}

impl Landing<'_> {
    /// Every file of the layer is in its place below `tree`.
    pub(crate) fn here(self, tree: BorrowedFd<'_>) {
        // Without a handle others fetch for themselves.
        if let Ok(tree) = tree.try_clone_to_owned() {
            self.flight.settle(State::Here(Arc::new(tree)));
        }
    }
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        let state = self.flight.state.lock().unwrap_or_else(PoisonError::into_inner);
        let coming = matches!(*state, State::Coming);
        drop(state);
        if coming {
            self.flight.settle(State::Gone);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::*;

    fn flight() -> Flight {
        Flight::new("0".repeat(64).parse().unwrap())
    }

    #[test]
    fn who_waits_is_told_of_both_ends() {
        for lands in [true, false] {
            let (flight, file) = (flight(), tempfile::tempfile().unwrap());
            std::thread::scope(|scope| {
                let waiting = scope.spawn(|| flight.wait());
                let landing = flight.landing();
                if lands {
                    landing.here(file.as_fd());
                } else {
                    drop(landing);
                }
                assert_eq!(waiting.join().unwrap().is_ok(), lands);
            });
            assert_eq!(flight.wait().is_ok(), lands);
        }
    }
}
