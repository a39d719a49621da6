//! How much memory a pull may take, and what follows for one layer.

use chunked::ZstdReader;

/// What a pull takes however small its layers are, in bytes.
const BASE: u64 = 64 << 20;

/// What each entry of a layer takes at most, in bytes.
const PER_ENTRY: u64 = 250;

/// Of the base, what the look into a layer that is there may take however few entries it has;
/// and what each of them may take.
const LOOK: u64 = 16 << 20;
const LOOK_PER_ENTRY: u64 = 230;

/// Windows up to 8 MiB are part of the base.
const SMALL_WINDOW_LOG: u32 = 23;

/// What a pull may take: as much as its layers need within the limits of all, or a budget, in
/// bytes, of which one layer at a time may have all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Memory {
    budget: Option<u64>,
}

impl Memory {
    /// The least that makes sense: for 33,000 entries.
    pub(crate) const LEAST: u64 = BASE + (8 << 20);

    pub(crate) fn new(budget: Option<u64>) -> Self {
        Self { budget }
    }

    /// The budget, if there is one.
    pub(crate) fn budget(self) -> Option<u64> {
        self.budget
    }

    /// For the TOC of each of so many layers, which are in memory together.
    pub(crate) fn toc_limits(self, layers: usize) -> chunked::Limits {
        let mut limits = chunked::Limits::default();
        limits.text /= layers.max(1) as u64;
        limits.entries = limits.entries.min(self.entries());
        limits.window_log = self.window_log();
        limits
    }

    /// For the tar of a layer.
    pub(crate) fn tar_limits(self) -> tarball::Limits {
        let mut limits = tarball::Limits::default();
        limits.entries = limits.entries.min(self.entries());
        limits
    }

    /// The longest zstd window, as a power of two of bytes.
    pub(crate) fn window_log(self) -> u32 {
        let longest = ZstdReader::<&[u8]>::LONGEST_WINDOW_LOG;
        let half = |room: u64| (room / 2).checked_ilog2().unwrap_or(0);
        self.room().map_or(longest, |room| half(room).clamp(SMALL_WINDOW_LOG, longest))
    }

    /// Bytes that the look into a layer of so many entries may take.
    pub(crate) fn for_a_look(self, entries: u64) -> u64 {
        let usual = LOOK.saturating_add(LOOK_PER_ENTRY.saturating_mul(entries));
        self.room().map_or(usual, |room| usual.min(LOOK + room))
    }

    /// What there is beside the base.
    fn room(self) -> Option<u64> {
        self.budget.map(|budget| budget.saturating_sub(BASE))
    }

    fn entries(self) -> u64 {
        let window = match self.window_log() {
            SMALL_WINDOW_LOG => 0,
            log => 1 << log,
        };
        self.room().map_or(u64::MAX, |room| room.saturating_sub(window) / PER_ENTRY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn without_a_budget_the_limits_are_the_usual_ones() {
        let memory = Memory::new(None);
        assert_eq!(memory.toc_limits(1), chunked::Limits::default());
        assert_eq!(memory.toc_limits(4).text, chunked::Limits::default().text / 4);
        assert_eq!(memory.tar_limits().entries, tarball::Limits::default().entries);
        assert_eq!(memory.window_log(), 27);
    }

    #[test]
    fn a_budget_is_never_exceeded() {
        for budget in (0..2000).map(|n| n * 7 * MIB / 5) {
            let memory = Memory::new(Some(budget));
            let window = if memory.window_log() > 23 { 1 << memory.window_log() } else { 0 };
            let entries = memory.toc_limits(1).entries;
            assert!(window + PER_ENTRY * entries <= budget.saturating_sub(BASE), "{budget}");
            assert!(memory.for_a_look(entries) <= LOOK + budget.saturating_sub(BASE), "{budget}");
        }
        let least = Memory::new(Some(Memory::LEAST)).toc_limits(1);
        assert_eq!((least.entries, least.window_log), (33_554, 23));
        assert_eq!(Memory::new(Some(1 << 40)).toc_limits(1), chunked::Limits::default());
    }
}
