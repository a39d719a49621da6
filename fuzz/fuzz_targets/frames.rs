//! Any TOC at any place: eight numbers, then the TOC's JSON.
#![no_main]

use chunked::{FrameKind, Limits, Span, Toc, TocLocation, frames};
use libfuzzer_sys::fuzz_target;
use storage_core::Digest;

fuzz_target!(|input: &[u8]| {
    let Some((numbers, json)) = input.split_first_chunk::<64>() else { return };
    let Ok(toc) = Toc::read(json, &Limits::default()) else { return };
    let (numbers, _) = numbers.as_chunks::<8>();
    let number = |at: usize| u64::from_le_bytes(numbers[at]);
    let span = |at: usize| Span {
        offset: number(at),
        length: number(at + 1),
        uncompressed: number(at + 2),
    };
    let tar_split = (number(3) > 0).then(|| span(3));
    let toc_digest = Digest::of(json).into();
    let (location, size) = (TocLocation { toc_digest, toc: span(0), tar_split }, number(6));

    let (mut at, mut payloads) = (0_u64, 0);
    for frame in frames(&toc, &location, size) {
        assert!(frame.length > 0);
        assert_eq!(frame.offset, at, "a gap, or one over another");
        at = at.checked_add(frame.length).expect("it ends below 2^64");
        match frame.kind {
            FrameKind::Toc | FrameKind::TarSplit => payloads += 1,
            FrameKind::Chunk { entry, chunk } => {
                let file = toc.file(entry).expect("a file with content");
                let chunk = file.chunks().nth(chunk).expect("a chunk of it");
                assert_eq!((chunk.offset, chunk.end), (frame.offset, at));
            }
            _ => {}
        }
    }
    assert!(payloads <= 2);
});
