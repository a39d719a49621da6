//! The checksum of contents in a tar-split.

/// CRC-64 with the polynomial of ISO 3309, as Go computes it.
pub(super) fn crc64(bytes: &[u8]) -> u64 {
    let step = |sum: u64| if sum & 1 == 1 { (sum >> 1) ^ 0xd800_0000_0000_0000 } else { sum >> 1 };
    let table: Vec<u64> = (0..256).map(|byte| (0..8).fold(byte, |sum, _| step(sum))).collect();
    !bytes.iter().fold(u64::MAX, |sum, &byte| {
        let index = usize::from((sum.to_le_bytes()[0]) ^ byte);
        table[index] ^ (sum >> 8)
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn equals_the_sum_that_go_records() {
        let sum = super::crc64(b"hello world\n").to_be_bytes();
        assert_eq!(sum, [0x44, 0xe9, 0xcf, 0x3f, 0x57, 0x2a, 0xd9, 0xac]);
    }
}
