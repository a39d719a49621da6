//! The table: what was tried, and what failed.

#![expect(clippy::print_stdout, reason = "the table is what was asked for")]

use std::collections::BTreeMap;

use super::promises::words;
use super::results::{Outcome, Results};

/// Prints a line for each promise; one that nothing tests is never shown as kept.
pub(super) fn print(promises: &[u32], results: &Results, commit: &str) {
    println!("\n| promise | tried | failed | seconds |\n|---|---|---|---|");
    for promise in promises {
        let (outcomes, name) = (results.of(*promise), words(*promise));
        if outcomes.is_empty() {
            println!("| R{promise} {name} | no test | – | – |");
            continue;
        }
        let failed = outcomes.iter().filter(|outcome| !outcome.failed.is_empty()).count();
        let seconds: f64 = outcomes.iter().map(|outcome| outcome.seconds).sum();
        println!("| R{promise} {name} | {} | {failed} | {seconds:.0} |", tried(&outcomes, commit));
    }
}

/// `4 tests: 812 kills, 50 cuts`, and the commits if they are not this one.
fn tried(outcomes: &[&Outcome], commit: &str) -> String {
    let mut sums = BTreeMap::<&str, u64>::new();
    for (what, count) in outcomes.iter().flat_map(|outcome| &outcome.tried) {
        *sums.entry(what).or_default() += count;
    }
    let counts: Vec<String> = sums.iter().map(|(what, count)| format!("{count} {what}")).collect();
    let mut text = format!("{} tests", outcomes.len());
    if !counts.is_empty() {
        text = format!("{text}: {}", counts.join(", "));
    }
    let mut others: Vec<&str> = outcomes.iter().map(|outcome| &*outcome.commit).collect();
    others.retain(|other| *other != commit);
    others.sort_unstable();
    others.dedup();
    if others.is_empty() { text } else { format!("{text} (at {})", others.join(", ")) }
}
