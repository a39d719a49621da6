//! What a blob consists of, from its first byte to its last.

use std::iter;

use crate::footer::FOOTER_FRAME;
use crate::write::SKIPPABLE_HEADER;
use crate::{Toc, TocLocation};

/// A run of bytes of a blob that has one meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Offset in the blob.
    pub offset: u64,
    /// At least one byte.
    pub length: u64,
    /// What stands there.
    pub kind: FrameKind,
}

/// The meaning of a [`Frame`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrameKind {
    /// Frames of data that belong to no chunk: tar headers, padding, the tar's end.
    Headers,
    /// The frames of one chunk.
    Chunk {
        /// The number of the file's entry in the TOC.
        entry: usize,
        /// The number of the chunk in the file.
        chunk: usize,
    },
    /// The skippable frame of the TOC.
    Toc,
    /// The skippable frame of tar-split.
    TarSplit,
    /// What follows: the skippable frame of the footer, if it has the length of one.
    Footer,
    /// What follows, and is no footer.
    Unknown,
}

/// The frames of a blob of `size` bytes with this TOC, ascending, without a gap.
///
/// They are what TOC and location say; the blob is not looked at. A place that
/// contradicts what comes before it is left out.
pub fn frames(toc: &Toc, location: &TocLocation, size: u64) -> impl Iterator<Item = Frame> {
    let chunks = toc.files().flat_map(|file| {
        let chunks = file.chunks().enumerate();
        chunks.map(move |(chunk, place)| {
            let kind = FrameKind::Chunk { entry: file.index(), chunk };
            (place.offset, place.end, kind)
        })
    });
    let mut payloads = vec![(location.toc, FrameKind::Toc)];
    payloads.extend(location.tar_split.map(|span| (span, FrameKind::TarSplit)));
    payloads.sort_by_key(|(span, _)| span.offset);
    let data_end = payloads[0].0.offset.saturating_sub(SKIPPABLE_HEADER);
    let last = payloads.iter().filter_map(|(span, _)| span.end()).max().unwrap_or(size);
    let rest = if size.checked_sub(last) == Some(FOOTER_FRAME) {
        FrameKind::Footer
    } else {
        FrameKind::Unknown
    };
    let payloads = payloads.into_iter().map(move |(span, kind)| {
        (span.offset.saturating_sub(SKIPPABLE_HEADER), span.end().unwrap_or(size), kind)
    });
    // The end of the data is a place without length.
    let data = chunks.chain(iter::once((data_end, data_end, FrameKind::Headers)));
    let after = payloads.chain(iter::once((last, size, rest)));
    let before = |between| move |place| (place, between);
    tile(data.map(before(FrameKind::Headers)).chain(after.map(before(FrameKind::Unknown))))
}

/// The places as frames, with what is between them: each comes with what is before it.
fn tile(
    places: impl Iterator<Item = ((u64, u64, FrameKind), FrameKind)>,
) -> impl Iterator<Item = Frame> {
    let mut at = 0;
    let frame = |start: u64, end: u64, kind| {
        (end > start).then(|| Frame { offset: start, length: end - start, kind })
    };
    places
        .flat_map(move |((start, end, kind), between)| {
            if start < at || end < start {
                return [None, None];
            }
            let gap = frame(at, start, between);
            at = end;
            [gap, frame(start, end, kind)]
        })
        .flatten()
}

#[cfg(test)]
mod tests {
    use storage_core::{BytesSource, RangeSource as _};

    use super::*;
    use crate::Limits;
    use crate::test_blob::blob_of;

    fn part(blob: &[u8], frame: &Frame) -> Vec<u8> {
        let at = usize::try_from(frame.offset).unwrap();
        blob[at..at + usize::try_from(frame.length).unwrap()].to_vec()
    }

    #[test]
    fn frames_tile_the_blob_and_hold_what_they_are_said_to() {
        let with_hole = [vec![1; 5000], vec![0; 5000], vec![2; 5000]].concat();
        let files = [("a", vec![7; 10]), ("b", vec![]), ("c", with_hole)];
        let blob = blob_of(&files);
        let source = BytesSource::new(blob.clone());
        let location = TocLocation::from_footer(&source).unwrap().unwrap();
        let toc = Toc::fetch(&source, &location, &Limits::default()).unwrap();
        let frames: Vec<_> = frames(&toc, &location, blob.len() as u64).collect();
        let mut at = 0;
        let mut contents = vec![Vec::new(); files.len()];
        for frame in &frames {
            assert_eq!(frame.offset, at);
            at += frame.length;
            let bytes = part(&blob, frame);
            match frame.kind {
                FrameKind::Chunk { entry, chunk } => {
                    let file = toc.file(entry).unwrap();
                    let place = file.chunks().nth(chunk).unwrap();
                    assert_eq!(place.file_offset, contents[entry].len() as u64);
                    contents[entry].extend(zstd::decode_all(&bytes[..]).unwrap());
                }
                FrameKind::Headers => assert!(!zstd::decode_all(&bytes[..]).unwrap().is_empty()),
                FrameKind::Unknown => panic!("nothing else is in a blob of ours"),
                _ => assert_eq!(bytes[..4], [0x50, 0x2a, 0x4d, 0x18]),
            }
        }
        assert_eq!(at, blob.len() as u64);
        for ((_, content), found) in files.iter().zip(&contents) {
            assert_eq!(content, found);
        }
        let last: Vec<_> = frames[frames.len() - 3..].iter().map(|frame| frame.kind).collect();
        assert_eq!(last, [FrameKind::Toc, FrameKind::TarSplit, FrameKind::Footer]);
    }

    #[test]
    fn what_a_location_leaves_out_is_unknown() {
        let blob = blob_of(&[("a", vec![7; 10])]);
        let source = BytesSource::new(blob.clone());
        let mut location = TocLocation::from_footer(&source).unwrap().unwrap();
        let toc = Toc::fetch(&source, &location, &Limits::default()).unwrap();
        location.tar_split = None;
        let kinds: Vec<_> =
            frames(&toc, &location, blob.len() as u64).map(|frame| frame.kind).collect();
        assert_eq!(kinds[kinds.len() - 2..], [FrameKind::Toc, FrameKind::Unknown]);
    }

    #[test]
    fn a_location_inside_of_the_data_leads_to_no_frame_over_another() {
        let blob = blob_of(&[("a", vec![7; 10])]);
        let source = BytesSource::new(blob.clone());
        let mut location = TocLocation::from_footer(&source).unwrap().unwrap();
        let toc = Toc::fetch(&source, &location, &Limits::default()).unwrap();
        let chunk = toc.files().next().unwrap().chunks().next().unwrap();
        location.toc.offset = chunk.end + SKIPPABLE_HEADER - 1;
        let mut at = 0;
        for frame in frames(&toc, &location, blob.len() as u64) {
            assert_eq!(frame.offset, at);
            at += frame.length;
        }
    }

    #[test]
    fn a_toc_is_fetched_alone_and_verified() {
        let mut blob = blob_of(&[("a", vec![7; 100_000])]);
        let location = TocLocation::from_footer(&BytesSource::new(blob.clone())).unwrap().unwrap();
        let source = BytesSource::new(blob.clone());
        let toc = Toc::fetch(&source, &location, &Limits::default()).unwrap();
        assert_eq!(toc.len(), 1);
        let usage = source.usage();
        assert_eq!((usage.requests, usage.bytes), (1, location.toc.length));
        assert_eq!(toc.received(), usage.bytes);
        // Its last bytes are a checksum: the first may be a matter of taste.
        let last = usize::try_from(location.toc.offset + location.toc.length).unwrap() - 1;
        blob[last] ^= 1;
        let error = Toc::fetch(&BytesSource::new(blob), &location, &Limits::default()).unwrap_err();
        assert!(error.is_lie_of_the_toc(), "{error}");
    }
}
