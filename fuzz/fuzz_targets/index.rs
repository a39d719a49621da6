//! A chunk index: hints that stay below a layer's root, the same by both ways of looking.
#![no_main]

use std::sync::LazyLock;

use chunked::{DedupMap, Index, Limits, Toc, Wanted};
use laws::{bounded, file};
use libfuzzer_sys::fuzz_target;
use storage_core::{ChunkDigest, LayerPath};

/// What is wanted: the files of the layer whose index is among the seeds.
static ALL: LazyLock<Toc> = LazyLock::new(|| toc(include_bytes!("../seeds/toc/many.json")));
static ONE: LazyLock<Toc> = LazyLock::new(|| toc(include_bytes!("../seeds/toc/one.json")));

fn toc(json: &[u8]) -> Toc {
    Toc::read(json, &Limits::default()).expect("a TOC of ours")
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(index) = Index::open(file(bytes).0) else { return };
    // For one digest a large index is asked by its filter, for all it is read through.
    let [mut one, mut all] = [&ONE, &ALL].map(|toc| DedupMap::new(Wanted::of(toc)));
    let asked = bounded(16 << 20, || index.find(0, &mut one));
    let read = bounded(16 << 20, || index.find(0, &mut all));
    for (toc, map) in [(&ONE, &one), (&ALL, &all)] {
        for candidate in digests(toc).flat_map(|digest| map.get(&digest).collect::<Vec<_>>()) {
            assert_eq!(candidate.source, 0);
            let path = LayerPath::parse(candidate.path.as_bytes()).expect("below the root");
            assert_eq!(path, candidate.path);
            assert!(candidate.length > 0);
        }
    }
    if asked.is_ok() && read.is_ok() {
        for digest in digests(&ONE) {
            // A map keeps a few places of each digest, and prefers none that comes late.
            assert!(map_has(&all, &digest) || !map_has(&one, &digest), "found by one way only");
        }
    }
});

fn map_has(map: &DedupMap, digest: &ChunkDigest) -> bool {
    map.get(digest).next().is_some()
}

fn digests(toc: &Toc) -> impl Iterator<Item = ChunkDigest> {
    toc.files().map(|file| file.digest())
}
