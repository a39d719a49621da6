//! The rolling sum that decides where chunks end.

/// Bytes that a sum looks back on.
const WINDOW: usize = 64;

/// The same number, as it stands in the sums.
const FACTOR: u32 = 64;

/// Both halves of the sum add this to each byte of the window.
const CHAR_OFFSET: u32 = 31;

/// What the second half is over a window of zeros.
const SECOND_OF_ZEROS: u32 = FACTOR * (FACTOR - 1) * CHAR_OFFSET;

/// A chunk ends where these bits of the second half are all set: every 64 KiB on average.
const SPLIT_MASK: u32 = (1 << 16) - 1;

/// The rolling sum of zstd:chunked: bup's variant of rsync's, over the last 64 bytes.
///
/// bup keeps two sums, `s1` and `s2`. Here `first` is `s1` less its constant part
/// `64 * 31`, which cancels out of every step of `s2`:
///
/// ```text
/// s1 += in - out                        first  += in - out
/// s2 += s1 - 64 * (out + 31)            second += first - 64 * out
/// ```
#[derive(Debug, Clone)]
pub(super) struct RollSum {
    first: u32,
    second: u32,
    /// The last bytes, oldest first.
    window: [u8; WINDOW],
}

impl RollSum {
    /// The sum at the start of a file, which is also the sum after 64 zero bytes.
    pub(super) const fn new() -> Self {
        Self { first: 0, second: SECOND_OF_ZEROS, window: [0; WINDOW] }
    }

    /// Takes bytes up to the first after which a chunk ends, and tells how many those were.
    ///
    /// `None` if no chunk ends here; then all of `data` was taken.
    pub(super) fn find_split(&mut self, data: &[u8]) -> Option<usize> {
        let head = data.len().min(WINDOW);
        let window = self.window;
        if let Some(taken) = self.roll(&window[..head], &data[..head]) {
            self.remember(&data[..taken]);
            return Some(taken);
        }
        // From here on, what leaves the window is in `data` itself.
        let split = self.roll(data, &data[head..]).map(|taken| head + taken);
        self.remember(&data[..split.unwrap_or(data.len())]);
        split
    }

    /// Rolls `entering` in and as many bytes of `leaving` out, up to a split.
    #[inline]
    fn roll(&mut self, leaving: &[u8], entering: &[u8]) -> Option<usize> {
        let (mut first, mut second) = (self.first, self.second);
        let mut split = None;
        for (i, (&out, &byte)) in leaving.iter().zip(entering).enumerate() {
            first = first.wrapping_add(u32::from(byte)).wrapping_sub(u32::from(out));
            second = second.wrapping_add(first).wrapping_sub(FACTOR * u32::from(out));
            if second & SPLIT_MASK == SPLIT_MASK {
                split = Some(i + 1);
                break;
            }
        }
        (self.first, self.second) = (first, second);
        split
    }

    /// Moves the window to the end of `data`.
    fn remember(&mut self, data: &[u8]) {
        if let Some(last) = data.last_chunk() {
            self.window = *last;
        } else {
            self.window.copy_within(data.len().., 0);
            self.window[WINDOW - data.len()..].copy_from_slice(data);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Every place where a chunk ends, by the definition of the format.
    fn slow_splits(data: &[u8]) -> Vec<usize> {
        let mut s1: u32 = 64 * 31;
        let mut s2: u32 = 64 * 63 * 31;
        let mut window = [0u8; 64];
        let mut splits = Vec::new();
        for (i, &c) in data.iter().enumerate() {
            let d = window[i & 63];
            s1 = s1.wrapping_add(u32::from(c)).wrapping_sub(u32::from(d));
            s2 = s2.wrapping_add(s1).wrapping_sub(64 * (u32::from(d) + 31));
            window[i & 63] = c;
            if s2 & 0xffff == 0xffff {
                splits.push(i + 1);
            }
        }
        splits
    }

    fn splits(data: &[u8], step: usize) -> Vec<usize> {
        let mut sum = RollSum::new();
        let mut splits = Vec::new();
        let mut start = 0;
        for part in data.chunks(step) {
            let mut rest = part;
            while let Some(n) = sum.find_split(rest) {
                rest = &rest[n..];
                splits.push(start + part.len() - rest.len());
            }
            start += part.len();
        }
        splits
    }

    #[test]
    fn sixty_four_zeros_lead_back_to_the_start() {
        let mut sum = RollSum::new();
        sum.find_split(b"some bytes before");
        sum.find_split(&[0; WINDOW]);
        let start = RollSum::new();
        assert_eq!((sum.first, sum.second), (start.first, start.second));
        assert_eq!(sum.window, start.window);
    }

    proptest! {
        #[test]
        fn splits_are_where_the_definition_puts_them(
            // High bytes and long inputs, so that several splits are met.
            data in proptest::collection::vec(any::<u8>(), 0..200_000),
            step in 1usize..500,
        ) {
            prop_assert_eq!(splits(&data, step), slow_splits(&data));
        }
    }
}
