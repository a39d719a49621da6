//! The digests that a pull wants.

use storage_core::{ChunkDigest, Digest};

use crate::{Toc, TocFile};

/// Rows that have the same first bits, about.
const PER_START: usize = 8;

/// The digests that the layers of an image want: those of their files, and of
/// chunks of them.
///
/// Sorted, 48 bytes for each.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    rows: Vec<Row>,
    /// By the first bits of a digest, the number of the first row that has them or more.
    /// Digests are spread evenly, so that few rows have the same.
    starts: Vec<u32>,
    layers: u32,
}

#[derive(Debug, Clone, Copy)]
struct Row {
    digest: [u8; 32],
    /// Of the content; a TOC that gives one digest two lengths lies about one of
    /// them, so it does not matter which one counts.
    length: u64,
    /// The first one that wants it.
    layer: u32,
    repeated: bool,
    /// Whether more than one layer wants it.
    across: bool,
}

impl Wanted {
    /// What `toc` wants.
    pub fn of(toc: &Toc) -> Self {
        Self::from_iter([toc])
    }

    /// Adds what `toc` wants: the next layer of the image.
    ///
    /// Each call looks at all that was there before; where all layers are at hand,
    /// collect them.
    pub fn extend(&mut self, toc: &Toc) {
        self.push(toc);
        self.seal();
    }

    /// Whether `digest` is wanted.
    pub fn contains(&self, digest: &ChunkDigest) -> bool {
        self.find(digest).is_some()
    }

    /// Whether layers after the one of that number want what is first wanted by it.
    pub(crate) fn goes_on_from(&self, layer: u32, digest: &ChunkDigest) -> bool {
        let row = self.find(digest).map(|number| self.row(number));
        row.is_some_and(|row| row.across && row.layer == layer)
    }

    /// Whether a layer before the one of that number wants `digest`.
    pub(crate) fn is_of_layer_before(&self, layer: u32, digest: &ChunkDigest) -> bool {
        self.find(digest).is_some_and(|number| self.row(number).layer < layer)
    }

    /// The number of `digest`, if it is wanted in more than one place.
    pub(crate) fn repeated(&self, digest: &ChunkDigest) -> Option<u32> {
        self.find(digest).filter(|&number| self.row(number).repeated)
    }

    /// How many digests are wanted.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether nothing is wanted.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The number of a digest among those that are wanted, which ascend.
    pub(super) fn find(&self, digest: &ChunkDigest) -> Option<u32> {
        let bytes = digest.digest().as_bytes();
        let first = self.first_bits(bytes);
        let (start, end) = (*self.starts.get(first)?, *self.starts.get(first + 1)?);
        let rows = &self.rows[start as usize..end as usize];
        let found = rows.binary_search_by(|row| row.digest.cmp(bytes)).ok()?;
        Some(start + u32::try_from(found).ok()?)
    }

    /// The first bits of a digest, of as many as `starts` are for.
    fn first_bits(&self, digest: &[u8; 32]) -> usize {
        let first = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
        let bits = self.starts.len().saturating_sub(1).checked_ilog2().unwrap_or(0);
        // No more than there are starts.
        first.checked_shr(u32::BITS - bits).unwrap_or(0) as usize
    }

    /// The digest of that number.
    pub(super) fn digest(&self, number: u32) -> &[u8; 32] {
        &self.row(number).digest
    }

    /// The length of what has that number.
    pub(super) fn length(&self, number: u32) -> u64 {
        self.row(number).length
    }

    /// The number, not below `from`, of the first digest that is not less than `digest`.
    ///
    /// Looks near `from` first: for callers who ask in ascending order.
    pub(super) fn seek(&self, from: u32, digest: &[u8]) -> u32 {
        let rest = &self.rows[from as usize..];
        let is_less = |row: &Row| row.digest[..] < *digest;
        let mut end = 1;
        while end < rest.len() && is_less(&rest[end - 1]) {
            end *= 2;
        }
        let (start, end) = (end / 2, end.min(rest.len()));
        let found = start + rest[start..end].partition_point(is_less);
        // No more than there are rows.
        from + u32::try_from(found).unwrap_or(u32::MAX)
    }

    fn row(&self, number: u32) -> &Row {
        &self.rows[number as usize]
    }

    fn push(&mut self, toc: &Toc) {
        let of = |file: TocFile<'_>| 1 + file.chunks().count();
        self.rows.reserve_exact(toc.files().map(of).sum());
        for file in toc.files() {
            self.add(file.digest(), file.size());
            if file.chunk_count() == 1 {
                continue;
            }
            // A hole has no content that could be found.
            for chunk in file.chunks().filter(|chunk| !chunk.hole) {
                if let Some(digest) = chunk.digest {
                    self.add(digest, chunk.size);
                }
            }
        }
        self.layers += 1;
    }

    fn add(&mut self, digest: ChunkDigest, length: u64) {
        let (digest, layer) = (*digest.digest().as_bytes(), self.layers);
        self.rows.push(Row { digest, length, layer, repeated: false, across: false });
    }

    /// Sorts, and makes one row of those with one digest.
    fn seal(&mut self) {
        // In place: a stable sort would need half as much memory again.
        self.rows.sort_unstable_by_key(|row| row.digest);
        self.rows.dedup_by(|next, row| {
            let same = next.digest == row.digest;
            if same {
                row.across |= next.across || next.layer != row.layer;
                row.length = row.length.min(next.length);
                row.layer = row.layer.min(next.layer);
                row.repeated = true;
            }
            same
        });
        self.rows.shrink_to_fit();
        // Numbers of 32 bits are enough: a TOC has a bound.
        self.rows.truncate(u32::MAX as usize);
        self.set_starts();
    }

    fn set_starts(&mut self) {
        let count = (self.rows.len() / PER_START).max(1).next_power_of_two();
        // One more, where the last one ends.
        self.starts = vec![0; count + 1];
        for number in 0..self.rows.len() {
            let first = self.first_bits(&self.rows[number].digest);
            self.starts[first + 1] += 1;
        }
        let mut sum = 0;
        for start in &mut self.starts {
            sum += *start;
            *start = sum;
        }
    }
}

impl<'t> FromIterator<&'t Toc> for Wanted {
    /// What the layers of an image want, the first one first.
    fn from_iter<I: IntoIterator<Item = &'t Toc>>(layers: I) -> Self {
        let mut wanted = Self::default();
        layers.into_iter().for_each(|toc| wanted.push(toc));
        wanted.seal();
        wanted
    }
}

impl FromIterator<(Digest, u64)> for Wanted {
    /// Content of these digests and lengths, as if one layer wanted it.
    fn from_iter<I: IntoIterator<Item = (Digest, u64)>>(contents: I) -> Self {
        let mut wanted = Self { layers: 1, ..Self::default() };
        contents.into_iter().for_each(|(digest, length)| wanted.add(digest.into(), length));
        wanted.seal();
        wanted
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_wanted_is_found_and_nothing_else(
            wanted in proptest::collection::vec(0..400_u32, 0..200), skewed in any::<bool>(),
        ) {
            // Whoever makes a TOC chooses its digests, too.
            let digest = |number: u32| if skewed {
                let text = format!("sha256:{number:064x}");
                text.parse::<Digest>().unwrap()
            } else {
                Digest::of(&number.to_le_bytes())
            };
            let table: Wanted = wanted.iter().map(|&number| (digest(number), 1)).collect();
            for number in 0..400 {
                let found = table.find(&digest(number).into());
                prop_assert_eq!(found.is_some(), wanted.contains(&number));
                if let Some(found) = found {
                    let digest = digest(number);
                    prop_assert_eq!(table.digest(found), digest.as_bytes());
                }
            }
        }
    }

    #[test]
    fn nothing_is_found_where_nothing_is_wanted() {
        assert!(!Wanted::default().contains(&Digest::of(b"").into()));
    }
}
