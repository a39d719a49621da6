//! The medians, and their ratios.

#![expect(clippy::print_stdout, reason = "the table is what was asked for")]
#![expect(clippy::cast_precision_loss, reason = "a few digits are shown")]

use super::{Pair, Sample};

pub(super) type Column = (&'static str, fn(&Sample) -> f64);

/// What there is to say of a pull; all but the last of what goes out, too.
pub(super) const COLUMNS: [Column; 5] = [
    ("wall s", |s| s.usage.wall),
    ("CPU s", |s| s.usage.cpu),
    ("memory MiB", |s| s.usage.memory / 1024.0),
    ("blob MB", |s| s.traffic.bytes as f64 / 1e6),
    ("blob requests", |s| s.traffic.requests as f64),
];

/// A table: reflayer, `peer`, and the one as a part of the other.
pub(super) fn print(title: &str, peer: &str, columns: &[Column], pairs: &[Pair]) {
    let rounds = pairs.first().map_or(0, |pair| pair.ours.len());
    println!("\n{title}, medians of {rounds} rounds\n");
    println!("| | | reflayer | {peer} | ratio |\n|---|---|---|---|---|");
    for pair in pairs {
        for &(name, value) in columns {
            let [ours, theirs] = [&pair.ours, &pair.theirs].map(|samples| median(samples, value));
            let ratio = if theirs > 0.0 { format!("{:.2}", ours / theirs) } else { "-".into() };
            println!("| {} | {name} | {ours:.2} | {theirs:.2} | {ratio} |", pair.what);
        }
    }
}

fn median(samples: &[Sample], value: fn(&Sample) -> f64) -> f64 {
    let mut values: Vec<f64> = samples.iter().map(value).collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        n if n % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}
