//! Which filesystems don't share.

use std::cell::RefCell;

use reflink::Refusal;

/// Pairs of devices between which extents can't be shared.
#[derive(Debug, Default)]
pub(super) struct Refused(RefCell<Vec<(u64, u64)>>);

impl Refused {
    /// Whether sharing from device `from` to device `to` was refused before.
    pub(super) fn contains(&self, from: u64, to: u64) -> bool {
        self.0.borrow().contains(&(from, to))
    }

    /// Remembers a refusal, unless it speaks of one file only.
    pub(super) fn remember(&self, from: u64, to: u64, refusal: Refusal) {
        if refusal.is_about_the_filesystem() && !self.contains(from, to) {
            tracing::debug!(from, to, %refusal, "extents can't be shared");
            self.0.borrow_mut().push((from, to));
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
