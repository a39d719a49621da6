//! Names of a model, as a filesystem would resolve them.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use storage_core::LayerPath;

/// Links that the kernel follows on one path.
const MAX_LINKS: u32 = 40;

/// Stands for "no place" and "no node".
const NONE: u32 = u32::MAX;

/// Where a name may stand: the number of a row, which stays.
pub(super) type Place = u32;

/// A tree of places, and the numbers of the nodes that have them.
#[derive(Debug)]
pub(super) struct Names {
    rows: Vec<Row>,
    /// The last parts of all names, one after the other.
    parts: Vec<u8>,
    /// Places by a hash of the one above and the last part. Its key is random, so that
    /// nobody can make two names meet.
    found: HashMap<u64, Place>,
    hasher: RandomState,
}

#[derive(Debug)]
struct Row {
    above: Place,
    /// Where its part starts.
    part: u32,
    /// The place below that was made last.
    first: Place,
    /// The place beside it that was made before.
    next: Place,
    node: u32,
    length: u8,
}

impl Names {
    /// The root's place.
    pub(super) const ROOT: Place = 0;

    pub(super) fn new() -> Self {
        let root = Row { above: NONE, part: 0, first: NONE, next: NONE, node: NONE, length: 0 };
        let (parts, found, hasher) = (Vec::new(), HashMap::new(), RandomState::new());
        Self { rows: vec![root], parts, found, hasher }
    }

    /// How many places there are or were.
    pub(super) fn count(&self) -> usize {
        self.rows.len()
    }

    /// Bytes of memory that they take, about.
    pub(super) fn bytes(&self) -> usize {
        // A table is from half to seven eighths full, with a byte more for each slot.
        const SLOT: usize = 2 * (size_of::<(u64, Place)>() + 1);
        self.rows.len() * (size_of::<Row>() + SLOT) + self.parts.len()
    }

    pub(super) fn child(&self, above: Place, part: &[u8]) -> Option<Place> {
        self.found.get(&self.hasher.hash_one((above, part))).copied()
    }

    /// The place of that name, which has at most 255 bytes; it is made if it is not there.
    pub(super) fn make(&mut self, above: Place, part: &[u8]) -> Place {
        let hash = self.hasher.hash_one((above, part));
        if let Some(&place) = self.found.get(&hash) {
            return place;
        }
        let number = |length: usize| u32::try_from(length).expect("a model has less than 4 GiB");
        let place = number(self.rows.len());
        let next = std::mem::replace(&mut self.rows[above as usize].first, place);
        let length = u8::try_from(part.len()).expect("a part has at most 255 bytes");
        let start = number(self.parts.len());
        self.rows.push(Row { above, part: start, first: NONE, next, node: NONE, length });
        self.parts.extend_from_slice(part);
        self.found.insert(hash, place);
        place
    }

    /// The place of a path, without any link being followed.
    pub(super) fn find(&self, path: &LayerPath) -> Option<Place> {
        path.parts().try_fold(Self::ROOT, |above, part| self.child(above, part))
    }

    pub(super) fn node(&self, place: Place) -> Option<usize> {
        let node = self.rows[place as usize].node;
        (node != NONE).then_some(node as usize)
    }

    /// All places that have a node, with it.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Place, usize)> {
        let places = (0..).take(self.rows.len());
        places.filter_map(|place: Place| Some((place, self.node(place)?)))
    }

    /// The path of a place, unless links have led to one that is too long to be said.
    pub(super) fn path(&self, place: Place) -> Option<LayerPath> {
        let above = |place: &Place| Some(self.rows[*place as usize].above);
        let places = std::iter::successors(Some(place), above);
        let mut parts: Vec<&[u8]> =
            places.take_while(|place| *place != Self::ROOT).map(|place| self.part(place)).collect();
        parts.reverse();
        LayerPath::parse(&parts.join(&b'/')).ok()
    }

    /// Gives a place to a node; what had it, and all below, has none any more.
    pub(super) fn set(&mut self, place: Place, node: usize) {
        self.clear(place);
        let number = u32::try_from(node).ok().filter(|&node| node != NONE);
        self.rows[place as usize].node = number.expect("a model has less than 4 GiB");
    }

    /// Takes a place from what has it, and from all below.
    pub(super) fn clear(&mut self, place: Place) {
        self.rows[place as usize].node = NONE;
        let mut below = vec![std::mem::replace(&mut self.rows[place as usize].first, NONE)];
        while let Some(place) = below.pop() {
            if place == NONE {
                continue;
            }
            let row = &self.rows[place as usize];
            below.extend([row.first, row.next]);
            let hash = self.hasher.hash_one((row.above, self.part(place)));
            self.found.remove(&hash);
            let row = &mut self.rows[place as usize];
            (row.node, row.first, row.next) = (NONE, NONE, NONE);
        }
    }

    /// The parts of the path that a name leads to, its last part being taken as it is.
    pub(super) fn resolve<'a>(
        &self,
        path: &LayerPath,
        text: impl Fn(usize) -> Option<&'a [u8]>,
    ) -> Vec<Vec<u8>> {
        let Some((parent, name)) = path.split_last() else { return Vec::new() };
        let mut parts = self.resolve_all(&parent, text);
        parts.push(name.into());
        parts
    }

    /// The parts of the path that a name leads to, with all links followed below the root;
    /// `text` gives that of a link. A path that leads round in a circle, or to a name that no
    /// filesystem can hold, is left as it is.
    pub(super) fn resolve_all<'a>(
        &self,
        path: &LayerPath,
        text: impl Fn(usize) -> Option<&'a [u8]>,
    ) -> Vec<Vec<u8>> {
        let mut here: Vec<Vec<u8>> = Vec::new();
        // Of the root and of each part, as far as there are any.
        let mut places = vec![Some(Self::ROOT)];
        let mut to_come: Vec<Vec<u8>> = path.parts().map(<[u8]>::to_vec).collect();
        to_come.reverse();
        let mut links = 0;
        while let Some(part) = to_come.pop() {
            match part.as_slice() {
                b"" | b"." => continue,
                b".." => {
                    here.pop();
                    places.truncate(here.len() + 1);
                    continue;
                }
                _ => {}
            }
            if part.len() > LayerPath::MAX_PART {
                return path.parts().map(<[u8]>::to_vec).collect();
            }
            let above = places.last().copied().flatten();
            let place = above.and_then(|above| self.child(above, &part));
            let target = place.and_then(|place| self.node(place)).and_then(&text);
            let Some(target) = target else {
                here.push(part);
                places.push(place);
                continue;
            };
            links += 1;
            if links > MAX_LINKS {
                return path.parts().map(<[u8]>::to_vec).collect();
            }
            if target.starts_with(b"/") {
                here.clear();
                places.truncate(1);
            }
            to_come.extend(target.split(|&byte| byte == b'/').rev().map(<[u8]>::to_vec));
        }
        here
    }

    fn part(&self, place: Place) -> &[u8] {
        let row = &self.rows[place as usize];
        &self.parts[row.part as usize..][..usize::from(row.length)]
    }
}
