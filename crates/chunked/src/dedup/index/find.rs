//! What is wanted, looked up in an index.

use storage_core::LayerPath;

use super::bloom::bits;
use super::format::{ALGORITHM, DIGEST, Location, TAG, numbers};
use super::window::Window;
use super::{Index, IndexError};
use crate::DedupMap;

/// Tags that are read at once.
const BLOCK: usize = 1024;

/// As many tags are scanned in the time that it takes to look for one digest by way
/// of the filter. Measured: as 50 for one that is not there, as 1,000 for one that is.
const TAGS_PER_PROBE: u64 = 200;

/// Hits that are kept until names are read for them, in the order of the file.
const HITS: usize = 1 << 18;

/// A tag with a wanted digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Hit {
    /// Place of its location, and how long that is.
    place: u64,
    length: u8,
    /// Which of the wanted digests.
    number: u32,
}

/// Takes hits and brings them to the map.
pub(super) struct Hits<'a> {
    index: &'a Index,
    source: u32,
    map: &'a mut DedupMap,
    kept: Vec<Hit>,
}

impl Index {
    /// Notes in `map` where the layer says it has what that wants; `source` is the
    /// caller's number of the layer's tree.
    ///
    /// Reads either all tags in order, or asks the filter for each wanted digest,
    /// whichever costs less. Buffers of some 4 MiB at most are gone afterwards.
    ///
    /// # Errors
    ///
    /// If the index turns out to be damaged, or can't be read. What was found
    /// before stays in `map`, and does no harm.
    pub fn find(&self, source: u32, map: &mut DedupMap) -> Result<(), IndexError> {
        let wanted = map.wanted().len() as u64;
        let mut hits = Hits::new(self, source, map);
        if wanted.saturating_mul(TAGS_PER_PROBE) < self.count() {
            self.probe(&mut hits)?;
        } else {
            self.scan(&mut hits)?;
        }
        hits.bring()
    }

    /// Goes through all tags and all that is wanted side by side.
    pub(super) fn scan(&self, hits: &mut Hits<'_>) -> Result<(), IndexError> {
        let in_all = usize::try_from(self.tags.length).unwrap_or(usize::MAX);
        let mut buffer = vec![0; in_all.min(BLOCK * TAG)];
        let mut last = [0; TAG];
        let (mut number, mut at) = (0, 0);
        while at < self.tags.length {
            let left = usize::try_from(self.tags.length - at).unwrap_or(usize::MAX);
            let block = &mut buffer[..left.min(BLOCK * TAG)];
            self.tags.read(&self.file, at, block)?;
            at += block.len() as u64;
            for tag in block.as_chunks::<TAG>().0 {
                if !tag.starts_with(&ALGORITHM) || *tag < last {
                    return Err(IndexError::Damaged("tags"));
                }
                last = *tag;
                let wanted = hits.map.wanted();
                let digest = digest_of(tag);
                number = wanted.seek(number, digest);
                if (number as usize) < wanted.len() && wanted.digest(number) == digest {
                    hits.push(number, tag)?;
                }
            }
        }
        Ok(())
    }

    /// Looks for each wanted digest.
    pub(super) fn probe(&self, hits: &mut Hits<'_>) -> Result<(), IndexError> {
        let mut tag = [0; TAG];
        for number in (0..).take(hits.map.wanted().len()) {
            let digest = *hits.map.wanted().digest(number);
            if !self.may_have(&digest)? {
                continue;
            }
            for at in self.first(&digest)?..self.count() {
                self.tag(at, &mut tag)?;
                if *digest_of(&tag) != digest {
                    break;
                }
                hits.push(number, &tag)?;
            }
        }
        Ok(())
    }

    /// Asks the filter.
    fn may_have(&self, digest: &[u8; 32]) -> Result<bool, IndexError> {
        let mut word = [0; 8];
        for (at, mask) in bits(digest, self.hashes, self.bloom.length / 8) {
            self.bloom.read(&self.file, at * 8, &mut word)?;
            if u64::from_le_bytes(word) & mask == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Number of the first tag that is not less.
    fn first(&self, digest: &[u8; 32]) -> Result<u64, IndexError> {
        let (mut start, mut end, mut tag) = (0, self.count(), [0; TAG]);
        while start < end {
            let middle = start + (end - start) / 2;
            self.tag(middle, &mut tag)?;
            if digest_of(&tag) < digest { start = middle + 1 } else { end = middle }
        }
        Ok(start)
    }

    fn tag(&self, number: u64, tag: &mut [u8; TAG]) -> Result<(), IndexError> {
        self.tags.read(&self.file, number * TAG as u64, tag)?;
        if tag.starts_with(&ALGORITHM) { Ok(()) } else { Err(IndexError::Damaged("tags")) }
    }
}

fn digest_of(tag: &[u8; TAG]) -> &[u8; 32] {
    tag[ALGORITHM.len()..].first_chunk().expect("a tag has a digest")
}

impl<'a> Hits<'a> {
    pub(super) fn new(index: &'a Index, source: u32, map: &'a mut DedupMap) -> Self {
        Self { index, source, map, kept: Vec::new() }
    }

    fn push(&mut self, number: u32, tag: &[u8; TAG]) -> Result<(), IndexError> {
        let [place, length] = numbers(&tag[DIGEST..]);
        let length =
            u8::try_from(length).ok().filter(|&length| usize::from(length) <= Location::MAX);
        let Some(length) = length else { return Err(IndexError::Damaged("tags")) };
        self.kept.push(Hit { place, length, number });
        if self.kept.len() == HITS { self.bring() } else { Ok(()) }
    }

    /// Reads where the hits are, and tells the map.
    pub(super) fn bring(&mut self) -> Result<(), IndexError> {
        // What belongs to one file stands together then.
        self.kept.sort_unstable();
        let mut vdata = Window::new(&self.index.file, self.index.vdata);
        let mut names = Window::new(&self.index.file, self.index.names);
        let mut last: Option<(u64, Option<LayerPath>)> = None;
        for hit in self.kept.drain(..) {
            let location = Location::parse(vdata.get(hit.place, hit.length.into())?)
                .ok_or(IndexError::Damaged("vdata"))?;
            if location.length != self.map.wanted().length(hit.number)
                || !self.map.has_room(hit.number, self.source, location.offset)
            {
                continue;
            }
            let path = match last {
                Some((place, path)) if place == location.name => path,
                _ => path_at(location.name, &mut names)?,
            };
            if let Some(path) = &path {
                self.map.offer(hit.number, self.source, path, location.offset);
            }
            last = Some((location.name, path));
        }
        Ok(())
    }
}

/// The name there, if it is one below a layer's root.
pub(super) fn path_at(place: u64, names: &mut Window<'_>) -> Result<Option<LayerPath>, IndexError> {
    // A name may say the same in more bytes than the path has, but not in many more.
    const LONGEST: usize = 2 * LayerPath::MAX;
    let length = names.get(place, 4)?.first_chunk().expect("four bytes were asked for");
    let length = u32::from_le_bytes(*length) as usize;
    if length > LONGEST {
        return Err(IndexError::Damaged("names"));
    }
    Ok(LayerPath::parse(names.get(place + 4, length)?).ok())
}
