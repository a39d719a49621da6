//! What to ask the network for.
//!
//! Chunks that are missing leave gaps between them, of what is not needed. A gap
//! may be fetched along with its neighbours, which saves a request. Three rules
//! decide:
//!
//! - a gap shorter than the request that it saves is always fetched;
//! - a gap is never fetched where that takes longer than the request it saves;
//! - between those two, gaps are fetched only where they are few: wherever a
//!   stretch of the blob consists of gaps by less than one part in 24.
//!
//! The last rule costs time and saves bytes: on a real update, gaps of 16 KiB
//! made the download 60 % larger. It yields where it would make the pull slower
//! than one stream over everything.
//!
//! No link counts as faster than [`FASTEST`]. Beyond it bytes cost more than their
//! time (others share the line, and somebody pays for it), and what a few requests
//! measured is too coarse: on a busy machine a registry next door once looked so
//! far and so fast that 172 MB were streamed for the sake of 17.
//!
//! Under each rule, needing less never means fetching more: what is bridged for
//! a part of the chunks is bridged for all of them, too.

use std::ops::Range;

use storage_core::Link;

use crate::{Chunk, TocFile};

/// About what a request for one range takes in headers, both ways.
const FREE: u64 = 512;

/// Bytes a second; 200 Mbit/s.
const FASTEST: f64 = 25e6;

/// Of how many bytes one may be wasted. A byte may count for two overlapping
/// stretches, so that the waste is at most twice this part in all.
const PER_WASTED: i128 = 24;

/// A chunk to be fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    /// Offset in the blob.
    pub(crate) start: u64,
    /// Offset in the blob just after it.
    pub(crate) end: u64,
    /// Number of its file among those with content.
    pub(crate) file: u32,
    /// Number of the chunk in the file.
    pub(crate) chunk: u32,
}

impl Part {
    /// Chunk number `chunk` of `file`.
    pub(crate) fn of(file: TocFile<'_>, chunk: u32) -> Self {
        let Chunk { offset: start, end, .. } = file.chunk(chunk);
        Self { start, end, file: file.number(), chunk }
    }
}

/// Ranges that cover all parts: ascending and apart, each part inside exactly one.
pub(crate) fn ranges_for(parts: &[Part], link: &Link) -> Vec<Range<u64>> {
    let cost = Cost::of(link);
    let frugal = merge(parts, cost.gap, true);
    let (Some(first), Some(last)) = (parts.first(), parts.last()) else { return frugal };
    let stream = first.start..last.end;
    if cost.seconds(&frugal) <= cost.seconds(std::slice::from_ref(&stream)) {
        return frugal;
    }
    merge(parts, cost.gap, false)
}

/// What a [`Link`] makes of requests and bytes.
#[derive(Debug, Clone, Copy)]
struct Cost {
    /// Longest gap that is quicker to fetch than to ask around.
    gap: u64,
    per_request: f64,
    per_byte: f64,
}

impl Cost {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an estimate; the cast saturates, and takes what is no number for zero"
    )]
    fn of(link: &Link) -> Self {
        let per_request = link.round_trip.as_secs_f64() / link.parallel.max(1) as f64;
        let per_byte = 1.0 / link.bytes_per_second.clamp(1.0, FASTEST);
        Self { gap: (per_request / per_byte) as u64, per_request, per_byte }
    }

    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    fn seconds(&self, ranges: &[Range<u64>]) -> f64 {
        let bytes: u64 = ranges.iter().map(|range| range.end - range.start).sum();
        ranges.len() as f64 * self.per_request + bytes as f64 * self.per_byte
    }
}

/// Merges parts over gaps that are free, and over those of up to `gap` bytes:
/// over all of these, or, if `frugal`, where they are few.
fn merge(parts: &[Part], gap: u64, frugal: bool) -> Vec<Range<u64>> {
    let mut runs: Vec<Range<u64>> = Vec::new();
    for part in parts {
        match runs.last_mut() {
            Some(last) if part.start - last.end <= FREE => last.end = part.end,
            _ => runs.push(part.start..part.end),
        }
    }
    let mut merged = Vec::new();
    for stretch in runs.chunk_by(|a, b| b.start - a.end <= gap) {
        if frugal {
            bridge(stretch, &mut merged);
        } else {
            merged.push(stretch[0].start..stretch[stretch.len() - 1].end);
        }
    }
    merged
}

/// Bridges each gap that lies in some interval, from the start of a run to the
/// end of another, of which at most one byte in [`PER_WASTED`] + 1 is gap.
///
/// With `waste` and `kept` summed from the left, the interval from run i to run j
/// is such a one if `24·waste(j) - kept(j, inclusive) <= 24·waste(i) - kept(i)`.
/// So the gap before run k is bridged if the least left side from k on is at most
/// the greatest right side before k.
fn bridge(runs: &[Range<u64>], merged: &mut Vec<Range<u64>>) {
    let (mut balance, mut starts, mut ends) = (0, Vec::new(), Vec::new());
    for (i, run) in runs.iter().enumerate() {
        if i > 0 {
            balance += PER_WASTED * i128::from(run.start - runs[i - 1].end);
        }
        starts.push(balance);
        balance -= i128::from(run.end - run.start);
        ends.push(balance);
    }
    for i in (1..runs.len()).rev() {
        ends[i - 1] = ends[i - 1].min(ends[i]);
    }
    let mut greatest_start = i128::MIN;
    for (i, run) in runs.iter().enumerate() {
        match merged.last_mut() {
            Some(last) if i > 0 && ends[i] <= greatest_start => last.end = run.end,
            _ => merged.push(run.clone()),
        }
        greatest_start = greatest_start.max(starts[i]);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    /// Parts from pairs of a gap and a length, and whether each is wanted.
    fn parts(layout: &[(u64, u64, bool)]) -> Vec<Part> {
        let mut at = 0;
        let mut parts = Vec::new();
        for (number, &(gap, length, wanted)) in (0..).zip(layout) {
            let (start, end) = (at + gap, at + gap + length);
            at = end;
            if wanted {
                parts.push(Part { start, end, file: number, chunk: 0 });
            }
        }
        parts
    }

    fn link(round_trip: u64, bytes_per_second: f64, parallel: usize) -> Link {
        Link { round_trip: Duration::from_millis(round_trip), bytes_per_second, parallel }
    }

    fn length(ranges: &[Range<u64>]) -> u64 {
        ranges.iter().map(|range| range.end - range.start).sum()
    }

    prop_compose! {
        fn layout()(layout in proptest::collection::vec(
            (prop_oneof![Just(0), 0..2000_u64, 0..200_000_u64], 1..100_000_u64, any::<bool>()),
            0..80,
        )) -> Vec<(u64, u64, bool)> {
            layout
        }
    }

    proptest! {
        #[test]
        fn each_part_is_inside_exactly_one_range_and_ranges_are_sorted_and_apart(
            layout in layout(), trip in 0..200_u64, rate in 1e4..1e9, parallel in 1..16_usize,
        ) {
            let parts = parts(&layout);
            let ranges = ranges_for(&parts, &link(trip, rate, parallel));
            for pair in ranges.windows(2) {
                prop_assert!(pair[0].end + FREE < pair[1].start);
            }
            for part in &parts {
                let holding =
                    ranges.iter().filter(|range| part.start < range.end && range.start < part.end);
                let inside = holding.map(|range| range.start <= part.start && part.end <= range.end);
                prop_assert_eq!(inside.collect::<Vec<_>>(), [true]);
            }
            for range in &ranges {
                prop_assert!(parts.iter().any(|part| part.start == range.start));
                prop_assert!(parts.iter().any(|part| part.end == range.end));
            }
        }

        #[test]
        fn parts_further_apart_than_the_gap_stay_apart(
            layout in layout(), gap in 0..300_000_u64, frugal in any::<bool>(),
        ) {
            let parts = parts(&layout);
            let ranges = merge(&parts, gap, frugal);
            for pair in parts.windows(2) {
                if pair[1].start - pair[0].end > gap.max(FREE) {
                    prop_assert!(ranges.iter().any(|range| range.end == pair[0].end));
                }
            }
        }

        #[test]
        fn needing_less_never_fetches_more(
            layout in layout(), drop in any::<u64>(), gap in 0..300_000_u64, frugal in any::<bool>(),
        ) {
            let all = parts(&layout);
            let fewer: Vec<Part> =
                all.iter().filter(|part| drop >> (part.file % 64) & 1 == 0).copied().collect();
            let (all, fewer) = (merge(&all, gap, frugal), merge(&fewer, gap, frugal));
            prop_assert!(length(&fewer) <= length(&all));
            for range in &fewer {
                prop_assert!(all.iter().any(|r| r.start <= range.start && range.end <= r.end));
            }
        }

        #[test]
        fn frugal_waste_is_bounded(layout in layout(), gap in 0..300_000_u64) {
            let parts = parts(&layout);
            let exact = length(&merge(&parts, 0, false));
            let waste = length(&merge(&parts, gap, true)) - exact;
            prop_assert!(u128::from(waste) * 12 <= u128::from(exact));
        }

        #[test]
        fn partial_is_never_slower_than_one_stream(
            layout in layout(), trip in 0..200_u64, rate in 1e4..1e9, parallel in 1..16_usize,
        ) {
            let parts = parts(&layout);
            prop_assume!(!parts.is_empty());
            let link = link(trip, rate, parallel);
            let cost = Cost::of(&link);
            let all = parts[0].start..parts[parts.len() - 1].end;
            let ranges = ranges_for(&parts, &link);
            // Gaps that are always bridged may cost more than the request.
            let free = 512.0 * f64::from(u32::try_from(parts.len()).unwrap()) * cost.per_byte;
            let stream = cost.seconds(std::slice::from_ref(&all)) * 1.001;
            prop_assert!(cost.seconds(&ranges) <= stream + free);
        }

        #[test]
        fn bridging_equals_trying_every_interval(layout in layout()) {
            let runs: Vec<Range<u64>> = merge(&parts(&layout), 0, false);
            let mut merged = Vec::new();
            bridge(&runs, &mut merged);
            let mut bridged = vec![false; runs.len()];
            for i in 0..runs.len() {
                for j in i..runs.len() {
                    let kept = i128::from(length(&runs[i..=j]));
                    let waste = i128::from(runs[j].end - runs[i].start) - kept;
                    if waste * PER_WASTED <= kept {
                        bridged[i + 1..=j].fill(true);
                    }
                }
            }
            let mut expected: Vec<Range<u64>> = Vec::new();
            for (run, bridged) in runs.iter().zip(bridged) {
                match expected.last_mut() {
                    Some(last) if bridged => last.end = run.end,
                    _ => expected.push(run.clone()),
                }
            }
            prop_assert_eq!(merged, expected);
        }
    }

    #[test]
    fn a_fast_link_with_long_trips_bridges_what_a_slow_one_with_short_trips_does_not() {
        let parts = parts(&[(0, 500_000, true), (10_000, 500_000, true)]);
        assert_eq!(ranges_for(&parts, &link(100, 1e8, 1)).len(), 1);
        assert_eq!(ranges_for(&parts, &link(1, 1e6, 1)).len(), 2);
    }

    #[test]
    fn nothing_missing_needs_no_range() {
        assert_eq!(ranges_for(&[], &link(10, 1e6, 4)), []);
    }
}
