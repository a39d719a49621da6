//! Digests to local bytes.

use std::cmp::Ordering;

use storage_core::{ChunkDigest, LayerPath, Names};

use crate::Wanted;

/// Most places that are remembered for one digest at the start of a file, and as
/// many elsewhere: when these have vanished or changed, the network is the better
/// bet.
const PLACES: usize = 2;

/// Bytes of places and names that there is always room for, and those for each digest.
const FREE: usize = 8 << 20;
const PER_DIGEST: usize = 32;

/// Stands for "no place".
const NONE: u32 = u32::MAX;

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

/// Where the content of wanted digests may be found locally.
///
/// Takes, beside what is wanted, 4 bytes for each digest and 24 for each place,
/// and a path's last name with 6 bytes more for each file: of places and names 8 MiB and
/// 32 bytes for each digest, beyond which nothing more is noted.
#[derive(Debug, Clone, Default)]
pub struct DedupMap {
    wanted: Wanted,
    /// For each wanted digest its first place.
    first: Vec<u32>,
    places: Vec<Place>,
    names: Names,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    offset: u64,
    source: u32,
    /// In `names`.
    path: u32,
    /// The next place of the same digest, the likeliest first.
    next: u32,
}

impl Place {
    /// Only what begins a file can be a whole one, so neither kind crowds out the other.
    fn is_inside(&self) -> bool {
        self.offset > 0
    }
}

impl DedupMap {
    /// A map that looks for what is wanted, and knows nothing yet.
    pub fn new(wanted: Wanted) -> Self {
        Self { first: vec![NONE; wanted.len()], wanted, ..Self::default() }
    }

    /// What it looks for.
    pub fn wanted(&self) -> &Wanted {
        &self.wanted
    }

    /// Notes one more place for `digest`, if it and this length are wanted.
    ///
    /// Two places that begin a file and two others are kept for each digest, those
    /// of the lowest sources; which ones does not depend on the order in which they
    /// come, as long as there is room for all.
    pub fn add(&mut self, digest: ChunkDigest, candidate: &Candidate) {
        if let Some(number) = self.find(digest, candidate.length) {
            self.offer(number, candidate.source, &candidate.path, candidate.offset);
        }
    }

    /// The number of a wanted digest, if this is its length.
    pub(super) fn find(&self, digest: ChunkDigest, length: u64) -> Option<u32> {
        self.wanted.find(&digest).filter(|&number| self.wanted.length(number) == length)
    }

    /// Whether a place in that source might be kept for the wanted digest of that
    /// number; `false` where many sources have the same, before its path is read.
    pub(super) fn has_room(&self, number: u32, source: u32, offset: u64) -> bool {
        if self.is_full() {
            return false;
        }
        let of_kind = |place: &&Place| place.is_inside() == (offset > 0);
        let places = self.chain(number).map(|(_, place)| place).filter(of_kind);
        places.filter(|place| place.source < source).count() < PLACES
    }

    /// Notes a place for the wanted digest of that number.
    pub(super) fn offer(&mut self, number: u32, source: u32, path: &LayerPath, offset: u64) {
        if self.is_full() || offset.checked_add(self.wanted.length(number)).is_none() {
            return;
        }
        let new = Place { offset, source, path: NONE, next: NONE };
        let mut chain: Vec<u32> = self.chain(number).map(|(at, _)| at).collect();
        let Err(rank) = chain.binary_search_by(|&at| self.rank(at, &new, path)) else { return };
        let kind = |at: &u32| self.places[*at as usize].is_inside() == new.is_inside();
        let of_kind = chain.iter().filter(|at| kind(at)).count();
        let last = chain.iter().rposition(kind);
        let replaced = last.filter(|_| of_kind == PLACES);
        if replaced.is_some_and(|last| rank > last) {
            return;
        }
        let Some(path) = self.names.add(path.as_bytes()) else { return };
        let new = Place { path, ..new };
        let at = match replaced {
            Some(last) => {
                let at = chain.remove(last);
                self.places[at as usize] = new;
                at
            }
            None => match u32::try_from(self.places.len()) {
                Ok(at) if at != NONE => {
                    self.places.push(new);
                    at
                }
                _ => return,
            },
        };
        chain.insert(rank, at);
        self.link(number, &chain);
    }

    fn path(&self, place: &Place) -> LayerPath {
        LayerPath::parse(&self.names.get(place.path)).expect("it was one when it was noted")
    }

    fn is_full(&self) -> bool {
        let taken = size_of::<Place>() * self.places.len() + self.names.bytes();
        taken >= FREE + PER_DIGEST * self.wanted.len()
    }

    /// How a place that is there compares to a new one.
    fn rank(&self, at: u32, new: &Place, path: &LayerPath) -> Ordering {
        let place = &self.places[at as usize];
        let key = |place: &Place| (place.is_inside(), place.source);
        key(place)
            .cmp(&key(new))
            .then_with(|| self.names.get(place.path).as_slice().cmp(path.as_bytes()))
            .then_with(|| place.offset.cmp(&new.offset))
    }

    /// Makes these the places of a digest.
    fn link(&mut self, number: u32, chain: &[u32]) {
        let mut next = NONE;
        for &at in chain.iter().rev() {
            self.places[at as usize].next = next;
            next = at;
        }
        self.first[number as usize] = next;
    }

    fn chain(&self, number: u32) -> impl Iterator<Item = (u32, &Place)> {
        let place = |at: u32| Some((at, self.places.get(at as usize)?));
        std::iter::successors(place(self.first[number as usize]), move |(_, p)| place(p.next))
    }

    /// The places of `digest`, the likeliest first; none if it is not known.
    pub fn get(&self, digest: &ChunkDigest) -> impl Iterator<Item = Candidate> {
        self.places_of(*digest, None)
    }

    /// Those places of `digest` that begin a file and have `size` bytes.
    pub(crate) fn whole_files(
        &self,
        digest: ChunkDigest,
        size: u64,
    ) -> impl Iterator<Item = Candidate> + use<'_> {
        self.places_of(digest, Some(size)).take_while(|place| place.offset == 0)
    }

    /// Those places of `digest` that have `size` bytes, wherever in a file.
    pub(crate) fn chunks(
        &self,
        digest: ChunkDigest,
        size: u64,
    ) -> impl Iterator<Item = Candidate> + use<'_> {
        self.places_of(digest, Some(size))
    }

    fn places_of(
        &self,
        digest: ChunkDigest,
        size: Option<u64>,
    ) -> impl Iterator<Item = Candidate> + use<'_> {
        let number = self.wanted.find(&digest);
        let fits = |&number: &u32| size.is_none_or(|size| size == self.wanted.length(number));
        number.filter(fits).into_iter().flat_map(move |number| {
            let length = self.wanted.length(number);
            self.chain(number).map(move |(_, place)| {
                let (source, path) = (place.source, self.path(place));
                Candidate { source, path, offset: place.offset, length }
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use storage_core::Digest;

    use super::*;

    fn digest(text: &str) -> ChunkDigest {
        Digest::of(text.as_bytes()).into()
    }

    fn map() -> DedupMap {
        DedupMap::new(Wanted::from_iter([(Digest::of(b"a"), 5)]))
    }

    fn place(source: u32, path: &str, offset: u64) -> Candidate {
        Candidate { source, path: LayerPath::parse(path.as_bytes()).unwrap(), offset, length: 5 }
    }

    #[test]
    fn few_places_are_kept_and_always_the_same_ones() {
        let places =
            (0..9).flat_map(|n| [("b", 0), ("b", 7), ("a", 7), ("b", 7), ("a", 3)].map(|p| (n, p)));
        let places: Vec<_> = places.map(|(n, (path, offset))| place(n, path, offset)).collect();
        let (mut up, mut down) = (map(), map());
        for (first, last) in places.iter().zip(places.iter().rev()) {
            up.add(digest("a"), first);
            down.add(digest("a"), last);
        }
        let kept: Vec<_> = up.get(&digest("a")).collect();
        assert_eq!(down.get(&digest("a")).collect::<Vec<_>>(), kept);
        let expected = [place(0, "b", 0), place(1, "b", 0), place(0, "a", 3), place(0, "a", 7)];
        assert_eq!(kept, expected);
    }

    #[test]
    fn what_is_not_wanted_or_has_another_length_is_not_kept() {
        let mut map = map();
        map.add(digest("b"), &place(0, "b", 0));
        map.add(digest("a"), &Candidate { length: 6, ..place(0, "a", 0) });
        map.add(digest("a"), &place(0, "a", u64::MAX - 3));
        assert_eq!(map.get(&digest("a")).count() + map.get(&digest("b")).count(), 0);
    }

    #[test]
    fn only_places_of_the_right_size_at_the_start_are_whole_files() {
        let mut map = map();
        for offset in [0, 1] {
            map.add(digest("a"), &place(0, "f", offset));
        }
        assert_eq!(map.whole_files(digest("a"), 5).count(), 1);
        assert_eq!(map.chunks(digest("a"), 5).count(), 2);
        assert_eq!(map.whole_files(digest("a"), 6).count() + map.chunks(digest("a"), 6).count(), 0);
    }
}
