//! For each file of a layer, where its bytes would come from.

use std::fs::File;
use std::io;
use std::ops::Range;

use storage_core::Link;

use super::ranges::{parts_of, ranges_for};
use crate::{Candidate, DedupMap, Toc, TocFile};

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
    /// Only by sharing their extents; where the filesystem can't, all is fetched.
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
#[derive(Debug, Clone, Copy)]
pub struct Plan<'t> {
    pub(crate) toc: &'t Toc,
    pub(crate) map: &'t DedupMap,
    pub(crate) reuse: Reuse,
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
    /// Those of them that need the network.
    pub missing: Tally,
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
        Self { toc, map, reuse }
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
            if file.chunks().any(|chunk| !chunk.hole) {
                summary.missing.add(file);
            }
            for chunk in file.chunks() {
                if chunk.hole {
                    summary.holes += chunk.size;
                } else {
                    summary.compressed += chunk.end - chunk.offset;
                }
            }
        }
        summary
    }

    /// The byte ranges of the blob that would be fetched over `link`, if every
    /// candidate holds.
    pub fn missing(&self, link: &Link) -> Vec<Range<u64>> {
        let missing = self.toc.files().filter(|&file| self.candidates(file).next().is_none());
        ranges_for(&parts_of(self.toc, missing.map(|file| file.number())), link)
    }

    /// Local files that may be equal to `file`.
    pub(crate) fn candidates(&self, file: TocFile<'_>) -> impl Iterator<Item = &'t Candidate> {
        let places = self.map.whole_files(file.digest(), file.size());
        places.take(if self.reuse == Reuse::Never { 0 } else { usize::MAX })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use storage_core::{Digest, LayerPath};

    use super::*;
    use crate::Limits;

    /// Files with that many compressed bytes after a gap, each with a digest of its own.
    fn toc(layout: &[(u64, u64)]) -> Toc {
        let mut place = 0;
        let mut entries = Vec::new();
        for (i, (gap, length)) in layout.iter().enumerate() {
            let digest = Digest::of(&i.to_le_bytes());
            let (offset, end) = (place + gap, place + gap + length);
            place = end;
            entries.push(format!(
                r#"{{"type":"reg","name":"{i}","size":{length},"digest":"{digest}","offset":{offset},"endOffset":{end}}}"#
            ));
        }
        let json = format!(r#"{{"entries":[{}]}}"#, entries.join(","));
        Toc::read(json.as_bytes(), &Limits::default()).unwrap()
    }

    fn map<'a>(toc: &Toc, known: impl IntoIterator<Item = &'a (usize, u32)>) -> DedupMap {
        let mut map = DedupMap::new();
        for &(index, source) in known {
            let file = toc.file(index % toc.len()).unwrap();
            let (path, length) = (LayerPath::ROOT, file.size());
            map.add(file.digest(), Candidate { source, path, offset: 0, length });
        }
        map
    }

    fn fetched(toc: &Toc, map: &DedupMap) -> u64 {
        let link =
            Link { round_trip: Duration::from_millis(1), bytes_per_second: 1e8, parallel: 4 };
        let ranges = Plan::new(toc, map, Reuse::default()).missing(&link);
        ranges.iter().map(|range| range.end - range.start).sum()
    }

    proptest! {
        #[test]
        fn the_order_in_which_the_map_was_filled_does_not_matter(
            layout in proptest::collection::vec((0..5000_u64, 1..50_000_u64), 1..40),
            known in proptest::collection::vec((0..60_usize, 0..30_u32), 0..60),
        ) {
            let toc = toc(&layout);
            let (a, b) = (map(&toc, &known), map(&toc, known.iter().rev()));
            let plan = |map| Plan::new(&toc, map, Reuse::default()).summary();
            prop_assert_eq!(plan(&a), plan(&b));
            prop_assert_eq!(fetched(&toc, &a), fetched(&toc, &b));
            let summary = plan(&a);
            prop_assert_eq!(
                summary.content.bytes, summary.reused.bytes + summary.missing.bytes
            );
        }

        #[test]
        fn adding_to_the_map_never_makes_the_download_larger(
            layout in proptest::collection::vec((0..5000_u64, 1..50_000_u64), 1..40),
            known in proptest::collection::vec((0..60_usize, 0..3_u32), 0..60),
            fewer in 0..60_usize,
        ) {
            let toc = toc(&layout);
            let fewer = map(&toc, known.iter().take(fewer));
            prop_assert!(fetched(&toc, &map(&toc, &known)) <= fetched(&toc, &fewer));
        }
    }

    #[test]
    fn with_no_reuse_all_is_missing() {
        let toc = toc(&[(0, 10), (5, 20)]);
        let map = map(&toc, &[(0, 0), (1, 0)]);
        let summary = Plan::new(&toc, &map, Reuse::Never).summary();
        assert_eq!((summary.missing.bytes, summary.reused.files), (30, 0));
        assert_eq!(Plan::new(&toc, &map, Reuse::ReflinkOnly).summary().missing.bytes, 0);
    }
}
