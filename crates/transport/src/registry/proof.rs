//! Whether a registry answers requests for several ranges, as far as it has shown.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Answers in a row that may break off before a registry counts as unable after all.
const BREAKS: u32 = 3;

/// What is proved. Nothing is, to begin with.
#[derive(Debug, Default)]
pub(super) struct Proof(Mutex<State>);

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Unknown,
    /// One request finds out while all others ask for single ranges.
    Tried,
    Proved {
        breaks: u32,
    },
    Refused,
}

impl Proof {
    /// Whether requests for several ranges were answered rightly.
    pub(super) fn is_proved(&self) -> bool {
        matches!(*self.state(), State::Proved { .. })
    }

    /// Whether nothing was shown yet.
    pub(super) fn is_unknown(&self) -> bool {
        *self.state() == State::Unknown
    }

    /// Permission to ask for several ranges: for all where that is proved, for one at a
    /// time where it is unknown.
    pub(super) fn ask(&self) -> Option<Asking<'_>> {
        let mut state = self.state();
        match *state {
            State::Unknown => {
                *state = State::Tried;
                Some(Asking { proof: self, is_first: true })
            }
            State::Proved { .. } => Some(Asking { proof: self, is_first: false }),
            State::Tried | State::Refused => None,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request for several ranges on its way. Dropped, it has shown nothing.
#[derive(Debug)]
#[must_use = "dropping it forgets what the answer showed"]
pub(super) struct Asking<'p> {
    proof: &'p Proof,
    is_first: bool,
}

impl Asking<'_> {
    /// Whether it is to be found out if the registry can do it.
    pub(super) fn is_first(&self) -> bool {
        self.is_first
    }

    /// The answer was exactly right.
    pub(super) fn right(self) {
        let mut state = self.proof.state();
        // What another answer has refuted stays so.
        if *state != State::Refused {
            *state = State::Proved { breaks: 0 };
        }
    }

    /// The answer broke off, which happens on any line.
    pub(super) fn broken(self) {
        let mut state = self.proof.state();
        *state = match *state {
            State::Proved { breaks } if breaks + 1 < BREAKS => State::Proved { breaks: breaks + 1 },
            _ => State::Refused,
        };
    }

    /// The answer was not what was asked for.
    pub(super) fn odd(self) {
        *self.proof.state() = State::Refused;
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let mut state = self.proof.state();
        if *state == State::Tried && self.is_first {
            *state = State::Unknown;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proved() -> Proof {
        let proof = Proof::default();
        proof.ask().unwrap().right();
        assert!(proof.is_proved());
        proof
    }

    #[test]
    fn one_request_finds_out_and_one_that_was_dropped_has_not() {
        let proof = Proof::default();
        assert!(proof.is_unknown());
        let first = proof.ask().unwrap();
        assert!(!proof.is_unknown());
        assert!(first.is_first() && proof.ask().is_none() && !proof.is_proved());
        drop(first);
        proof.ask().unwrap().right();
        let (a, b) = (proof.ask().unwrap(), proof.ask().unwrap());
        assert!(!a.is_first() && !b.is_first());
    }

    #[test]
    fn a_first_answer_that_breaks_off_is_a_refusal() {
        let proof = Proof::default();
        proof.ask().unwrap().broken();
        assert!(proof.ask().is_none() && !proof.is_proved());
    }

    #[test]
    fn what_is_proved_survives_some_breaks_in_a_row_but_no_odd_answer() {
        let proof = proved();
        for _ in 0..5 {
            proof.ask().unwrap().broken();
            proof.ask().unwrap().broken();
            proof.ask().unwrap().right();
        }
        for _ in 0..BREAKS {
            proof.ask().unwrap().broken();
        }
        assert!(proof.ask().is_none());
        let proof = self::proved();
        let late = proof.ask().unwrap();
        proof.ask().unwrap().odd();
        late.right();
        assert!(!proof.is_proved() && proof.ask().is_none());
    }
}
