//! Bytes of an index: header, tags, locations.

use super::IndexError;

/// Version of the format.
const VERSION: u64 = 3;

/// What stands before the 32 bytes of a digest.
pub(super) const ALGORITHM: [u8; 7] = *b"sha256:";

/// Bytes of a digest with its algorithm.
pub(super) const DIGEST: usize = ALGORITHM.len() + 32;

/// Bytes of a tag.
pub(super) const TAG: usize = DIGEST + 16;

/// Hash functions of the bloom filter.
pub(super) const HASHES: u32 = 3;

/// Bytes before the words of the bloom filter, and between them and the tags.
pub(super) const HEAD: usize = 36;
pub(super) const LENGTHS: usize = 24;

/// Readers in use refuse more.
pub(super) const MAX_TAGS: u64 = 100_000_000 / TAG as u64;

/// Bits are counted with 32 bits.
const MAX_WORDS: u64 = (u32::MAX / 64) as u64;

/// The bytes before the words of the bloom filter.
pub(super) fn head(words: u64) -> [u8; HEAD] {
    let mut head = [0; HEAD];
    let fields = [VERSION, TAG as u64, DIGEST as u64, words];
    for (to, field) in head.chunks_exact_mut(8).zip(fields) {
        to.copy_from_slice(&field.to_le_bytes());
    }
    head[32..].copy_from_slice(&HASHES.to_le_bytes());
    head
}

/// The number of words of the bloom filter, and of its hashes.
pub(super) fn parse_head(head: &[u8; HEAD]) -> Result<(u64, u32), IndexError> {
    let [version, tag, digest, words] = numbers(head);
    let hashes = u32::from_le_bytes(*head.last_chunk().expect("it has 36 bytes"));
    match () {
        () if version != VERSION => Err(IndexError::Version(version)),
        () if (tag, digest) != (TAG as u64, DIGEST as u64) => Err(IndexError::Algorithm),
        () if words > MAX_WORDS => Err(IndexError::TooLarge("words of the filter")),
        () if words == 0 || !(1..=16).contains(&hashes) => Err(IndexError::Damaged("first bytes")),
        () => Ok((words, hashes)),
    }
}

/// The first numbers of eight bytes each.
pub(super) fn numbers<const N: usize>(bytes: &[u8]) -> [u64; N] {
    let (numbers, _) = bytes.as_chunks();
    std::array::from_fn(|i| u64::from_le_bytes(numbers[i]))
}

/// A tag as it is sorted: all but what is the same in every one.
///
/// The order is that of the whole tags: place and length are less than 2^32 and
/// 2^8, so what is left out is zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tag {
    pub(super) digest: [u8; 32],
    /// Little-endian, as it is compared.
    place: [u8; 4],
    length: u8,
}

impl Tag {
    /// `place` and `length` are those of a location in vdata.
    pub(super) fn new(digest: [u8; 32], place: u32, length: u8) -> Self {
        Self { digest, place: place.to_le_bytes(), length }
    }

    pub(super) fn to_bytes(self) -> [u8; TAG] {
        let mut bytes = [0; TAG];
        bytes[..DIGEST].copy_from_slice(&with_algorithm(&self.digest));
        bytes[DIGEST..][..4].copy_from_slice(&self.place);
        bytes[DIGEST + 8] = self.length;
        bytes
    }
}

/// A digest as it stands in tags and is hashed by the filter.
pub(super) fn with_algorithm(digest: &[u8; 32]) -> [u8; DIGEST] {
    let mut bytes = [0; DIGEST];
    bytes[..ALGORITHM.len()].copy_from_slice(&ALGORITHM);
    bytes[ALGORITHM.len()..].copy_from_slice(digest);
    bytes
}

/// An item of vdata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Location {
    /// Place in the names.
    pub(super) name: u64,
    /// Offset in the file.
    pub(super) offset: u64,
    pub(super) length: u64,
}

impl Location {
    /// Most bytes of one.
    pub(super) const MAX: usize = 30;

    pub(super) fn push_to(self, bytes: &mut Vec<u8>) {
        for mut number in [self.name, self.offset, self.length] {
            // Seven bits at a time.
            loop {
                let [low, ..] = number.to_le_bytes();
                number >>= 7;
                if number == 0 && low < 0x80 {
                    bytes.push(low);
                    break;
                }
                bytes.push(low | 0x80);
            }
        }
    }

    /// `None` if these bytes are no location.
    pub(super) fn parse(mut bytes: &[u8]) -> Option<Self> {
        let mut next = || {
            let mut number = 0;
            for shift in (0..64).step_by(7) {
                let (&byte, rest) = bytes.split_first()?;
                bytes = rest;
                let bits = u64::from(byte & 0x7f);
                number |= bits.checked_shl(shift).filter(|shifted| shifted >> shift == bits)?;
                if byte < 0x80 {
                    return Some(number);
                }
            }
            None
        };
        let location = Self { name: next()?, offset: next()?, length: next()? };
        bytes.is_empty().then_some(location)
    }
}

#[cfg(test)]
mod unit {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_that_are_too_long_are_no_location() {
        let mut most = vec![0xff; 9];
        most.push(1);
        let three = [&most[..], &most, &most].concat();
        let max = Location { name: u64::MAX, offset: u64::MAX, length: u64::MAX };
        assert_eq!(Location::parse(&three), Some(max));
        most[9] = 2;
        assert_eq!(Location::parse(&[&most[..], &[0, 0]].concat()), None);
        for bad in [&[][..], &[1, 2], &[1, 2, 0x83], &[1, 2, 3, 4]] {
            assert_eq!(Location::parse(bad), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn locations_come_back(name: u64, offset: u64, length in 0..300_u64) {
            let (location, mut bytes) = (Location { name, offset, length }, Vec::new());
            location.push_to(&mut bytes);
            prop_assert!(bytes.len() <= Location::MAX);
            prop_assert_eq!(Location::parse(&bytes), Some(location));
        }

        #[test]
        fn tags_sort_as_their_bytes_do(tags in proptest::collection::vec((0..3_u8, any::<u32>(), any::<u8>()), 2..30)) {
            let tags = tags.into_iter().map(|(digest, place, length)| Tag::new([digest; 32], place, length));
            let (mut a, mut b): (Vec<_>, Vec<_>) = tags.map(|tag| (tag, tag.to_bytes())).unzip();
            a.sort_unstable();
            b.sort_unstable();
            prop_assert!(a.into_iter().map(Tag::to_bytes).eq(b));
        }
    }
}
