//! A tar: not a byte lost, the same by tar-split, and an independent reader agrees.
#![no_main]

mod other_tar;

use laws::{Trickle, bounded};
use libfuzzer_sys::fuzz_target;
use storage_core::Entry;
use tarball::{
    Limits, Part, Parts, Sink as _, SplitLimits, SplitPart, TarError, TarReader, TarSplitEntries,
    TarSplitReader, TarSplitWriter, rebuild,
};

fuzz_target!(|stream: &[u8]| {
    let mut entries = Vec::new();
    let parts = bounded((4 << 20) + 20 * stream.len(), || take_apart(stream, &mut entries));
    if parts.is_ok() {
        by_another_way(stream, &entries);
    }
    other_tar::agrees(stream, &entries);
});

/// All entries up to the end or an error.
fn take_apart(stream: &[u8], entries: &mut Vec<Entry>) -> Result<(), TarError> {
    let mut parts = Parts::new(Trickle::new(stream, 700), Limits::default());
    let mut split = TarSplitWriter::new(Vec::new());
    let mut bytes = Vec::new();
    while let Some(part) = parts.next_part()? {
        split.part(&part).expect("parts come in order");
        match part {
            Part::Raw(raw) => bytes.extend_from_slice(raw),
            Part::Content(content) => bytes.extend_from_slice(content),
            Part::Entry(entry) => entries.push(entry),
            _ => {}
        }
    }
    assert_eq!(bytes, stream, "a byte was lost");
    let twice = split.duplicate_name().is_some();
    let split = split.finish().expect("all content came");
    if !twice {
        split_tells_the_same(stream, &split, entries);
    }
    Ok(())
}

fn split_tells_the_same(stream: &[u8], split: &[u8], entries: &[Entry]) {
    let read = TarSplitEntries::new(split, SplitLimits::default(), Limits::default());
    let told = read.filter_map(|part| match part.expect("written by us") {
        SplitPart::File { entry, .. } => Some(entry),
        _ => None,
    });
    assert!(told.eq(entries.iter().cloned()));
    let mut contents = contents(stream).into_iter();
    let segments = TarSplitReader::new(split, SplitLimits::default());
    let mut next = || std::io::Cursor::new(contents.next().expect("as many"));
    let mut again = Vec::new();
    rebuild(segments, |_, _| Ok(next()), &mut again).expect("it is the stream");
    assert_eq!(again, stream);
}

/// The contents of all files that have some.
fn contents(stream: &[u8]) -> Vec<Vec<u8>> {
    let mut reader = TarReader::new(stream, Limits::default(), ());
    let mut contents = Vec::new();
    while let Some(entry) = reader.next_entry().expect("read before") {
        let mut content = Vec::new();
        std::io::Read::read_to_end(&mut reader.content(), &mut content).expect("read before");
        assert_eq!(content.len() as u64, entry.size);
        if entry.size > 0 {
            contents.push(content);
        }
    }
    contents
}

/// Skipping contents and large reads change nothing.
fn by_another_way(stream: &[u8], entries: &[Entry]) {
    let mut reader = TarReader::new(stream, Limits::default(), ());
    for entry in entries {
        assert_eq!(reader.next_entry().expect("read before").as_ref(), Some(entry));
    }
    assert!(reader.next_entry().expect("read before").is_none());
}
