//! Digests to local bytes.

use std::collections::{HashMap, HashSet};
use std::io::BufRead;

use storage_core::{ChunkDigest, LayerPath};

use crate::toc::EntryTexts;
use crate::{Toc, TocError};

/// Most places that are remembered for one digest: when this many have vanished
/// or changed, the network is the better bet.
const CANDIDATES: usize = 8;

/// The digests that a layer wants: those of its files, and of chunks of them.
#[derive(Debug, Clone, Default)]
pub struct Wanted(HashSet<ChunkDigest>);

impl Wanted {
    /// What `toc` wants.
    pub fn of(toc: &Toc) -> Self {
        let mut wanted = Self::default();
        wanted.extend(toc);
        wanted
    }

    /// Adds what `toc` wants: the other layers of one image.
    pub fn extend(&mut self, toc: &Toc) {
        self.0.extend(toc.files().map(|file| file.digest()));
    }

    /// Whether `digest` is wanted.
    pub fn contains(&self, digest: &ChunkDigest) -> bool {
        self.0.contains(digest)
    }

    /// How many digests are wanted.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is wanted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Bytes of a local file that may have a digest: a hint, never believed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Candidate {
    /// Which of the caller's sources; see [`Sources`](crate::Sources).
    pub source: u32,
    /// The file in that source.
    pub path: LayerPath,
    /// Where in the file the bytes start.
    pub offset: u64,
    /// How many there are.
    pub length: u64,
}

/// Where the content of digests may be found locally.
#[derive(Debug, Default)]
pub struct DedupMap {
    places: HashMap<ChunkDigest, Vec<Candidate>>,
}

impl DedupMap {
    /// A map that knows nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes one more place for `digest`.
    ///
    /// A few places are kept for each digest; more are dropped.
    pub fn add(&mut self, digest: ChunkDigest, candidate: Candidate) {
        let places = self.places.entry(digest).or_default();
        if places.len() < CANDIDATES && !places.contains(&candidate) {
            places.push(candidate);
        }
    }

    /// The places of `digest`, none if it is not known.
    pub fn get(&self, digest: &ChunkDigest) -> &[Candidate] {
        self.places.get(digest).map_or(&[], Vec::as_slice)
    }

    /// Those places of `digest` that begin a file and have `size` bytes.
    pub(crate) fn whole_files(
        &self,
        digest: ChunkDigest,
        size: u64,
    ) -> impl Iterator<Item = &Candidate> {
        let whole = move |place: &&Candidate| place.offset == 0 && place.length == size;
        self.get(&digest).iter().filter(whole)
    }
}

/// Notes in `map` where a local tree, of which `toc_json` is the TOC, has what is
/// wanted; `source` is the caller's number of the tree.
///
/// The TOC need not be trusted: it only gives hints.
///
/// # Errors
///
/// If the stream fails or is not the JSON of a TOC. What was found before stays
/// in `map`, and does no harm.
pub fn read_candidates(
    toc_json: impl BufRead,
    wanted: &Wanted,
    source: u32,
    map: &mut DedupMap,
) -> Result<(), TocError> {
    let mut texts = EntryTexts::new(toc_json);
    while texts.next(|entry| {
        if entry.kind != "reg" || entry.size == 0 {
            return Ok(());
        }
        let Ok(digest) = entry.digest.parse() else { return Ok(()) };
        if wanted.contains(&digest)
            && let Ok(path) = LayerPath::parse(entry.name.as_bytes())
        {
            map.add(digest, Candidate { source, path, offset: 0, length: entry.size });
        }
        Ok(())
    })? {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use storage_core::Digest;

    use super::*;

    fn digest(text: &str) -> ChunkDigest {
        Digest::of(text.as_bytes()).into()
    }

    #[test]
    fn only_files_that_are_wanted_are_kept() {
        let (a, b) = (digest("a"), digest("b"));
        let json = format!(
            r#"{{"entries":[{{"type":"reg","name":"./x/a","size":1,"digest":"{a}"}},
                {{"type":"reg","name":"b","size":1,"digest":"{b}"}},
                {{"type":"reg","name":"../a","size":1,"digest":"{a}"}},
                {{"type":"reg","name":"c","size":1,"digest":"md5:0"}},
                {{"type":"symlink","name":"l","digest":"{a}"}}]}}"#
        );
        let wanted = Wanted([a].into());
        let mut map = DedupMap::new();
        read_candidates(json.as_bytes(), &wanted, 7, &mut map).unwrap();
        let path = LayerPath::parse(b"x/a").unwrap();
        assert_eq!(map.get(&a), [Candidate { source: 7, path, offset: 0, length: 1 }]);
        assert_eq!(map.get(&b), []);
    }

    #[test]
    fn only_places_of_the_right_size_at_the_start_are_whole_files() {
        let mut map = DedupMap::new();
        for (offset, length) in [(0, 5), (1, 5), (0, 6)] {
            let path = LayerPath::ROOT;
            map.add(digest("a"), Candidate { source: 0, path, offset, length });
        }
        assert_eq!(map.whole_files(digest("a"), 5).count(), 1);
    }

    #[test]
    fn a_broken_toc_is_an_error_that_leaves_what_was_found() {
        let a = digest("a");
        let json = format!(r#"{{"entries":[{{"type":"reg","name":"a","size":1,"digest":"{a}"}},"#);
        let mut map = DedupMap::new();
        let outcome = read_candidates(json.as_bytes(), &Wanted([a].into()), 0, &mut map);
        assert!(matches!(outcome, Err(TocError::Syntax { .. })));
        assert_eq!(map.get(&a).len(), 1);
    }
}
