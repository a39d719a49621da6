//! How much is allocated.

use std::sync::atomic::{AtomicUsize, Ordering};

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// Does `work`, which must not hold more than `limit` bytes beyond what was there
/// before. What C libraries allocate is not counted.
///
/// # Panics
///
/// If it does.
pub fn bounded<T>(limit: usize, work: impl FnOnce() -> T) -> T {
    let before = NOW.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let result = work();
    let held = PEAK.load(Ordering::Relaxed).saturating_sub(before);
    assert!(held <= limit, "{held} bytes were held, and {limit} are allowed");
    result
}

pub(crate) fn grow(bytes: usize) {
    let now = NOW.fetch_add(bytes, Ordering::Relaxed).wrapping_add(bytes);
    PEAK.fetch_max(now, Ordering::Relaxed);
}

pub(crate) fn shrink(bytes: usize) {
    NOW.fetch_sub(bytes, Ordering::Relaxed);
}
