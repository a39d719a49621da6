//! The checksum of contents in a tar-split.

use crc_fast::{CrcAlgorithm, Digest};

/// CRC-64/GO-ISO of content that arrives in pieces.
#[derive(Debug, Clone)]
pub struct Crc64(Digest);

impl Crc64 {
    /// Of nothing, so far.
    pub fn new() -> Self {
        Self(Digest::new(CrcAlgorithm::Crc64GoIso))
    }

    /// Adds the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The sum of all bytes so far.
    pub fn value(&self) -> u64 {
        self.0.finalize()
    }
}

impl Default for Crc64 {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_the_sum_that_go_records() {
        let mut crc = Crc64::new();
        crc.update(b"hello ");
        crc.update(b"world\n");
        assert_eq!(crc.value().to_be_bytes(), [0x44, 0xe9, 0xcf, 0x3f, 0x57, 0x2a, 0xd9, 0xac]);
        assert_eq!(Crc64::new().value(), 0);
    }
}
