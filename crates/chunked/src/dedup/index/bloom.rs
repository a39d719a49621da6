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

/// The checksum of zlib and Ethernet. Those of whole libraries are made for long
/// streams, and dear for some 39 bytes.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        let [low, ..] = crc.to_le_bytes();
        TABLE[usize::from(low ^ byte)] ^ (crc >> 8)
    };
    !bytes.iter().fold(!0, step)
}

/// What each byte adds, by the polynomial with its lowest bit first.
static TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut index = 0;
    let mut byte = 0_u32;
    while index < table.len() {
        let mut crc = byte;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ (0xedb8_8320 * (crc & 1));
            bit += 1;
        }
        table[index] = crc;
        index += 1;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn the_checksum_is_the_one_of_zlib() {
        // The check value in catalogues of checksums.
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(b""), 0);
    }
}
