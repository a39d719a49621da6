//! For each file of a layer, where its bytes would come from.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::Range;

use storage_core::{ChunkDigest, Link, RangeSource};

use super::Missing;
use super::ranges::{Ranges, ranges_for, ranges_from};
use crate::{Candidate, DedupMap, Toc, TocFile};

/// Least uncompressed bytes for which a layer waits until another one is there, and of
/// how many of its bytes they have to be one: until then the proof waits, too.
const WORTH_WAITING: u64 = 256 << 10;
const PER_WAITING: u64 = 32;

/// Least length of what is worth being written to the disk at once, so that its extents can
/// be shared.
const WORTH_SHARING: u64 = 1 << 20;

/// Opens local files that a [`DedupMap`] names.
///
/// They may vanish or change at any moment, so a failure is never one of the
/// pull: the next candidate is tried, or the network.
pub trait Sources: Sync {
    /// Opens the candidate's file for reading, below the source it is in: never
    /// outside of it, and without following a last symbolic link.
    ///
    /// # Errors
    ///
    /// If it can't be opened, for whatever reason.
    fn open(&self, candidate: &Candidate) -> io::Result<File>;
}

/// How local files may be reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Reuse {
    /// Only from files whose extents can be shared; where the filesystem can't, all
    /// is fetched. Of chunks, parts of blocks are copied even so.
    ReflinkOnly,
    /// By sharing their extents, or else by copying.
    #[default]
    ReflinkOrCopy,
    /// By a hard link where content and all metadata are equal, else as above.
    ///
    /// Whoever writes to one of the names then writes to all of them.
    HardLink,
    /// Not at all.
    Never,
}

/// Where each byte of a layer would come from; pure, nothing was opened.
#[derive(Debug, Clone)]
pub struct Plan<'t> {
    pub(crate) toc: &'t Toc,
    pub(crate) map: &'t DedupMap,
    pub(crate) reuse: Reuse,
    in_flight: Range<u32>,
}

/// Some files, and their length together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// How many.
    pub files: u64,
    /// Uncompressed bytes.
    pub bytes: u64,
}

impl Tally {
    fn add(&mut self, file: TocFile<'_>) {
        self.files += 1;
        self.bytes += file.size();
    }
}

/// What one source would give to a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct FromSource {
    /// Whole files.
    pub files: Tally,
    /// Uncompressed bytes of chunks for other files.
    pub chunks: u64,
}

/// What a [`Plan`] amounts to, if every candidate holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct PlanSummary {
    /// Entries of the layer.
    pub entries: u64,
    /// Files that have content.
    pub content: Tally,
    /// Those of them that are taken whole from local files.
    pub reused: Tally,
    /// Uncompressed bytes of chunks that are taken from local files, for files
    /// that are not taken whole.
    pub reused_chunks: u64,
    /// Those of the files that need the network for themselves, and what they lack: with
    /// `reused`, `reused_chunks`, `repeated` and `holes` these are the bytes of `content`.
    pub missing: Tally,
    /// Uncompressed bytes of missing chunks that the layer has more than once: they
    /// are fetched for the first place and copied to the others, which are counted
    /// here and not in `missing`.
    pub repeated: u64,
    /// Uncompressed bytes of holes in files that are not reused.
    pub holes: u64,
    /// Compressed bytes of all missing chunks, without the gaps between them.
    pub compressed: u64,
    /// Bytes that were received already for TOC and tar-split.
    pub received: u64,
}

impl<'t> Plan<'t> {
    /// A plan to make the layer of `toc`, with what `map` knows.
    pub fn new(toc: &'t Toc, map: &'t DedupMap, reuse: Reuse) -> Self {
        Self { toc, map, reuse, in_flight: u32::MAX..u32::MAX }
    }

    /// The same where sources from number `sources.start` on are still being made, as
    /// this layer is: other layers of one image, in the order in which the map's [`Wanted`]
    /// has them. The layer is the one that comes after number `sources.end`, and takes from
    /// those before it; opening one of their files may wait until it is there.
    ///
    /// [`Wanted`]: crate::Wanted
    ///
    /// What waits for them comes last, and small files are copied from them: to share
    /// what is not on the disk yet would force it there. Where they promise little, it
    /// is fetched once more instead.
    #[must_use]
    pub fn with_in_flight(self, sources: Range<u32>) -> Self {
        let nobody = sources.start..sources.start;
        let plan = Self { in_flight: sources, ..self };
        let in_flight = if plan.is_worth_waiting() { plan.in_flight.clone() } else { nobody };
        Self { in_flight, ..plan }
    }

    /// What the plan amounts to.
    pub fn summary(&self) -> PlanSummary {
        let mut summary = PlanSummary {
            entries: self.toc.len() as u64,
            received: self.toc.received(),
            ..PlanSummary::default()
        };
        for file in self.toc.files() {
            summary.content.add(file);
            if self.candidates(file).next().is_some() {
                summary.reused.add(file);
                continue;
            }
            for (i, chunk) in (0..).zip(file.chunks()) {
                if chunk.hole {
                    summary.holes += chunk.size;
                } else if self.chunk_candidates(file, i).next().is_some() {
                    summary.reused_chunks += chunk.size;
                }
            }
        }
        let missing = self.missing();
        for part in &missing.parts {
            summary.missing.bytes += self.size_of(part.file, part.chunk);
            summary.compressed += part.end - part.start;
        }
        summary.missing.files = missing.parts.chunk_by(|a, b| a.file == b.file).count() as u64;
        let copies = missing.copies().iter();
        summary.repeated = copies.map(|copy| self.size_of(copy.file, copy.chunk)).sum();
        summary
    }

    fn size_of(&self, file: u32, chunk: u32) -> u64 {
        self.toc.file_number(file).chunk(chunk).size
    }

    /// What would come from each source, by its number: whole files, and bytes of
    /// chunks, if the likeliest candidate of each holds.
    pub fn by_source(&self) -> BTreeMap<u32, FromSource> {
        let mut sources: BTreeMap<u32, FromSource> = BTreeMap::new();
        for file in self.toc.files() {
            if let Some(candidate) = self.candidates(file).next() {
                sources.entry(candidate.source).or_default().files.add(file);
                continue;
            }
            for (i, chunk) in (0..).zip(file.chunks()).filter(|(_, chunk)| !chunk.hole) {
                if let Some(candidate) = self.chunk_candidates(file, i).next() {
                    sources.entry(candidate.source).or_default().chunks += chunk.size;
                }
            }
        }
        sources
    }

    /// The byte ranges of the blob that would be fetched over `link`, if every
    /// candidate holds.
    pub fn ranges(&self, link: &Link) -> Ranges {
        ranges_for(&self.missing().parts, link)
    }

    /// The same for `blob`, as a pull would ask for them.
    ///
    /// Where they are many, this may ask for a few bytes to find out what the blob's
    /// host can do.
    pub fn ranges_from(&self, blob: &dyn RangeSource) -> Ranges {
        ranges_from(blob, &self.missing().parts)
    }

    /// Chunks that no candidate could give, whatever becomes of them.
    pub(crate) fn missing(&self) -> Missing {
        let hopeless = self.toc.files().filter(|&file| self.candidates(file).next().is_none());
        let chunks = hopeless.flat_map(|file| {
            let lacks = move |i: &u32| {
                !file.chunk(*i).hole && self.chunk_candidates(file, *i).next().is_none()
            };
            (0..file.chunk_count()).filter(lacks).map(move |i| (file.number(), i))
        });
        Missing::of(self.toc, self.map.wanted(), chunks)
    }

    /// Whether the candidate is in a layer that is being made.
    pub(crate) fn is_in_flight(&self, candidate: &Candidate) -> bool {
        candidate.source >= self.in_flight.start
    }

    /// Whether the file, or a chunk of it, can be had only from a layer that is being
    /// made.
    pub(crate) fn waits(&self, file: TocFile<'_>) -> bool {
        if self.in_flight.is_empty() {
            return false;
        }
        if self.candidates(file).next().is_some() {
            return self.are_in_flight(self.candidates(file));
        }
        (0..file.chunk_count()).any(|i| self.chunk_waits(file, i))
    }

    fn chunk_waits(&self, file: TocFile<'_>, i: u32) -> bool {
        self.are_in_flight(self.chunk_candidates(file, i))
    }

    /// Whether there are candidates, and all are in layers that are being made.
    fn are_in_flight(&self, candidates: impl Iterator<Item = Candidate>) -> bool {
        let mut candidates = candidates.peekable();
        candidates.peek().is_some() && candidates.all(|candidate| self.is_in_flight(&candidate))
    }

    /// Whether layers that are being made promise enough.
    ///
    /// What others have, too, counts: if it did not, then to know of more places could mean to
    /// fetch more.
    fn is_worth_waiting(&self) -> bool {
        let wanted = self.map.wanted();
        let number = self.in_flight.end - self.in_flight.start;
        let is_promised = |digest: ChunkDigest| wanted.is_of_layer_before(number, &digest);
        let (mut promised, mut content) = (0, 0);
        for file in self.toc.files() {
            content += file.size();
            if is_promised(file.digest()) {
                promised += file.size();
                continue;
            }
            let chunks = file.chunks().filter(|chunk| !chunk.hole);
            let chunks = chunks.filter(|chunk| chunk.digest.is_some_and(is_promised));
            promised += chunks.map(|chunk| chunk.size).sum::<u64>();
        }
        promised >= WORTH_WAITING && promised >= content / PER_WAITING
    }

    /// Local files that may be equal to `file`.
    pub(crate) fn candidates(&self, file: TocFile<'_>) -> impl Iterator<Item = Candidate> {
        self.usable(self.map.whole_files(file.digest(), file.size()))
    }

    /// Places that may have the content of chunk number `i` of `file`.
    pub(crate) fn chunk_candidates(
        &self,
        file: TocFile<'_>,
        i: u32,
    ) -> impl Iterator<Item = Candidate> {
        let (map, size) = (self.map, file.chunk(i).size);
        let digest = file.chunk_digest(i);
        self.usable(digest.into_iter().flat_map(move |digest| map.chunks(digest, size)))
    }

    /// The candidates of chunk number `i` of `file`: first what goes on with what was taken
    /// last, then what can be shared in blocks of so many bytes, then the others; the likeliest
    /// first among equals.
    pub(crate) fn ranked(
        &self,
        file: TocFile<'_>,
        i: u32,
        block: u64,
        goes_on: impl Fn(&Candidate) -> bool,
    ) -> Vec<Candidate> {
        let to = file.chunk(i).file_offset;
        let mut candidates: Vec<_> = self.chunk_candidates(file, i).collect();
        candidates.sort_by_key(|candidate| {
            let waits = self.is_in_flight(candidate);
            (waits, !goes_on(candidate), candidate.offset % block != to % block)
        });
        candidates
    }

    /// Whether a candidate is better copied than shared, if it may be: a file of so many bytes
    /// in whole, or with 0 a chunk of one.
    pub(crate) fn prefers_copy(&self, candidate: &Candidate, whole_file: u64) -> bool {
        let early = whole_file < WORTH_SHARING && self.is_in_flight(candidate);
        early && self.reuse != Reuse::ReflinkOnly
    }

    fn usable(
        &self,
        candidates: impl Iterator<Item = Candidate>,
    ) -> impl Iterator<Item = Candidate> {
        let before = if self.reuse == Reuse::Never { 0 } else { self.in_flight.end };
        candidates.filter(move |candidate| candidate.source < before)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use storage_core::{Digest, LayerPath};

    use super::*;
    use crate::{Limits, Wanted};

    /// Files of as many chunks as they have compressed lengths, after a gap; every
    /// chunk and file has a digest of its own, and every seventh chunk is a hole.
    fn toc(layout: &[(u64, Vec<u64>)]) -> Toc {
        let (mut place, mut number) = (0_u64, 0_u64);
        let mut entries = Vec::new();
        for (i, (gap, lengths)) in layout.iter().enumerate() {
            let size: u64 = lengths.iter().sum();
            let digest = Digest::of(format!("file {i}").as_bytes());
            place += gap;
            let end = place + size;
            let mut fields =
                format!(r#""type":"reg","size":{size},"digest":"{digest}","endOffset":{end}"#);
            let mut at = 0;
            for length in lengths {
                number += 1;
                let chunk = Digest::of(&number.to_le_bytes());
                let of_several = if lengths.len() == 1 {
                    String::new()
                } else {
                    let kind = if number % 7 == 0 { "zeros" } else { "" };
                    format!(
                        r#","chunkSize":{length},"chunkOffset":{at},"chunkDigest":"{chunk}","chunkType":"{kind}""#
                    )
                };
                entries.push(format!(r#"{{{fields},"name":"{i}","offset":{place}{of_several}}}"#));
                fields = r#""type":"chunk""#.into();
                (place, at) = (place + length, at + length);
            }
        }
        let json = format!(r#"{{"entries":[{}]}}"#, entries.join(","));
        Toc::read(json.as_bytes(), &Limits::default()).unwrap()
    }

    /// The number of a source that is being made; those of others are lower.
    const IN_FLIGHT: u32 = 30;

    fn map(toc: &Toc, known: &[(usize, usize, u32)]) -> DedupMap {
        let mut map = DedupMap::new(Wanted::of(toc));
        add_known(&mut map, toc, known);
        map
    }

    /// Makes some files known, and some chunks, each at some place.
    fn add_known(map: &mut DedupMap, toc: &Toc, known: &[(usize, usize, u32)]) {
        for &(index, chunk, source) in known {
            let file = toc.file(index % toc.len()).unwrap();
            let chunks: Vec<_> = file.chunks().collect();
            let (digest, length, offset) = match chunks.get(chunk) {
                Some(chunk) => {
                    (chunk.digest.unwrap_or(file.digest()), chunk.size, u64::from(source % 3))
                }
                None => (file.digest(), file.size(), 0),
            };
            map.add(digest, &Candidate { source, path: LayerPath::ROOT, offset, length });
        }
    }

    fn fetched(plan: &Plan<'_>, link: &Link) -> u64 {
        plan.ranges(link).ranges.iter().map(|range| range.end - range.start).sum()
    }

    prop_compose! {
        fn links()(
            micros in 0..200_000_u64, bytes_per_second in 1e4..1e9,
            parallel in 1..16_usize, ranges_per_request in prop_oneof![Just(1), 0..100_usize],
        ) -> Link {
            let round_trip = Duration::from_micros(micros);
            Link { round_trip, bytes_per_second, parallel, ranges_per_request }
        }
    }

    prop_compose! {
        fn layout()(layout in proptest::collection::vec(
            (0..5000_u64, proptest::collection::vec(1..50_000_u64, 1..6)), 1..25,
        )) -> Vec<(u64, Vec<u64>)> {
            layout
        }
    }

    prop_compose! {
        fn known()(known in proptest::collection::vec(
            (0..60_usize, 0..8_usize, 0..30_u32), 0..80,
        )) -> Vec<(usize, usize, u32)> {
            known
        }
    }

    proptest! {
        #[test]
        fn the_order_in_which_the_map_was_filled_does_not_matter(
            (known, shuffled) in known().prop_flat_map(|known| (Just(known.clone()), Just(known).prop_shuffle())),
            layout in layout(), link in links(),
        ) {
            let toc = toc(&layout);
            let (a, b) = (map(&toc, &known), map(&toc, &shuffled));
            for file in toc.files() {
                for (i, chunk) in (0..).zip(file.chunks()) {
                    let [a, b] = [&a, &b].map(|map| {
                        let plan = Plan::new(&toc, map, Reuse::default());
                        let whole = plan.candidates(file).collect::<Vec<_>>();
                        (whole, plan.chunk_candidates(file, i).collect::<Vec<_>>())
                    });
                    prop_assert_eq!(a, b, "chunk {} of {}", chunk.file_offset, file.path());
                }
            }
            let [a, b] = [&a, &b].map(|map| Plan::new(&toc, map, Reuse::default()));
            prop_assert_eq!(a.summary(), b.summary());
            prop_assert_eq!(fetched(&a, &link), fetched(&b, &link));
        }

        #[test]
        fn a_plan_tiles_every_file_and_ranges_cover_what_is_missing(
            layout in layout(), known in known(), link in links(),
        ) {
            let toc = toc(&layout);
            let map = map(&toc, &known);
            let plan = Plan::new(&toc, &map, Reuse::default());
            let (ranges, sum) = (plan.ranges(&link).ranges, plan.summary());
            let given = plan.by_source();
            let sum_of = |of: fn(&FromSource) -> u64| given.values().map(of).sum::<u64>();
            prop_assert_eq!(sum_of(|source| source.files.bytes), sum.reused.bytes);
            prop_assert_eq!(sum_of(|source| source.chunks), sum.reused_chunks);
            prop_assert_eq!(
                sum.content.bytes,
                sum.reused.bytes + sum.reused_chunks + sum.holes + sum.missing.bytes
            );
            let mut compressed = 0;
            for file in toc.files().filter(|&file| plan.candidates(file).next().is_none()) {
                for (i, chunk) in (0..).zip(file.chunks()) {
                    if chunk.hole || plan.chunk_candidates(file, i).next().is_some() {
                        continue;
                    }
                    compressed += chunk.end - chunk.offset;
                    let holding = ranges.iter().filter(|range| {
                        range.start <= chunk.offset && chunk.end <= range.end
                    });
                    prop_assert_eq!(holding.count(), 1);
                }
            }
            prop_assert_eq!(sum.compressed, compressed);
        }

        #[test]
        fn adding_to_the_map_never_makes_the_download_larger(
            layout in layout(), below in 0..25_usize, known in known(),
            fewer in 0..80_usize, link in links(),
        ) {
            let (toc, below) = (toc(&layout), toc(&layout[..below.min(layout.len())]));
            let known = [&known[..], &known[..fewer.min(known.len())]];
            let [all, fewer] = known.map(|known| {
                let mut map = DedupMap::new(Wanted::from_iter([&below, &toc]));
                add_known(&mut map, &toc, known);
                map.expect(&below, 0, IN_FLIGHT);
                map
            });
            let [all, fewer] = [&all, &fewer].map(|map| Plan::new(&toc, map, Reuse::default()));
            let [all, fewer] = [all, fewer].map(|plan| [
                plan.clone().with_in_flight(IN_FLIGHT..IN_FLIGHT),
                plan.with_in_flight(IN_FLIGHT..IN_FLIGHT + 1),
            ]);
            for (all, fewer) in all.iter().zip(&fewer) {
                prop_assert!(fetched(all, &link) <= fetched(fewer, &link));
                prop_assert!(all.summary().compressed <= fewer.summary().compressed);
            }
        }
    }

    #[test]
    fn a_layer_waits_for_others_only_where_they_have_much_that_is_nowhere_else() {
        let waits = |lacking: u64, below: &[Vec<u64>], known: &[(usize, usize, u32)]| {
            let layer = |files: &[Vec<u64>]| {
                toc(&files.iter().map(|file| (0, file.clone())).collect::<Vec<_>>())
            };
            let (below, toc) = (layer(below), layer(&[vec![WORTH_WAITING], vec![lacking]]));
            let mut map = DedupMap::new(Wanted::from_iter([&below, &toc]));
            add_known(&mut map, &toc, known);
            map.expect(&below, 0, IN_FLIGHT);
            let plan = Plan::new(&toc, &map, Reuse::default());
            let plan = plan.with_in_flight(IN_FLIGHT..IN_FLIGHT + 1);
            let file = toc.file(0).unwrap();
            (plan.waits(file), plan.missing().parts.len())
        };
        let (most, in_flight) = (WORTH_WAITING * PER_WAITING, &[vec![WORTH_WAITING]]);
        assert_eq!(waits(WORTH_WAITING, in_flight, &[]), (true, 1));
        assert_eq!(waits(WORTH_WAITING, in_flight, &[(0, 9, 1)]), (false, 1));
        assert_eq!(waits(most, in_flight, &[]), (false, 2));
        assert_eq!(waits(WORTH_WAITING, &[vec![WORTH_WAITING - 1]], &[]), (false, 2));
        // Who is not below this layer has nothing for it.
        assert_eq!(waits(WORTH_WAITING, &[], &[(0, 9, IN_FLIGHT + 1)]), (false, 2));
    }

    #[test]
    fn with_no_reuse_all_is_missing() {
        let toc = toc(&[(0, vec![10]), (5, vec![20, 10])]);
        let map = map(&toc, &[(0, 9, 0), (1, 1, 0)]);
        let summary = Plan::new(&toc, &map, Reuse::Never).summary();
        assert_eq!((summary.missing.bytes, summary.reused.files), (40, 0));
        let summary = Plan::new(&toc, &map, Reuse::ReflinkOnly).summary();
        assert_eq!((summary.missing, summary.reused_chunks), (Tally { files: 1, bytes: 20 }, 10));
    }
}
