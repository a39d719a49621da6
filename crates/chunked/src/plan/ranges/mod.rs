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
//! made the download 60 % larger. It yields where it would make the pull slower
//! than one stream over everything. Where a request asks for 64 ranges, a range costs
//! so little that hardly any gap is worth fetching.
//!
//! No link counts as faster than [`FASTEST`]. Beyond it bytes cost more than their
//! time (others share the line, and somebody pays for it), and what a few requests
//! measured is too coarse: on a busy machine a registry next door once looked so
//! far and so fast that 172 MB were streamed for the sake of 17.
//!
//! Under each rule, needing less never means fetching more: what is bridged for
//! a part of the chunks is bridged for all of them, too.
//!
//! Where several ranges come side by side, long ones are cut, so that what comes at one
//! time belongs together: files are then whole about in the order of the tar, and can be
//! proved from memory, beside the fetch. Of two halves of a layer, side by side, the
//! second one would have to wait on the disk until all of the first is there.

use std::fmt;
use std::ops::Range;

use storage_core::{Link, RangeSource};

use crate::{Chunk, TocFile};

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
    /// One range over everything that is missing, because pieces would be slower.
    Stream {
        /// How many ranges it replaces.
        instead_of: usize,
        /// Bytes of the gaps between those.
        gaps: u64,
    },
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
    let uncut = cheapest(parts, &cost);
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
///
/// Where they are many, it is found out first what the blob's host can do.
pub(crate) fn ranges_from(blob: &dyn RangeSource, parts: &[Part]) -> Ranges {
    let link = blob.link();
    let ranges = ranges_for(parts, &link);
    match ranges.choice {
        Choice::Exact { ranges: n, .. } if requests(n, &link) < MANY => ranges,
        _ => ranges_for(parts, &blob.link_for_many()),
    }
}

fn cheapest(parts: &[Part], cost: &Cost) -> Vec<Range<u64>> {
    let frugal = cost.merge(parts, Bridge::Few);
    let (Some(first), Some(last)) = (parts.first(), parts.last()) else { return frugal };
    let stream = first.start..last.end;
    if cost.seconds(&frugal) <= cost.seconds(std::slice::from_ref(&stream)) {
        return frugal;
    }
    cost.merge(parts, Bridge::All)
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
    /// Where they are few.
    Few,
    All,
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

    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    fn seconds(&self, ranges: &[Range<u64>]) -> f64 {
        ranges.len() as f64 * self.per_range + length(ranges) as f64 * self.per_byte
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
        let mut merged = Vec::new();
        for stretch in runs.chunk_by(|a, b| b.start - a.end <= self.gap) {
            match which {
                Bridge::None => merged.extend_from_slice(stretch),
                Bridge::Few => bridge(stretch, &mut merged),
                Bridge::All => merged.push(stretch[0].start..stretch[stretch.len() - 1].end),
            }
        }
        merged
    }
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
mod tests;
