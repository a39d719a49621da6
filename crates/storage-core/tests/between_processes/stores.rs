//! Several writers of one store.

use std::fs::File;
use std::path::Path;

use storage_core::{LayerId, LayerRecord, LayerStore};

use crate::child;

const ROUNDS: u32 = 40;
const WRITERS: u32 = 4;

fn counter() -> LayerId {
    "0".repeat(64).parse().unwrap()
}

/// Counts up in a record, and adds a record of its own each time.
pub(crate) fn write(root: &Path, writer: u32) {
    let root = File::open(root).unwrap();
    let store = LayerStore::open(&root).unwrap();
    for round in 0..ROUNDS {
        let mut layers = store.write().unwrap();
        if layers.get(&counter()).is_none() {
            layers.records_mut().push(LayerRecord::new(counter()));
        }
        let count = &mut layers.get_mut(&counter()).unwrap().metadata;
        *count = (count.parse().unwrap_or(0) + 1).to_string();
        let own = format!("{:032x}{:032x}", writer + 1, round).parse().unwrap();
        layers.records_mut().push(LayerRecord::new(own));
        layers.save().unwrap();
    }
}

/// Sees the counter rise together with the records, whoever writes.
pub(crate) fn read(root: &Path) {
    let root = File::open(root).unwrap();
    let store = LayerStore::open(&root).unwrap();
    let (mut last, mut count) = (None, 0);
    while count < ROUNDS * WRITERS {
        let layers = store.read().unwrap();
        let token = layers.token().unwrap();
        let seen = layers.get(&counter()).map_or(0, |record| record.metadata.parse().unwrap());
        assert_eq!(u32::try_from(layers.records().len()).unwrap(), seen + u32::from(seen > 0));
        assert!(seen >= count);
        assert_eq!(seen == count, token == last || seen == 0);
        (last, count) = (token, seen);
        drop(layers);
        std::thread::yield_now();
    }
}

fn check(root: &Path) {
    let root = File::open(root).unwrap();
    let layers = LayerStore::open(&root).unwrap();
    let layers = layers.read().unwrap();
    let count: u32 = layers.get(&counter()).unwrap().metadata.parse().unwrap();
    assert_eq!(count, ROUNDS * WRITERS);
    assert_eq!(u32::try_from(layers.records().len()).unwrap(), ROUNDS * WRITERS + 1);
}

pub(crate) fn threads() {
    let root = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let root = root.path();
            scope.spawn(move || write(root, writer));
        }
        scope.spawn(|| read(root.path()));
    });
    check(root.path());
}

pub(crate) fn processes() {
    let root = tempfile::tempdir().unwrap();
    let reader = child::start("reader", root.path());
    let writers = (0..WRITERS).map(|_| child::start("writer", root.path()));
    let writers: Vec<_> = writers.collect();
    child::join(writers.into_iter().chain([reader]));
    check(root.path());
}

pub(crate) fn killed() {
    let root = tempfile::tempdir().unwrap();
    let dir = File::open(root.path()).unwrap();
    let store = LayerStore::open(&dir).unwrap();
    let mut before = 0;
    for _ in 0..10 {
        let mut writer = child::start("tireless writer", root.path());
        // Wait for some progress, then kill at whatever point that is.
        let path = root.path().join("overlay-layers/layers.json");
        let changed = || path.metadata().ok().and_then(|m| m.modified().ok());
        let old = changed();
        while changed() == old {
            std::thread::yield_now();
        }
        writer.kill().unwrap();
        writer.wait().unwrap();

        // Neither the lock nor the records stop the next one.
        let layers = store.write().unwrap();
        let count = layers.get(&counter()).unwrap().metadata.parse().unwrap();
        assert!(count > before);
        before = count;
        layers.sweep().unwrap();
        let names = std::fs::read_dir(root.path().join("overlay-layers")).unwrap();
        assert_eq!(names.count(), 2, "records and lock");
    }
}

/// Counts up until it is killed.
pub(crate) fn write_tirelessly(root: &Path) {
    let root = File::open(root).unwrap();
    let store = LayerStore::open(&root).unwrap();
    loop {
        let mut layers = store.write().unwrap();
        if layers.get(&counter()).is_none() {
            layers.records_mut().push(LayerRecord::new(counter()));
        }
        let count = &mut layers.get_mut(&counter()).unwrap().metadata;
        *count = (count.parse().unwrap_or(0u64) + 1).to_string();
        layers.save().unwrap();
    }
}
