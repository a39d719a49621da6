//! Bytes of one file that are to be, in the same order, in another one.

use std::ops::Range;

/// A range of a local file, and where it is to be in a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stretch {
    /// Where it begins in the local file, and in the new one.
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) length: u64,
}

impl Stretch {
    /// Whether what is at `from` and is to be at `to` goes on with this.
    pub(crate) fn goes_on(&self, from: u64, to: u64) -> bool {
        from == self.from + self.length && to == self.to + self.length
    }

    /// The part of it, from its own beginning on, that consists of whole blocks on both sides.
    pub(crate) fn whole_blocks(&self, block: u64) -> Option<Range<u64>> {
        if self.from % block != self.to % block {
            return None;
        }
        let start = self.to.next_multiple_of(block) - self.to;
        let end = (self.to + self.length) / block * block;
        let end = end.checked_sub(self.to).filter(|&end| end > start)?;
        Some(start..end)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn blocks_are_whole_on_both_sides_and_none_is_left_out(
            from in 0..10_000_u64, to in 0..10_000_u64, alike in any::<bool>(), length in 1..20_000_u64,
        ) {
            let to = if alike { from % 512 + to / 512 * 512 } else { to };
            let stretch = Stretch { from, to, length };
            let inside = stretch.whole_blocks(512);
            if from % 512 != to % 512 {
                prop_assert_eq!(inside, None);
                return Ok(());
            }
            let whole = (to.div_ceil(512)..(to + length) / 512).count() as u64;
            let Range { start, end } = inside.unwrap_or(0..0);
            prop_assert_eq!(end - start, whole * 512);
            prop_assert!(whole == 0 || ((from + start) % 512, (to + start) % 512) == (0, 0));
            prop_assert!(end <= length);
        }
    }
}
