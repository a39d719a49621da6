//! A TOC: consistent in itself, the same however it arrives, bounded in memory.
#![no_main]

use std::collections::HashSet;

use chunked::{Limits, Toc};
use laws::{Trickle, bounded};
use libfuzzer_sys::fuzz_target;
use storage_core::{EntryKind, LayerPath};

fuzz_target!(|json: &[u8]| {
    let mut limits = Limits::default();
    limits.entries = 50;
    // An entry of 25 bytes becomes 250 at most, and tables grow by doubling.
    let read = bounded((256 << 10) + 60 * json.len(), || Toc::read(json, &limits));
    let slowly = Toc::read(Trickle::new(json, 7), &limits);
    let Ok(toc) = read else {
        assert!(slowly.is_err(), "only refused at once");
        return;
    };
    let slowly = slowly.expect("taken at once");
    assert!(toc.entries().eq(slowly.entries()));
    assert!(toc.len() as u64 <= limits.entries);
    entries(&toc);
    contents(&toc);
});

fn entries(toc: &Toc) {
    let mut names = HashSet::new();
    for (index, entry) in toc.entries().enumerate() {
        let path = LayerPath::parse(&entry.name).expect("a name below the root");
        let again = !path.is_root() && !names.insert(path);
        assert!(!again || entry.kind == EntryKind::Directory, "a name twice");
        assert!(entry.mode <= 0o7777 && entry.uid != u32::MAX && entry.gid != u32::MAX);
        assert!(entry.mtime.nanoseconds < 1_000_000_000);
        assert!(entry.xattrs.is_sorted_by(|a, b| a.0 < b.0));
        let has_content = entry.kind == EntryKind::Regular && entry.size > 0;
        assert_eq!(toc.file(index).is_some(), has_content);
    }
    assert!(toc.uid_set().is_sorted_by(|a, b| a < b));
}

/// Chunks tile their file, and their places in the blob ascend.
fn contents(toc: &Toc) {
    let mut place = 0;
    for file in toc.files() {
        let mut covered = 0;
        for chunk in file.chunks() {
            assert!(chunk.size > 0 && chunk.offset >= place && chunk.end >= chunk.offset);
            assert_eq!(chunk.file_offset, covered);
            covered += chunk.size;
            place = chunk.end;
        }
        assert_eq!(covered, file.size());
        assert_eq!(file.size(), file.entry().size);
    }
}
