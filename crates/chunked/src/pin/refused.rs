//! Which filesystems don't share.

use std::sync::{Mutex, MutexGuard, PoisonError};

use reflink::Refusal;

/// Pairs of devices between which extents can't be shared.
#[derive(Debug, Default)]
pub(super) struct Refused(Mutex<Vec<(u64, u64)>>);

impl Refused {
    /// Whether sharing from device `from` to device `to` was refused before.
    pub(super) fn contains(&self, from: u64, to: u64) -> bool {
        self.pairs().contains(&(from, to))
    }

    fn pairs(&self) -> MutexGuard<'_, Vec<(u64, u64)>> {
        // Each change is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers a refusal, unless it speaks of one file only.
    pub(super) fn remember(&self, from: u64, to: u64, refusal: Refusal) {
        if refusal.is_about_the_filesystem() && !self.contains(from, to) {
            tracing::debug!(from, to, %refusal, "extents can't be shared");
            self.pairs().push((from, to));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_odd_file_does_not_speak_for_its_filesystem() {
        let refused = Refused::default();
        refused.remember(1, 2, Refusal::ThisFile);
        assert!(!refused.contains(1, 2));
        refused.remember(1, 2, Refusal::CrossDevice);
        assert!(refused.contains(1, 2) && !refused.contains(2, 1));
    }
}
