//! How many files are open: a process of its own, so that nothing else opens any.

mod support;

use storage_core::EntryKind;
use support::{Dest, add, entry, file};
use tree::{Walk, WalkOptions};

/// Far deeper than there may be open files.
const DEPTH: usize = 1500;

fn open() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn few_directories_are_open_at_once() {
    let dest = Dest::new();
    let mut writer = dest.writer();
    let before = open();
    for directory in 0..100 {
        for name in [format!("d{directory}/f"), format!("{}f", "e/".repeat(directory))] {
            add(&mut writer, &file(&name, 0)).unwrap();
            assert!(open() <= before + 16);
        }
    }
    add(&mut writer, &entry(&"e/".repeat(DEPTH), EntryKind::Directory)).unwrap();
    writer.finish().unwrap();
    assert_eq!(open(), before);

    let mut count = 0;
    for found in Walk::new(dest.fd(), WalkOptions::default()).unwrap() {
        assert!(open() <= before + 17);
        drop(found.unwrap());
        count += 1;
    }
    assert_eq!(count, 100 * 2 + 100 + DEPTH);
    assert_eq!(open(), before);

    // Removing needs as few, or it would fail here.
    let few = rustix::process::Rlimit { current: Some(40), maximum: None };
    let few = rustix::process::Rlimit {
        maximum: rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum,
        ..few
    };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, few).unwrap();
    tree::remove_tree(dest.fd(), b"e").unwrap();
    assert!(!dest.exists("e"));
}
