//! Digests to local bytes.

use std::collections::HashMap;
use std::io::BufRead;

use storage_core::{ChunkDigest, LayerPath};

use crate::toc::{EntryText, EntryTexts};
use crate::{Toc, TocError};

/// Most places that are remembered for one digest at the start of a file, and as
/// many elsewhere: when these have vanished or changed, the network is the better
/// bet.
const CANDIDATES: usize = 4;

/// The digests that a layer wants: those of its files, and of chunks of them.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// With the length of the content; a TOC that gives one digest two lengths
    /// lies about one of them.
    lengths: HashMap<ChunkDigest, u64>,
}

impl Wanted {
    /// What `toc` wants.
    pub fn of(toc: &Toc) -> Self {
        let mut wanted = Self::default();
        wanted.extend(toc);
        wanted
    }

    /// Adds what `toc` wants: the other layers of one image.
    pub fn extend(&mut self, toc: &Toc) {
        for file in toc.files() {
            self.add(file.digest(), file.size());
            // A hole has no content that could be found.
            for chunk in file.chunks().filter(|chunk| !chunk.hole) {
                if let Some(digest) = chunk.digest {
                    self.add(digest, chunk.size);
                }
            }
        }
    }

    fn add(&mut self, digest: ChunkDigest, length: u64) {
        // The smaller one, so that it does not matter which came first.
        let known = self.lengths.entry(digest).or_insert(length);
        *known = length.min(*known);
    }

    /// Whether content of `digest` and of this length is wanted.
    fn fits(&self, digest: &ChunkDigest, length: u64) -> bool {
        self.lengths.get(digest) == Some(&length)
    }

    /// Whether `digest` is wanted.
    pub fn contains(&self, digest: &ChunkDigest) -> bool {
        self.lengths.contains_key(digest)
    }

    /// How many digests are wanted.
    pub fn len(&self) -> usize {
        self.lengths.len()
    }

    /// Whether nothing is wanted.
    pub fn is_empty(&self) -> bool {
        self.lengths.is_empty()
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
    /// A few places are kept for each digest, those of the lowest sources; which
    /// ones does not depend on the order in which they come.
    pub fn add(&mut self, digest: ChunkDigest, candidate: Candidate) {
        // Most digests have one place.
        let places = self.places.entry(digest).or_insert_with(|| Vec::with_capacity(1));
        // Only what begins a file can be a whole one, so neither kind crowds out
        // the other.
        let kind = |place: &Candidate| place.offset > 0;
        let key = |place: &Candidate| (kind(place), place.source);
        let rank = |place: &Candidate| {
            key(place).cmp(&key(&candidate)).then_with(|| place.cmp(&candidate))
        };
        let Err(at) = places.binary_search_by(rank) else { return };
        let (is_inside, starts) = (kind(&candidate), places.partition_point(|p| !kind(p)));
        let (first, last) = if is_inside { (starts, places.len()) } else { (0, starts) };
        if last - first < CANDIDATES {
            places.insert(at, candidate);
        } else if at < last {
            places[at..last].rotate_right(1);
            places[at] = candidate;
        }
    }

    /// The places of `digest`, the likeliest first; none if it is not known.
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

    /// Those places of `digest` that have `size` bytes, wherever in a file.
    pub(crate) fn chunks(
        &self,
        digest: ChunkDigest,
        size: u64,
    ) -> impl Iterator<Item = &Candidate> {
        let fits = move |place: &&Candidate| {
            place.length == size && place.offset.checked_add(size).is_some()
        };
        self.get(&digest).iter().filter(fits)
    }
}

/// Notes in `map` where a local tree, of which `toc_json` is the TOC, has what is
/// wanted: whole files, and chunks of files that have several. `source` is the
/// caller's number of the tree.
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
    // Length of the file that the next chunks belong to.
    let mut size = 0;
    let mut add = |entry: &EntryText<'_>, digest: &str, offset: u64, length: u64| {
        if let Ok(digest) = digest.parse()
            && wanted.fits(&digest, length)
            && let Ok(path) = LayerPath::parse(entry.name.as_bytes())
        {
            map.add(digest, Candidate { source, path, offset, length });
        }
    };
    while texts.next(|entry| {
        match &*entry.kind {
            "reg" => {
                size = entry.size;
                add(entry, &entry.digest, 0, size);
            }
            "chunk" => {}
            _ => return Ok(()),
        }
        if entry.chunk_type.is_empty() && !entry.chunk_digest.is_empty() {
            // No size means "to the end of the file".
            let rest = size.saturating_sub(entry.chunk_offset);
            let length = if entry.chunk_size == 0 { rest } else { entry.chunk_size };
            add(entry, &entry.chunk_digest, entry.chunk_offset, length);
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

    fn wanted<const N: usize>(lengths: [(ChunkDigest, u64); N]) -> Wanted {
        Wanted { lengths: lengths.into() }
    }

    fn place(source: u32, offset: u64) -> Candidate {
        Candidate { source, path: LayerPath::ROOT, offset, length: 5 }
    }

    #[test]
    fn chunks_are_found_but_for_holes_and_wrong_lengths() {
        let names = ["whole", "one", "two", "hole", "rest", "long"];
        let [whole, one, two, hole, rest, long] = names.map(digest);
        let json = format!(
            r#"{{"entries":[
                {{"type":"reg","name":"f","size":30,"digest":"{whole}","chunkSize":10,"chunkDigest":"{one}"}},
                {{"type":"chunk","name":"f","chunkOffset":10,"chunkSize":5,"chunkDigest":"{two}"}},
                {{"type":"chunk","name":"f","chunkOffset":15,"chunkSize":5,"chunkDigest":"{hole}","chunkType":"zeros"}},
                {{"type":"chunk","name":"f","chunkOffset":20,"chunkDigest":"{rest}"}},
                {{"type":"chunk","name":"f","chunkOffset":20,"chunkSize":9,"chunkDigest":"{long}"}}]}}"#
        );
        let wanted = wanted([(whole, 30), (one, 10), (two, 5), (hole, 5), (rest, 10), (long, 10)]);
        let mut map = DedupMap::new();
        read_candidates(json.as_bytes(), &wanted, 0, &mut map).unwrap();
        let found = |digest| match map.get(&digest) {
            [] => None,
            [only] => Some((only.offset, only.length)),
            more => panic!("{more:?}"),
        };
        assert_eq!([whole, one, two].map(found), [Some((0, 30)), Some((0, 10)), Some((10, 5))]);
        assert_eq!([hole, rest, long].map(found), [None, Some((20, 10)), None]);
    }

    #[test]
    fn few_places_are_kept_and_always_the_same_ones() {
        let places = (0..9).flat_map(|n| [place(n, 0), place(n, 7), place(n, 7)]);
        let places: Vec<_> = places.collect();
        let (mut up, mut down) = (DedupMap::new(), DedupMap::new());
        for (first, last) in places.iter().zip(places.iter().rev()) {
            up.add(digest("a"), first.clone());
            down.add(digest("a"), last.clone());
        }
        assert_eq!(up.get(&digest("a")), down.get(&digest("a")));
        let kept = up.get(&digest("a")).iter().map(|place| (place.offset, place.source));
        let expected = [0, 7].into_iter().flat_map(|offset| (0..4).map(move |n| (offset, n)));
        assert!(kept.eq(expected));
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
        let wanted = wanted([(a, 1)]);
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
        let outcome = read_candidates(json.as_bytes(), &wanted([(a, 1)]), 0, &mut map);
        assert!(matches!(outcome, Err(TocError::Syntax { .. })));
        assert_eq!(map.get(&a).len(), 1);
    }
}
