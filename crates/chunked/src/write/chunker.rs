//! Where the chunks of a file begin and end.

use super::holes::{HoleFinder, Run};
use super::rollsum::RollSum;

/// What a [`Chunker`] says, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step<'a> {
    /// More data of the current chunk; never empty.
    Data(&'a [u8]),
    /// The current chunk of data, never empty, is complete.
    EndOfData,
    /// A chunk of its own: that many zero bytes.
    Hole(u64),
}

/// Cuts one file's content into chunks, exactly as existing images are cut.
///
/// A hole is a chunk. Other content ends a chunk before a hole, at the end of the
/// file, and where the rolling sum says so. The boundaries depend on nothing but
/// the content: neither on how it arrives nor on its place in a layer.
#[derive(Debug)]
pub(super) struct Chunker {
    holes: HoleFinder,
    cutter: Cutter,
}

#[derive(Debug)]
struct Cutter {
    sum: RollSum,
    /// Whether the current chunk has data.
    open: bool,
}

impl Chunker {
    /// A chunker at the start of a file.
    pub(super) fn new() -> Self {
        Self { holes: HoleFinder::default(), cutter: Cutter { sum: RollSum::new(), open: false } }
    }

    /// Takes the next piece of content.
    pub(super) fn feed<E>(
        &mut self,
        piece: &[u8],
        mut sink: impl FnMut(Step<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let Self { holes, cutter } = self;
        holes.feed(piece, |run| cutter.run(run, &mut sink))
    }

    /// Ends the file; the last chunk is complete, and the chunker at the start again.
    pub(super) fn finish<E>(
        &mut self,
        mut sink: impl FnMut(Step<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let Self { holes, cutter } = self;
        holes.finish(|run| cutter.run(run, &mut sink))?;
        cutter.end_data(&mut sink)?;
        cutter.sum = RollSum::new();
        Ok(())
    }
}

impl Cutter {
    fn run<E>(
        &mut self,
        run: Run<'_>,
        sink: &mut impl FnMut(Step<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        match run {
            Run::Data(data) => self.data(data, sink),
            Run::Hole(len) => {
                self.end_data(sink)?;
                // A hole's zeros are rolled in like other bytes, without
                // splitting; after so many the sum is as at the start.
                self.sum = RollSum::new();
                sink(Step::Hole(len))
            }
        }
    }

    fn data<E>(
        &mut self,
        mut data: &[u8],
        sink: &mut impl FnMut(Step<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        while let Some(len) = self.sum.find_split(data) {
            sink(Step::Data(&data[..len]))?;
            self.open = true;
            self.end_data(sink)?;
            data = &data[len..];
        }
        if !data.is_empty() {
            sink(Step::Data(data))?;
            self.open = true;
        }
        Ok(())
    }

    fn end_data<E>(&mut self, sink: &mut impl FnMut(Step<'_>) -> Result<(), E>) -> Result<(), E> {
        if std::mem::take(&mut self.open) { sink(Step::EndOfData) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use storage_core::Digest;

    use super::*;

    /// Offset, length, and whether it is a hole.
    type Chunk = (usize, usize, bool);

    fn chunks(data: &[u8], step: usize) -> Vec<Chunk> {
        let mut chunks = Vec::new();
        let (mut start, mut at) = (0, 0);
        let mut rebuilt = Vec::new();
        let mut sink = |step: Step<'_>| {
            match step {
                Step::Data(data) => {
                    at += data.len();
                    rebuilt.extend_from_slice(data);
                    return Ok::<_, std::convert::Infallible>(());
                }
                Step::EndOfData => chunks.push((start, at - start, false)),
                Step::Hole(len) => {
                    assert_eq!(start, at, "a hole inside a chunk of data");
                    at += usize::try_from(len).unwrap();
                    rebuilt.resize(at, 0);
                    chunks.push((start, at - start, true));
                }
            }
            start = at;
            Ok(())
        };
        let mut chunker = Chunker::new();
        for piece in data.chunks(step) {
            chunker.feed(piece, &mut sink).unwrap();
        }
        chunker.finish(&mut sink).unwrap();
        assert_eq!(start, at, "the last chunk was not ended");
        assert!(rebuilt == data, "steps do not add up to the content");
        chunks
    }

    /// The definition of the format, one byte after the other.
    fn slow_chunks(data: &[u8]) -> Vec<Chunk> {
        let mut chunks = Vec::new();
        let (mut s1, mut s2): (u32, u32) = (64 * 31, 64 * 63 * 31);
        let (mut window, mut pos) = ([0u8; 64], 0);
        let mut start = 0;
        let mut i = 0;
        while i < data.len() {
            let zeros = data[i..].iter().take_while(|&&b| b == 0).count();
            let hole = zeros >= 1024;
            if hole && i > start {
                chunks.push((start, i - start, false));
                start = i;
            }
            // A run of zeros is looked at once, from its beginning.
            let run = zeros.max(1);
            for &c in &data[i..i + run] {
                let d = window[pos];
                s1 = s1.wrapping_add(u32::from(c)).wrapping_sub(u32::from(d));
                s2 = s2.wrapping_add(s1).wrapping_sub(64 * (u32::from(d) + 31));
                window[pos] = c;
                pos = (pos + 1) & 63;
                i += 1;
                if !hole && s2 & 0xffff == 0xffff {
                    chunks.push((start, i - start, false));
                    start = i;
                }
            }
            if hole {
                chunks.push((start, run, true));
                start = i;
            }
        }
        if start < data.len() {
            chunks.push((start, data.len() - start, false));
        }
        chunks
    }

    /// S(tag, n) of the format's test vectors.
    fn stream(tag: &str, len: usize) -> Vec<u8> {
        let mut data = Vec::new();
        for i in 0u64.. {
            if data.len() >= len {
                break;
            }
            let block = [tag.as_bytes(), &i.to_le_bytes()].concat();
            data.extend_from_slice(Digest::of(&block).as_bytes());
        }
        data.truncate(len);
        data
    }

    fn zeros(len: usize) -> Vec<u8> {
        vec![0; len]
    }

    #[test]
    fn boundaries_are_those_of_existing_images() {
        let t = stream("v7", 65536);
        let vectors: [(Vec<u8>, &[Chunk]); 6] = [
            (stream("v1", 300_000), &[(0, 137_703, false), (137_703, 162_297, false)]),
            (
                [&zeros(1024)[..], b"A", &zeros(1023), b"B", &zeros(1024)].concat(),
                &[(0, 1024, true), (1024, 1025, false), (2049, 1024, true)],
            ),
            (
                [&zeros(1023)[..], b"A", &zeros(5000), &[b'B'; 10], &zeros(1023)].concat(),
                &[(0, 1024, false), (1024, 5000, true), (6024, 1033, false)],
            ),
            (zeros(1024), &[(0, 1024, true)]),
            ([&zeros(1025)[..], b"x"].concat(), &[(0, 1025, true), (1025, 1, false)]),
            (
                [&t[..40_000], &zeros(4096), &t[40_000..]].concat(),
                &[
                    (0, 29_964, false),
                    (29_964, 10_036, false),
                    (40_000, 4096, true),
                    (44_096, 15_204, false),
                    (59_300, 5741, false),
                    (65_041, 4591, false),
                ],
            ),
        ];
        for (content, expected) in vectors {
            assert_eq!(slow_chunks(&content), expected);
            for step in [1, 13, 64, 1024, 65_536, usize::MAX] {
                assert_eq!(chunks(&content, step), expected, "in pieces of {step}");
            }
        }
    }

    #[test]
    fn no_content_has_no_chunk() {
        assert_eq!(chunks(b"", 1), []);
    }

    /// Content with what matters in it: noise long enough to be split, and runs of
    /// zeros around the lengths 64 (the window) and 1024 (a hole).
    fn content() -> impl Strategy<Value = Vec<u8>> {
        let noise = proptest::collection::vec(any::<u8>(), 1..3000);
        let long =
            (any::<u64>(), 1usize..150_000).prop_map(|(seed, len)| stream(&seed.to_string(), len));
        let run = prop_oneof![1usize..130, 1000usize..1050, 1usize..5000, Just(70_000)];
        let part = prop_oneof![4 => run.prop_map(zeros), 2 => noise, 1 => long,
            2 => (any::<u8>(), 1usize..3000).prop_map(|(byte, len)| vec![byte; len])];
        proptest::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn chunks_are_those_of_the_definition(data in content(), step in 1usize..5000) {
            prop_assert_eq!(chunks(&data, step), slow_chunks(&data));
        }
    }
}
