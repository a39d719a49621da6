//! Annotations, `key=value` a line: the place they tell of survives being written again.
#![no_main]

use std::collections::BTreeMap;

use chunked::{Limits, Span, Toc, TocLocation, is_toc_annotation};
use libfuzzer_sys::fuzz_target;
use storage_core::BytesSource;

const TOC_DIGEST: &str = "io.github.containers.zstd-chunked.manifest-checksum";
const TOC_POSITION: &str = "io.github.containers.zstd-chunked.manifest-position";
const TAR_SPLIT: &str = "io.github.containers.zstd-chunked.tarsplit-position";

fuzz_target!(|text: &str| {
    let annotations: BTreeMap<&str, &str> =
        text.lines().filter_map(|line| line.split_once('=')).collect();
    let of = |annotations: &BTreeMap<&str, &str>| {
        TocLocation::from_annotations(annotations.iter().map(|(key, value)| (*key, *value)))
    };
    let found = of(&annotations);
    let backwards = annotations.iter().rev().map(|(key, value)| (*key, *value));
    assert_eq!(TocLocation::from_annotations(backwards), found);

    let mut without = annotations.clone();
    without.retain(|key, _| !is_toc_annotation(key));
    assert_eq!(of(&without), Ok(None), "something else was looked at");

    let Ok(Some(location)) = found else { return };
    let digest = location.toc_digest.to_string();
    let toc = format!("{}:1", written(location.toc));
    let mut again = BTreeMap::from([(TOC_DIGEST, &*digest), (TOC_POSITION, &*toc)]);
    let tar_split = location.tar_split.map(written);
    again.extend(tar_split.as_deref().map(|text| (TAR_SPLIT, text)));
    assert_eq!(of(&again), Ok(Some(location)));

    // There is nothing of that digest in a blob of zeros, wherever it is said to be.
    let fetched = Toc::fetch(&BytesSource::new(vec![0; 300]), &location, &Limits::default());
    assert!(fetched.is_err());
});

fn written(Span { offset, length, uncompressed }: Span) -> String {
    format!("{offset}:{length}:{uncompressed}")
}
