#![expect(clippy::cast_precision_loss, reason = "estimates")]

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
    let round_trip = Duration::from_millis(round_trip);
    Link { round_trip, bytes_per_second, parallel, ranges_per_request: 1 }
}

/// Ranges before they were cut: none of those touched another one.
fn uncut(ranges: &[Range<u64>]) -> Vec<Range<u64>> {
    let runs = ranges.chunk_by(|a, b| a.end == b.start);
    runs.map(|run| run[0].start..run[run.len() - 1].end).collect()
}

/// A cost with this longest gap, where `free` bytes are no longer than headers.
fn cost(free: u64, gap: u64) -> Cost {
    Cost { free, gap, per_range: gap as f64, per_byte: 1.0 }
}

prop_compose! {
    fn links()(
        trip in 0..200_u64, rate in 1e4..1e9, parallel in 1..16_usize,
        ranges_per_request in prop_oneof![Just(1), 0..100_usize],
    ) -> Link {
        Link { ranges_per_request, ..link(trip, rate, parallel) }
    }
}

prop_compose! {
    fn layout()(layout in proptest::collection::vec(
        (prop_oneof![Just(0), 0..2000_u64, 0..200_000_u64], 1..100_000_u64, any::<bool>()),
        0..80,
    )) -> Vec<(u64, u64, bool)> {
        layout
    }
}

fn free() -> impl Strategy<Value = u64> {
    prop_oneof![Just(REQUEST_HEADERS), Just(PART_HEADER)]
}

fn bridge_kinds() -> impl Strategy<Value = Bridge> {
    prop_oneof![Just(Bridge::None), Just(Bridge::ThatPay)]
}

proptest! {
    #[test]
    fn each_part_is_inside_exactly_one_range_and_ranges_are_sorted_and_apart(
        layout in layout(), link in links(),
    ) {
        let parts = parts(&layout);
        let ranges = ranges_for(&parts, &link).ranges;
        for pair in uncut(&ranges).windows(2) {
            prop_assert!(pair[0].end + Cost::of(&link).free < pair[1].start);
        }
        for part in &parts {
            let holding =
                ranges.iter().filter(|range| part.start < range.end && range.start < part.end);
            let inside = holding.map(|range| range.start <= part.start && part.end <= range.end);
            prop_assert_eq!(inside.collect::<Vec<_>>(), [true]);
        }
        for range in &ranges {
            prop_assert!(parts.iter().any(|part| part.start == range.start));
            let ends = |part: &Part| part.end == range.end;
            prop_assert!(parts.iter().any(ends) || ranges.iter().any(|r| r.start == range.end));
        }
    }

    #[test]
    fn side_by_side_no_range_is_long_but_for_one_part_and_none_is_cut_in_vain(
        layout in layout(), link in links(),
    ) {
        let parts = parts(&layout);
        let ranges = ranges_for(&parts, &link).ranges;
        let is_cut = link.parallel > 1 && uncut(&ranges).len() > 1;
        for range in ranges.iter().filter(|_| is_cut) {
            let inside = parts.iter().filter(|p| range.start <= p.start && p.end <= range.end);
            let reach = inside.clone().map(|part| part.end).max().unwrap_or(range.end);
            prop_assert!(reach - range.start <= LONGEST || inside.count() == 1);
        }
        for pair in ranges.windows(2).filter(|pair| pair[0].end == pair[1].start) {
            let next = parts.iter().find(|part| part.start == pair[1].start).unwrap();
            prop_assert!(is_cut && next.end - pair[0].start > LONGEST);
        }
    }

    #[test]
    fn parts_further_apart_than_the_gap_stay_apart(
        layout in layout(), gap in 0..300_000_u64, free in free(), which in bridge_kinds(),
    ) {
        let parts = parts(&layout);
        let ranges = cost(free, gap).merge(&parts, which);
        for pair in parts.windows(2) {
            if pair[1].start - pair[0].end > gap.max(free) {
                prop_assert!(ranges.iter().any(|range| range.end == pair[0].end));
            }
        }
    }

    #[test]
    fn needing_less_never_fetches_more(
        layout in layout(), drop in any::<u64>(),
        gap in 0..300_000_u64, free in free(), which in bridge_kinds(),
    ) {
        let all = parts(&layout);
        let fewer: Vec<Part> =
            all.iter().filter(|part| drop >> (part.file % 64) & 1 == 0).copied().collect();
        let cost = cost(free, gap);
        let (all, fewer) = (cost.merge(&all, which), cost.merge(&fewer, which));
        prop_assert!(length(&fewer) <= length(&all));
        for range in &fewer {
            prop_assert!(all.iter().any(|r| r.start <= range.start && range.end <= r.end));
        }
    }

    #[test]
    fn frugal_waste_is_bounded(
        layout in layout(), gap in 0..300_000_u64, free in free(),
    ) {
        // Where no window is crowded.
        let (parts, cost) = (parts(&layout), Cost { per_range: 0.0, per_byte: 0.0, ..cost(free, gap) });
        let exact = length(&cost.merge(&parts, Bridge::None));
        let waste = length(&cost.merge(&parts, Bridge::ThatPay)) - exact;
        prop_assert!(u128::from(waste) * 12 <= u128::from(exact));
    }

    #[test]
    fn partial_is_never_slower_than_one_stream(layout in layout(), link in links()) {
        let parts = parts(&layout);
        prop_assume!(!parts.is_empty());
        let cost = Cost::of(&link);
        let windows = window(parts[0].start)..=window(parts[parts.len() - 1].end - 1);
        let all = windows.start() * WINDOW..(windows.end() + 1) * WINDOW;
        let ranges = uncut(&ranges_for(&parts, &link).ranges);
        // Gaps that are always bridged may cost more than the request.
        let free = cost.bytes(512 * parts.len() as u64);
        let free = if link.ranges_per_request > 1 { 0.0 } else { free };
        let stream = cost.seconds(std::slice::from_ref(&all)) * 1.001;
        prop_assert!(cost.seconds(&ranges) <= stream + free);
    }

    #[test]
    fn the_costliest_choice_is_found(layout in layout(), gap in 0..300_000_u64, free in free()) {
        let (cost, parts) = (cost(free, gap), parts(&layout));
        let parts = &parts[..parts.len().min(10)];
        let of = |choice: u32| {
            let chosen = parts.iter().zip(0..).filter(|(_, bit)| choice >> bit & 1 == 1);
            let chosen: Vec<Part> = chosen.map(|(part, _)| *part).collect();
            let groups = chosen.chunk_by(|a, b| b.start - a.end <= free).count() as f64;
            let bytes = chosen.iter().map(|part| part.end - part.start).sum();
            groups * cost.per_range + cost.bytes(bytes)
        };
        let most = (0..1 << parts.len()).map(of).fold(0.0, f64::max);
        // Between two chunks that are apart, one that is left out may be so short that they
        // are not, and count as if they were.
        let found = cost.costliest(parts);
        prop_assert!(most <= found * 1.000_001, "{most} {found}");
        if free < layout.iter().map(|of| of.1).min().unwrap_or(0) {
            prop_assert!(found <= most * 1.000_001, "{most} {found}");
        }
    }

    #[test]
    fn more_ranges_in_a_request_never_make_the_gaps_longer(
        layout in layout(), link in links(), more in 2..100_usize,
    ) {
        let parts = parts(&layout);
        let with = |ranges_per_request| {
            let cost = Cost::of(&Link { ranges_per_request, ..link });
            [Bridge::None, Bridge::ThatPay].map(|which| length(&cost.merge(&parts, which)))
        };
        for (fewer, more) in with(more).into_iter().zip(with(more + 7)) {
            prop_assert!(more <= fewer);
        }
    }

    #[test]
    fn the_choice_tells_what_was_chosen(layout in layout(), link in links()) {
        let parts = parts(&layout);
        let Ranges { ranges: cut, choice } = ranges_for(&parts, &link);
        let ranges = uncut(&cut);
        let exact = Cost::of(&link).merge(&parts, Bridge::None);
        let along = length(&ranges) - length(&exact);
        match choice {
            Choice::Exact { ranges: n, requests } => {
                prop_assert_eq!((&exact, n), (&ranges, ranges.len()));
                let for_cuts = cut.len() - n;
                let requests = requests - for_cuts;
                prop_assert!(requests <= n && requests * link.ranges_per_request.max(1) >= n);
            }
            Choice::Bridged { ranges: n, gaps, .. } => {
                prop_assert_eq!((n, gaps), (ranges.len(), along));
                prop_assert!(1 < n && n < exact.len());
            }
            Choice::Stream { instead_of, gaps } => {
                prop_assert_eq!((instead_of, gaps, 1), (exact.len(), along, ranges.len()));
            }
        }
    }

    #[test]
    fn bridging_equals_trying_every_interval(layout in layout()) {
        let runs = cost(512, 0).merge(&parts(&layout), Bridge::None);
        let mut merged = Vec::new();
        bridge(&runs, &Crowded::These(HashSet::new()), &mut merged);
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
    assert_eq!(ranges_for(&parts, &link(100, 1e8, 1)).ranges.len(), 1);
    assert_eq!(ranges_for(&parts, &link(1, 1e6, 1)).ranges.len(), 2);
}

#[test]
fn where_one_request_asks_for_many_ranges_they_are_exact() {
    let layout: Vec<_> = (0..300).map(|i| (10_000 + i, 200_000, true)).collect();
    let parts = parts(&layout);
    let single = link(50, 1e7, 4);
    let several = Link { ranges_per_request: 64, ..single };
    let text = |link| ranges_for(&parts, link).choice.to_string();
    assert_eq!(text(&single), "one stream: 300 ranges would cost more than 3034850 bytes of gaps");
    assert_eq!(text(&several), "300 ranges in 5 requests: exact");
    let long = self::parts(&[(0, 1_500_000, true), (0, 1_500_000, true), (900_000, 9, true)]);
    assert_eq!(
        ranges_for(&long, &several).choice.to_string(),
        "2 ranges in 2 requests: exact",
        "one of which takes a request more"
    );
    let far = self::parts(&[(0, 500_000, true), (10_000, 9, true), (900_000, 9, true)]);
    assert_eq!(
        ranges_for(&far, &single).choice.to_string(),
        "2 ranges in 2 requests: with 10000 bytes of gaps that cost less"
    );
    assert_eq!(ranges_for(&far[..1], &single).choice.to_string(), "1 range in 1 request: exact");
}

#[test]
fn where_a_range_costs_a_whole_blob_there_is_one() {
    let far = parts(&[(0, 9000, true), (90 << 20, 9000, true), (90 << 20, 9000, true)]);
    // 200 MiB at 10 MB a second.
    let whole_only = link(21_000, 1e7, 1);
    assert_eq!(ranges_for(&far, &whole_only).ranges.len(), 1);
    assert_eq!(ranges_for(&far, &link(100, 1e7, 4)).ranges.len(), 3);
}

#[test]
fn nothing_missing_needs_no_range() {
    let Ranges { ranges, choice } = ranges_for(&[], &link(10, 1e6, 4));
    assert_eq!((&ranges[..], &*choice.to_string()), (&[][..], "nothing to fetch"));
}

#[test]
fn choices_one_after_the_other_add_up() {
    let nothing = Choice::Exact { ranges: 0, requests: 0 };
    let exact = Choice::Exact { ranges: 3, requests: 2 };
    let stream = Choice::Stream { instead_of: 9, gaps: 70 };
    assert_eq!([nothing.and(stream), stream.and(nothing)], [stream; 2]);
    assert_eq!(exact.and(exact), Choice::Exact { ranges: 6, requests: 4 });
    assert_eq!(stream.and(stream), Choice::Stream { instead_of: 18, gaps: 140 });
    let mixed = exact.and(stream);
    assert_eq!(mixed, Choice::Bridged { ranges: 4, requests: 3, gaps: 70 });
    assert_eq!(mixed.and(mixed), Choice::Bridged { ranges: 8, requests: 6, gaps: 140 });
}
