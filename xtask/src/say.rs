//! What a task is doing, and for how long.

use std::time::Instant;

use anyhow::Result;

/// Announces a step, does it, and tells how long it took.
pub(crate) fn step<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    eprintln!("=== {what}");
    let start = Instant::now();
    let result = work();
    let outcome = if result.is_ok() { "done" } else { "FAILED" };
    eprintln!("=== {what}: {outcome} in {:.1} s", start.elapsed().as_secs_f64());
    result
}
