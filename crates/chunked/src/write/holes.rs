//! Long runs of zeros in a stream of bytes.

/// Zeros in a row from which on they are a hole and not data.
pub(super) const THRESHOLD: usize = 1024;

/// Zeros that were held back and turned out to be data.
static ZEROS: [u8; THRESHOLD] = [0; THRESHOLD];

/// A part of a file, in order; consecutive `Data` are one stretch of data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Run<'a> {
    /// Bytes that are no hole; never empty.
    Data(&'a [u8]),
    /// A whole hole of that many zero bytes, never less than [`THRESHOLD`].
    Hole(u64),
}

/// Splits one file's content into data and holes, wherever its pieces are cut.
///
/// Zeros at the end of a piece are held back (as a count) until it is known
/// what follows them.
#[derive(Debug, Default)]
pub(super) struct HoleFinder {
    held: u64,
}

impl HoleFinder {
    /// Takes the next piece of the file.
    pub(super) fn feed<E>(
        &mut self,
        piece: &[u8],
        mut sink: impl FnMut(Run<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let leading = leading_zeros(piece);
        if leading == piece.len() {
            self.held += leading as u64;
            return Ok(());
        }
        let mut rest = piece;
        if self.held > 0 {
            self.held += leading as u64;
            rest = &rest[leading..];
            self.release(&mut sink)?;
        }
        let trailing = rest.iter().rev().take_while(|&&b| b == 0).count();
        self.held = trailing as u64;
        rest = &rest[..rest.len() - trailing];
        while let Some((start, end)) = find_hole(rest) {
            if start > 0 {
                sink(Run::Data(&rest[..start]))?;
            }
            sink(Run::Hole((end - start) as u64))?;
            rest = &rest[end..];
        }
        // Not empty: it ends with a byte that is not zero.
        sink(Run::Data(rest))
    }

    /// Ends the file: zeros that were held back are given out.
    pub(super) fn finish<E>(
        &mut self,
        mut sink: impl FnMut(Run<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.release(&mut sink)
    }

    fn release<E>(&mut self, sink: &mut impl FnMut(Run<'_>) -> Result<(), E>) -> Result<(), E> {
        let held = std::mem::take(&mut self.held);
        match usize::try_from(held) {
            Ok(0) => Ok(()),
            Ok(n) if n < THRESHOLD => sink(Run::Data(&ZEROS[..n])),
            _ => sink(Run::Hole(held)),
        }
    }
}

/// The first run of at least [`THRESHOLD`] zeros, as start and end.
///
/// Looks at one byte in a thousand where there are none: a run that long covers
/// the last byte of the next `THRESHOLD` bytes or starts behind it.
fn find_hole(data: &[u8]) -> Option<(usize, usize)> {
    let mut start = 0;
    while let Some(next) = data.get(start..start + THRESHOLD) {
        match next.iter().rposition(|&b| b != 0) {
            Some(nonzero) => start += nonzero + 1,
            None => {
                let end = start + THRESHOLD;
                return Some((start, end + leading_zeros(&data[end..])));
            }
        }
    }
    None
}

/// Counts zeros at the start, 32 at a time.
fn leading_zeros(data: &[u8]) -> usize {
    let (blocks, _) = data.as_chunks::<32>();
    let whole = blocks.iter().take_while(|block| **block == [0; 32]).count() * 32;
    whole + data[whole..].iter().take_while(|&&b| b == 0).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs as (offset, length, is a hole), stretches of data joined.
    fn runs(data: &[u8], step: usize) -> Vec<(u64, u64, bool)> {
        let mut finder = HoleFinder::default();
        let mut runs: Vec<(u64, u64, bool)> = Vec::new();
        let mut sink = |run: Run<'_>| {
            let (len, hole) = match run {
                Run::Data(data) => (data.len() as u64, false),
                Run::Hole(len) => (len, true),
            };
            match runs.last_mut() {
                Some((_, last, false)) if !hole => *last += len,
                last => {
                    let at = last.map_or(0, |(start, len, _)| *start + *len);
                    runs.push((at, len, hole));
                }
            }
            Ok::<_, std::convert::Infallible>(())
        };
        for piece in data.chunks(step) {
            finder.feed(piece, &mut sink).unwrap();
        }
        finder.finish(&mut sink).unwrap();
        runs
    }

    #[test]
    fn a_hole_has_at_least_1024_zeros() {
        let mut data = vec![0; 1023];
        data.push(b'A');
        data.resize(1024 + 1024, 0);
        data.push(b'B');
        data.resize(data.len() + 5000, 0);
        for step in [1, 7, 63, 1000, 1024, 1025, 4096, 10_000] {
            assert_eq!(
                runs(&data, step),
                [(0, 1024, false), (1024, 1024, true), (2048, 1, false), (2049, 5000, true)],
                "in pieces of {step}"
            );
        }
    }

    #[test]
    fn zeros_at_both_ends_are_counted() {
        assert_eq!(runs(&[0; 1023], 100), [(0, 1023, false)]);
        assert_eq!(runs(&[0; 1024], 100), [(0, 1024, true)]);
        assert_eq!(runs(b"", 1), []);
        let mut data = vec![0; 1100];
        data.push(1);
        data.extend([0; 1023]);
        assert_eq!(runs(&data, 512), [(0, 1100, true), (1100, 1024, false)]);
    }
}
