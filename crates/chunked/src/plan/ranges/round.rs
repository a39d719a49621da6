//! Ranges asked for some windows at a time, so that what is learned of the line while they
//! come counts for the next ones.

use storage_core::{Link, RangeSource};

use super::{Bridge, Cost, Part, Ranges, link_to, ranges_for, window};

/// Seconds that a round takes at least, and round trips: between two rounds the line is idle
/// for one.
const LEAST: f64 = 2.0;
const ROUND_TRIPS: f64 = 20.0;

/// Of how many seconds that all would take one is spent until what was learned counts.
const PER_SPENT: f64 = 4.0;

/// What to ask for next.
#[derive(Debug, PartialEq)]
pub(crate) struct Round {
    /// How many of the parts it covers.
    pub(crate) parts: usize,
    pub(crate) ranges: Ranges,
}

/// What to ask `blob` for next, of parts that are ascending.
///
/// As long as the line stays what it seems to be, rounds ask for no byte that one request
/// for all would not ask for: they end where windows do, of which each is judged for itself,
/// and a gap between two rounds is never fetched.
pub(crate) fn next_round(blob: &dyn RangeSource, parts: &[Part]) -> Round {
    round_of(parts, &link_to(blob, parts))
}

fn round_of(parts: &[Part], link: &Link) -> Round {
    let cost = Cost::of(link);
    let windows = || parts.chunk_by(|a, b| window(a.start) == window(b.start));
    let seconds = |parts: &[Part]| cost.seconds(&cost.merge(parts, Bridge::ThatPay));
    // Together they take less: ranges go across windows.
    let together = seconds(parts) / windows().map(seconds).sum::<f64>();
    let (mut count, mut spent, mut left) = (0, 0.0, seconds(parts));
    let least = f64::max(LEAST, ROUND_TRIPS * link.round_trip.as_secs_f64());
    let enough = f64::max(least, left / PER_SPENT);
    for window in windows() {
        if spent >= enough && left >= least {
            break;
        }
        let seconds = seconds(window) * together;
        (count, spent, left) = (count + window.len(), spent + seconds, left - seconds);
    }
    Round { parts: count, ranges: ranges_for(&parts[..count], link) }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn parts(layout: &[(u64, u64)]) -> Vec<Part> {
        let mut at = 0;
        let part = |(file, &(gap, length)): (u32, &(u64, u64))| {
            let (start, end) = (at + gap, at + gap + length);
            at = end;
            Part { start, end, file, chunk: 0 }
        };
        (0..).zip(layout).map(part).collect()
    }

    fn all_rounds(mut parts: &[Part], link: &Link) -> Vec<Round> {
        let mut rounds = Vec::new();
        while !parts.is_empty() {
            let round = round_of(parts, link);
            parts = &parts[round.parts..];
            rounds.push(round);
        }
        rounds
    }

    prop_compose! {
        fn links()(
            trip in 0..200_u64, rate in 1e4..1e7, parallel in 1..16_usize,
            ranges_per_request in prop_oneof![Just(1), Just(64_usize)],
        ) -> Link {
            let round_trip = Duration::from_millis(trip);
            Link { round_trip, bytes_per_second: rate, parallel, ranges_per_request }
        }
    }

    proptest! {
        #[test]
        fn rounds_cover_all_parts_and_ask_for_nothing_that_one_would_not(
            layout in proptest::collection::vec(
                (prop_oneof![0..20_000_u64, 0..3_000_000_u64], 1..500_000_u64), 1..100,
            ),
            link in links(),
        ) {
            let parts = parts(&layout);
            let at_once = ranges_for(&parts, &link).ranges;
            let rounds = all_rounds(&parts, &link);
            let asked: Vec<&Range<u64>> =
                rounds.iter().flat_map(|round| &round.ranges.ranges).collect();
            for range in &asked {
                let touching = at_once.iter().filter(|r| r.start < range.end && range.start < r.end);
                let covered: u64 = touching
                    .map(|r| r.end.min(range.end) - r.start.max(range.start))
                    .sum();
                prop_assert_eq!(covered, range.end - range.start);
            }
            for part in &parts {
                let inside = |range: &&&Range<u64>| range.start <= part.start && part.end <= range.end;
                prop_assert_eq!(asked.iter().filter(inside).count(), 1);
            }
            // Few rounds, however much there is: each idles for a round trip.
            prop_assert!(rounds.len() <= 40);
        }
    }

    #[test]
    fn where_each_round_would_bring_the_whole_blob_there_is_one() {
        let parts = parts(&[(1 << 20, 100_000); 400]);
        let whole_only = Link {
            round_trip: Duration::from_secs(45),
            bytes_per_second: 1e7,
            parallel: 1,
            ranges_per_request: 1,
        };
        assert_eq!(all_rounds(&parts, &whole_only).len(), 1);
    }

    #[test]
    fn what_takes_a_moment_is_asked_for_at_once_and_what_takes_long_a_quarter_at_a_time() {
        let parts = parts(&[(1000, 100_000); 400]);
        let link = |bytes_per_second| Link {
            round_trip: Duration::from_millis(20),
            bytes_per_second,
            parallel: 4,
            ranges_per_request: 1,
        };
        assert_eq!(all_rounds(&parts, &link(2e7)).len(), 1);
        let rounds: Vec<_> =
            all_rounds(&parts, &link(1e6)).into_iter().map(|round| round.parts).collect();
        // 40 MB in windows of 8 MiB, which take 8 seconds each.
        assert_eq!(rounds, [167, 83, 83, 67]);
    }
}
