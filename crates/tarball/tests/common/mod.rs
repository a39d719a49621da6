//! What the tests of this crate share.

#![allow(dead_code, reason = "each test uses its part")]

use std::collections::HashMap;
use std::io;

use storage_core::{Entry, EntryKind, Time};
use tarball::{
    Limits, Part, Parts, SplitLimits, SplitPart, TarError, TarSplitEntries, TarSplitReader,
    TarSplitWriter, TarWriter, WriterOptions, rebuild, tar_size,
};

/// A stream taken apart.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Apart {
    pub(crate) raw: Vec<Vec<u8>>,
    pub(crate) entries: Vec<Entry>,
    pub(crate) globals: Vec<Vec<u8>>,
    pub(crate) contents: Vec<Vec<u8>>,
    pub(crate) joined: Vec<u8>,
    pub(crate) tar_split: Vec<u8>,
    pub(crate) duplicate: bool,
}

/// Takes a stream apart and records its tar-split.
pub(crate) fn take_apart(stream: impl io::Read, limits: Limits) -> Result<Apart, TarError> {
    let mut apart = Apart::default();
    let mut parts = Parts::new(stream, limits);
    let mut tar_split = TarSplitWriter::new(Vec::new());
    while let Some(part) = parts.next_part()? {
        tarball::Sink::part(&mut tar_split, &part).unwrap();
        match part {
            Part::Raw(bytes) => {
                assert!(!bytes.is_empty());
                apart.joined.extend_from_slice(bytes);
                apart.raw.push(bytes.to_vec());
            }
            Part::Entry(entry) => {
                apart.entries.push(entry);
                apart.contents.push(Vec::new());
            }
            Part::Global(name) => apart.globals.push(name),
            Part::Content(bytes) => {
                assert!(!bytes.is_empty());
                apart.joined.extend_from_slice(bytes);
                apart.contents.last_mut().unwrap().extend_from_slice(bytes);
            }
            _ => unreachable!(),
        }
    }
    apart.duplicate = tar_split.duplicate_name().is_some();
    apart.tar_split = tar_split.finish().unwrap();
    for (entry, content) in apart.entries.iter().zip(&apart.contents) {
        assert_eq!(entry.size, content.len() as u64);
    }
    Ok(apart)
}

/// Asserts that a stream, its parts, its tar-split and the stream rebuilt from that
/// are one.
pub(crate) fn round_trip(stream: &[u8]) -> Apart {
    let apart = take_apart(stream, Limits::default()).unwrap();
    assert_eq!(apart.joined, stream, "parts are the stream");
    if apart.duplicate {
        return apart;
    }
    let split = &apart.tar_split[..];
    let parts: Vec<_> = TarSplitEntries::new(split, SplitLimits::default(), Limits::default())
        .collect::<Result<_, _>>()
        .unwrap();
    let entries = parts.iter().filter_map(|part| match part {
        SplitPart::File { entry, .. } => Some(entry.clone()),
        _ => None,
    });
    let entries: Vec<_> = entries.collect();
    assert_eq!(entries, apart.entries, "the tar-split has the same entries");

    let contents: HashMap<_, _> =
        apart.entries.iter().map(|entry| &entry.name[..]).zip(&apart.contents).collect();
    let open = |name: &[u8], size| {
        let content = contents[name];
        assert_eq!(content.len() as u64, size);
        Ok(&content[..])
    };
    let mut again = Vec::new();
    let segments = || TarSplitReader::new(split, SplitLimits::default());
    assert_eq!(rebuild(segments(), open, &mut again).unwrap(), stream.len() as u64);
    assert!(again == stream, "the rebuilt stream is the stream");
    assert_eq!(tar_size(segments()).unwrap(), stream.len() as u64);
    apart
}

/// A stream with these entries and contents.
pub(crate) fn tar_of(entries: &[(Entry, Vec<u8>)], options: WriterOptions) -> Vec<u8> {
    let mut tar = TarWriter::new(Vec::new(), options);
    for (entry, content) in entries {
        tar.entry(entry, &content[..]).unwrap();
    }
    tar.finish().unwrap()
}

/// A regular file of size 0.
pub(crate) fn file(name: &str) -> Entry {
    Entry {
        name: name.into(),
        kind: EntryKind::Regular,
        mode: 0o644,
        uid: 0,
        gid: 0,
        size: 0,
        mtime: Time::EPOCH,
        atime: None,
        ctime: None,
        xattrs: Vec::new(),
    }
}

/// Options that lose nothing.
pub(crate) fn exact() -> WriterOptions {
    let mut options = WriterOptions::default();
    options.exact_times = true;
    options
}
