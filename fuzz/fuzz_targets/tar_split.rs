//! A tar-split: what it tells is what any reader of its stream sees.
#![no_main]

use laws::{Trickle, bounded};
use libfuzzer_sys::fuzz_target;
use storage_core::Entry;
use tarball::{
    Limits, Part, Parts, Segment, SplitLimits, SplitPart, TarSplitEntries, TarSplitReader,
    TarSplitWriter, tar_size,
};

/// Largest stream that is made.
const LARGEST: u64 = 1 << 20;

fuzz_target!(|split: &[u8]| {
    let mut limits = SplitLimits::default();
    (limits.entries, limits.line_bytes, limits.total_bytes) = (50, 64 << 10, 1 << 20);
    let read = |step| {
        let segments = TarSplitReader::new(Trickle::new(split, step), limits.clone());
        segments.collect::<Result<Vec<_>, _>>().ok()
    };
    let segments = bounded((512 << 10) + 40 * split.len(), || read(1 << 20));
    assert_eq!(segments, read(5));
    let Some(segments) = segments else { return };
    written_anew(&segments, &limits);

    let told = TarSplitEntries::new(split, limits.clone(), Limits::default());
    let Ok(told) = told.collect::<Result<Vec<_>, _>>() else { return };
    let told = told.into_iter().filter_map(|part| match part {
        SplitPart::File { entry, .. } => Some(entry),
        _ => None,
    });
    let told: Vec<Entry> = told.collect();
    assert!(told.len() as u64 <= limits.entries);
    if let Some(stream) = stream(segments) {
        assert_eq!(told, entries(&stream), "the stream tells another story");
    }
});

/// Segments without contents, which only a checksum is known of, survive being written.
fn written_anew(segments: &[Segment], limits: &SplitLimits) {
    let mut writer = TarSplitWriter::new(Vec::new());
    let bare = |segment: &&Segment| match segment {
        Segment::Raw(bytes) => !bytes.is_empty(),
        Segment::File { size, .. } => *size == 0,
    };
    let bare: Vec<&Segment> = segments.iter().filter(bare).collect();
    for segment in &bare {
        let written = match segment {
            Segment::Raw(bytes) => writer.raw(bytes),
            Segment::File { name, .. } => writer.entry(name, 0),
        };
        written.expect("no content is missing");
    }
    let written = writer.finish().expect("no content is missing");
    let mut limits = limits.clone();
    // A name becomes six times as long where each letter is escaped.
    (limits.line_bytes, limits.total_bytes) = (limits.line_bytes * 6 + 100, u64::MAX);
    let again = TarSplitReader::new(&written[..], limits).map(|segment| segment.expect("ours"));
    assert!(again.eq(bare.into_iter().cloned()));
}

/// The tar, with zeros for contents; `None` if it is large.
fn stream(segments: Vec<Segment>) -> Option<Vec<u8>> {
    let size = tar_size(segments.iter().cloned().map(Ok)).expect("no errors inside");
    let mut stream = Vec::new();
    for segment in (size <= LARGEST).then_some(segments)? {
        match segment {
            Segment::Raw(bytes) => stream.extend_from_slice(&bytes),
            Segment::File { size, .. } => {
                stream.resize(stream.len() + usize::try_from(size).expect("below LARGEST"), 0);
            }
        }
    }
    assert_eq!(stream.len() as u64, size);
    Some(stream)
}

fn entries(stream: &[u8]) -> Vec<Entry> {
    let mut parts = Parts::new(stream, Limits::default());
    let mut entries = Vec::new();
    while let Some(part) = parts.next_part().expect("tar-split has found its headers good") {
        if let Part::Entry(entry) = part {
            entries.push(entry);
        }
    }
    entries
}
