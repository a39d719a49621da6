//! What to ask the network for.
//!
//! Chunks that are missing leave gaps between them, of what is not needed. A gap
//! may be fetched along with its neighbours, which saves a range. What a range costs
//! is up to the host: a request of its own, or, where one request may ask for several
//! ranges, its part of the round trip and a header between the parts of the answer.
//! Three rules decide:
//!
//! - a gap shorter than the headers that it saves is always fetched;
//! - a gap is never fetched where that takes longer than the range it saves;
//! - between those two, gaps are fetched only where they are few: wherever a
//!   stretch of the blob consists of gaps by less than one part in 24.
//!
//! The last rule costs time and saves bytes: on a real update, gaps of 16 KiB
//! made the download 60 % larger. It yields where it could make the pull slower
//! than a stream: in each [`WINDOW`] of the blob that pieces of what is missing may
//! take longer to fetch than the whole window. Where a request asks for 64 ranges, a range
//! costs so little that hardly any gap is worth fetching.
//!
//! No link counts as faster than [`FASTEST`]. Beyond it bytes cost more than their
//! time (others share the line, and somebody pays for it), and what a few requests
//! measured is too coarse: on a busy machine a registry next door once looked so
//! far and so fast that 172 MB were streamed for the sake of 17.
//!
//! Needing less never means fetching more: what is bridged for a part of the chunks is
//! bridged for all of them, too. That is why windows stand where they stand, whatever is
//! missing, and why one is judged by the costliest choice among the chunks that are missing
//! in it, and not by their number of ranges, which may fall when a chunk is added.
//!
//! Where several ranges come side by side, long ones are cut, so that what comes at one
//! time belongs together: files are then whole about in the order of the tar, and can be
//! proved from memory, beside the fetch. Of two halves of a layer, side by side, the
//! second one would have to wait on the disk until all of the first is there.

mod round;

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;

use storage_core::{Link, RangeSource};

use crate::{Chunk, TocFile};

pub(crate) use round::next_round;

/// About what a request for one range takes in headers, both ways.
const REQUEST_HEADERS: u64 = 512;

/// About what stands before each part of an answer with several ranges. Servers may
/// merge ranges that are closer to each other.
const PART_HEADER: u64 = 100;

/// Bytes a second; 200 Mbit/s.
const FASTEST: f64 = 25e6;

/// Of how many bytes one may be wasted. A byte may count for two overlapping
/// stretches, so that the waste is at most twice this part in all.
const PER_WASTED: i128 = 24;

/// Longest range, in bytes, where several come side by side; single chunks may be longer.
const LONGEST: u64 = 2 << 20;

/// Bytes of the blob that are judged together, from multiples of this on: far more than a
/// gap that pays, far less than a blob, which may be dense in one place only.
const WINDOW: u64 = 8 << 20;

/// Requests that are worth another one, if it may make them fewer.
const MANY: usize = 8;

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

/// What to ask for, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ranges {
    /// Ascending; each missing chunk is inside exactly one.
    pub ranges: Vec<Range<u64>>,
    /// The reason that they are these.
    pub choice: Choice,
}

/// Why some ranges are asked for and no others; its text is for reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Choice {
    /// Nothing but what is missing, save gaps that are shorter than headers.
    Exact {
        /// How many ranges.
        ranges: usize,
        /// Requests for them, if none fails and each asks for as many as it may; a long
        /// range takes several.
        requests: usize,
    },
    /// Some gaps are fetched along, because ranges around them would cost more.
    Bridged {
        /// How many ranges.
        ranges: usize,
        /// Requests for them, as above.
        requests: usize,
        /// Bytes of the gaps that are fetched along.
        gaps: u64,
    },
    /// One range over everything that is missing, because pieces would cost more.
    Stream {
        /// How many ranges it replaces.
        instead_of: usize,
        /// Bytes of the gaps between those.
        gaps: u64,
    },
}

impl Choice {
    /// This, and then another one, of the same blob.
    pub(crate) fn and(self, next: Self) -> Self {
        match (self, next) {
            (Self::Exact { ranges: 0, .. }, other) | (other, Self::Exact { ranges: 0, .. }) => {
                other
            }
            (
                Self::Exact { ranges, requests },
                Self::Exact { ranges: more, requests: more_requests },
            ) => Self::Exact { ranges: ranges + more, requests: requests + more_requests },
            (
                Self::Stream { instead_of, gaps },
                Self::Stream { instead_of: more, gaps: more_gaps },
            ) => Self::Stream { instead_of: instead_of + more, gaps: gaps + more_gaps },
            (a, b) => {
                let ([ranges, requests], [more, more_requests]) = (a.asked(), b.asked());
                let (ranges, requests) = (ranges + more, requests + more_requests);
                Self::Bridged { ranges, requests, gaps: a.gaps() + b.gaps() }
            }
        }
    }

    /// How many ranges, and requests for them.
    fn asked(&self) -> [usize; 2] {
        match *self {
            Self::Exact { ranges, requests } | Self::Bridged { ranges, requests, .. } => {
                [ranges, requests]
            }
            Self::Stream { .. } => [1, 1],
        }
    }

    fn gaps(&self) -> u64 {
        match *self {
            Self::Exact { .. } => 0,
            Self::Bridged { gaps, .. } | Self::Stream { gaps, .. } => gaps,
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counted = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
        match *self {
            Self::Exact { ranges: 0, .. } => f.write_str("nothing to fetch"),
            Self::Exact { ranges, requests } => {
                let (ranges, requests) = (counted(ranges, "range"), counted(requests, "request"));
                write!(f, "{ranges} in {requests}: exact")
            }
            Self::Bridged { ranges, requests, gaps } => {
                let (ranges, requests) = (counted(ranges, "range"), counted(requests, "request"));
                write!(f, "{ranges} in {requests}: with {gaps} bytes of gaps that cost less")
            }
            Self::Stream { instead_of, gaps } => {
                write!(
                    f,
                    "one stream: {instead_of} ranges would cost more than {gaps} bytes of gaps"
                )
            }
        }
    }
}

/// Ranges that cover all parts, which are ascending.
pub(crate) fn ranges_for(parts: &[Part], link: &Link) -> Ranges {
    let cost = Cost::of(link);
    let exact = cost.merge(parts, Bridge::None);
    let uncut = cost.merge(parts, Bridge::ThatPay);
    let (count, gaps) = (uncut.len(), length(&uncut) - length(&exact));
    let ranges = if link.parallel > 1 && count > 1 { cut(&uncut, parts) } else { uncut };
    let requests = requests(count, link) + ranges.len() - count;
    let choice = match count {
        n if n == exact.len() => Choice::Exact { ranges: n, requests },
        1 => Choice::Stream { instead_of: exact.len(), gaps },
        n => Choice::Bridged { ranges: n, requests, gaps },
    };
    Ranges { ranges, choice }
}

/// Requests for so many ranges.
fn requests(ranges: usize, link: &Link) -> usize {
    ranges.div_ceil(link.ranges_per_request.max(1))
}

/// Cuts ranges before parts that would make them longer than [`LONGEST`].
fn cut(ranges: &[Range<u64>], parts: &[Part]) -> Vec<Range<u64>> {
    let (mut cut, mut parts) = (Vec::new(), parts.iter().peekable());
    for range in ranges {
        let mut start = range.start;
        while let Some(part) = parts.next_if(|part| part.end <= range.end) {
            if part.end - start > LONGEST && part.start > start {
                cut.push(start..part.start);
                start = part.start;
            }
        }
        cut.push(start..range.end);
    }
    cut
}

/// Ranges of `blob` that cover all parts, which are ascending.
pub(crate) fn ranges_from(blob: &dyn RangeSource, parts: &[Part]) -> Ranges {
    ranges_for(parts, &link_to(blob, parts))
}

/// The way to `blob`. Where many ranges are wanted of it, it is found out first what its host
/// can do.
fn link_to(blob: &dyn RangeSource, parts: &[Part]) -> Link {
    let link = blob.link();
    match ranges_for(parts, &link).choice {
        Choice::Exact { ranges, .. } if requests(ranges, &link) < MANY => link,
        _ => blob.link_for_many(),
    }
}

/// The number of the window that has a byte of the blob.
fn window(at: u64) -> u64 {
    at / WINDOW
}

fn length(ranges: &[Range<u64>]) -> u64 {
    ranges.iter().map(|range| range.end - range.start).sum()
}

/// What a [`Link`] makes of ranges and bytes.
#[derive(Debug, Clone, Copy)]
struct Cost {
    /// Gaps up to this are no longer than the headers they save.
    free: u64,
    /// Longest gap that is quicker to fetch than to ask around.
    gap: u64,
    /// Seconds for a range, whatever its length.
    per_range: f64,
    per_byte: f64,
}

/// Which of the gaps are fetched that are neither free nor too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bridge {
    None,
    /// Where they are few, and where there are so many that a stream is quicker.
    ThatPay,
}

/// Windows in which all gaps are fetched that are not too long.
enum Crowded {
    /// Even those in which nothing is missing: a range costs more than a window, as where a
    /// host gives whole blobs only.
    All,
    /// Those of these numbers.
    These(HashSet<u64>),
}

impl Crowded {
    /// Whether a gap, which is never empty, touches no other windows.
    fn has_all_of(&self, gap: Range<u64>) -> bool {
        match self {
            Self::All => true,
            Self::These(windows) => {
                (window(gap.start)..=window(gap.end - 1)).all(|window| windows.contains(&window))
            }
        }
    }
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
        // The headers of a request are part of the round trip.
        let (free, per_range) = match link.ranges_per_request {
            0 | 1 => (REQUEST_HEADERS, per_request),
            n => (PART_HEADER, per_request / n as f64 + PART_HEADER as f64 * per_byte),
        };
        Self { free, gap: (per_range / per_byte) as u64, per_range, per_byte }
    }

    /// Windows that pieces may take longer to fetch than all of it.
    fn crowded(&self, parts: &[Part]) -> Crowded {
        let whole = self.bytes(WINDOW);
        if self.per_range > whole {
            return Crowded::All;
        }
        let windows = parts.chunk_by(|a, b| window(a.start) == window(b.start));
        let crowded = windows.filter(|parts| self.costliest(parts) > whole);
        Crowded::These(crowded.map(|parts| window(parts[0].start)).collect())
    }

    /// Seconds for those of the parts that cost most, were only they to be fetched.
    fn costliest(&self, parts: &[Part]) -> f64 {
        // With the part that came last, and without.
        let (mut with, mut without, mut end) = (0.0, 0.0, None);
        for part in parts {
            let continued = end.is_some_and(|end| part.start - end <= self.free);
            let go_on = with + if continued { 0.0 } else { self.per_range };
            let begin = without + self.per_range;
            let bytes = self.bytes(part.end - part.start);
            (with, without) = (f64::max(go_on, begin) + bytes, f64::max(with, without));
            end = Some(part.end);
        }
        f64::max(with, without)
    }

    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    fn seconds(&self, ranges: &[Range<u64>]) -> f64 {
        ranges.len() as f64 * self.per_range + self.bytes(length(ranges))
    }

    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    fn bytes(&self, count: u64) -> f64 {
        count as f64 * self.per_byte
    }

    /// Merges parts over gaps that are free, and over some of those that pay.
    fn merge(&self, parts: &[Part], which: Bridge) -> Vec<Range<u64>> {
        let mut runs: Vec<Range<u64>> = Vec::new();
        for part in parts {
            match runs.last_mut() {
                Some(last) if part.start - last.end <= self.free => last.end = part.end,
                _ => runs.push(part.start..part.end),
            }
        }
        let crowded = match which {
            Bridge::None => Crowded::These(HashSet::new()),
            Bridge::ThatPay => self.crowded(parts),
        };
        let mut merged = Vec::new();
        for stretch in runs.chunk_by(|a, b| b.start - a.end <= self.gap) {
            match which {
                Bridge::None => merged.extend_from_slice(stretch),
                Bridge::ThatPay => bridge(stretch, &crowded, &mut merged),
            }
        }
        merged
    }
}

/// Bridges each gap that lies in crowded windows only, or in some interval, from the start of a run to the
/// end of another, of which at most one byte in [`PER_WASTED`] + 1 is gap.
///
/// With `waste` and `kept` summed from the left, the interval from run i to run j
/// is such a one if `24·waste(j) - kept(j, inclusive) <= 24·waste(i) - kept(i)`.
/// So the gap before run k is bridged if the least left side from k on is at most
/// the greatest right side before k.
fn bridge(runs: &[Range<u64>], crowded: &Crowded, merged: &mut Vec<Range<u64>>) {
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
            Some(last)
                if i > 0
                    && (ends[i] <= greatest_start || crowded.has_all_of(last.end..run.start)) =>
            {
                last.end = run.end;
            }
            _ => merged.push(run.clone()),
        }
        greatest_start = greatest_start.max(starts[i]);
    }
}

#[cfg(test)]
mod tests;
