//! The filter that says which digests an index has not.

use super::format::{DIGEST, HASHES, with_algorithm};

/// Bits for each tag.
const BITS: usize = 10;

/// A bloom filter in the making.
#[derive(Debug)]
pub(super) struct Bloom {
    words: Vec<u64>,
}

impl Bloom {
    /// An empty one, for that many tags.
    pub(super) fn new(tags: usize) -> Self {
        Self { words: vec![0; (tags * BITS).div_ceil(64).max(1)] }
    }

    pub(super) fn add(&mut self, digest: &[u8; 32]) {
        let count = self.words.len() as u64;
        for (word, mask) in bits(digest, HASHES, count) {
            let word = usize::try_from(word).expect("less than the number of words");
            self.words[word] |= mask;
        }
    }

    pub(super) fn words(&self) -> &[u64] {
        &self.words
    }
}

/// For each hash the number of a word, of so many, and the bit in it that is set if
/// `digest` is there. `words` is at least one, and less than 2^26.
pub(super) fn bits(
    digest: &[u8; 32],
    hashes: u32,
    words: u64,
) -> impl Iterator<Item = (u64, u64)> + use<> {
    let digest = with_algorithm(digest);
    (0..hashes as usize).map(move |i| {
        let (head, tail) = digest.split_at(i % DIGEST);
        let bit = u64::from(crc32(head) ^ crc32(tail)) % (words * 64);
        (bit / 64, 1 << (bit % 64))
    })
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}
