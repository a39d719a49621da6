//! A bad local source never hurts: the same tree comes out, with more bytes fetched.

mod common;

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use chunked::Reuse;
use common::blob::{Built, build, file, other};
use common::tree::{assert_same, list_by_gnu_tar};
use common::{Stage, random};
use storage_core::EntryKind;

const FILES: usize = 12;

fn layer() -> Built {
    let mut entries = vec![other("d/", EntryKind::Directory)];
    for i in 0..FILES {
        entries.push(file(&format!("d/file-{i:02}"), random(30_000 + i, i as u64)));
    }
    build(&entries)
}

fn damage(path: &Path) {
    let mut content = fs::read(path).unwrap();
    content[12_345] ^= 1;
    fs::write(path, content).unwrap();
}

fn shorten(path: &Path) {
    let content = fs::read(path).unwrap();
    fs::write(path, &content[..10_000]).unwrap();
}

fn lengthen(path: &Path) {
    let content = fs::read(path).unwrap();
    fs::write(path, [&content[..], b"x"].concat()).unwrap();
}

fn remove(path: &Path) {
    fs::remove_file(path).unwrap();
}

/// The same content, but by a way that leads out of the layer.
fn link_out(path: &Path) {
    let outside = path.parent().unwrap().parent().unwrap().parent().unwrap().join("outside");
    fs::rename(path, &outside).unwrap();
    std::os::unix::fs::symlink(outside, path).unwrap();
}

fn directory(path: &Path) {
    fs::remove_file(path).unwrap();
    fs::create_dir(path).unwrap();
}

/// Opening one for reading would wait for a writer.
fn pipe(path: &Path) {
    fs::remove_file(path).unwrap();
    let mode = rustix::fs::Mode::from_raw_mode(0o644);
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
}

fn unlink_directory(path: &Path) {
    fs::remove_dir_all(path.parent().unwrap()).unwrap();
}

fn link_directory_out(path: &Path) {
    let dir = path.parent().unwrap();
    let outside = dir.parent().unwrap().parent().unwrap().join("outside");
    fs::rename(dir, &outside).unwrap();
    std::os::unix::fs::symlink(outside, dir).unwrap();
}

#[test]
fn whatever_became_of_a_source_the_tree_is_right() {
    let built = layer();
    let expected = list_by_gnu_tar(&built.tar);
    let all: u64 = (0..FILES as u64).map(|i| 30_000 + i).sum();
    let one = 30_005;
    for (what, change, lost, by_chunk) in [
        ("nothing", (|_| {}) as fn(&Path), 0, 0),
        ("damaged", damage, one, 0),
        ("shortened", shorten, one, 0),
        // It has all of the content, and more.
        ("lengthened", lengthen, 0, one),
        ("removed", remove, one, 0),
        ("link out", link_out, one, 0),
        ("directory", directory, one, 0),
        ("pipe", pipe, one, 0),
        ("all removed", unlink_directory, all, 0),
        ("directory linked out", link_directory_out, all, 0),
    ] {
        for reuse in [Reuse::ReflinkOrCopy, Reuse::HardLink] {
            let (base, stage) = (Stage::new(), Stage::new());
            base.unpack(&built).unwrap();
            change(&base.path("d/file-05"));
            let report =
                stage.unpack_from(&built.source(), &built, reuse, &[&base]).unwrap().report;
            assert_same(&stage.list(), &expected);
            assert_eq!((report.written, report.reused_chunks), (lost, by_chunk), "{what}");
            assert_eq!(report.reused_files, all - lost - by_chunk, "{what}");
        }
    }
}

#[test]
fn the_next_candidate_is_tried_before_the_network() {
    let built = layer();
    for change in [damage as fn(&Path), remove] {
        let (first, second, stage) = (Stage::new(), Stage::new(), Stage::new());
        for base in [&first, &second] {
            base.unpack(&built).unwrap();
        }
        change(&first.path("d/file-05"));
        let bases = [&first, &second];
        let proved =
            stage.unpack_from(&built.source(), &built, Reuse::ReflinkOrCopy, &bases).unwrap();
        assert_eq!(proved.report.written, 0);
        assert_same(&stage.list(), &list_by_gnu_tar(&built.tar));
    }
}

#[test]
fn a_local_layer_with_a_broken_toc_or_none_has_nothing() {
    let built = layer();
    for toc in [&b"{\"entries\":[{}"[..], b"", b"\xff", b"{\"entries\":[{\"name\":[]}]}"] {
        let (base, stage) = (Stage::new(), Stage::new());
        base.unpack(&built).unwrap();
        fs::write(base.dir.path().join("aside").join(chunked::aside::TOC), toc).unwrap();
        let proved =
            stage.unpack_from(&built.source(), &built, Reuse::ReflinkOrCopy, &[&base]).unwrap();
        assert_eq!(proved.report.reused_files, 0);
    }
}

/// Changes, cuts, removes and restores files of a source while it is read.
#[test]
fn a_source_that_changes_all_the_time_never_hurts() {
    let built = layer();
    let expected = list_by_gnu_tar(&built.tar);
    let (base, done) = (Stage::new(), AtomicBool::new(false));
    base.unpack(&built).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for i in (0..).take_while(|_| !done.load(Ordering::Relaxed)) {
                let path = base.path(&format!("d/file-{:02}", i % FILES));
                let good = random(30_000 + i % FILES, (i % FILES) as u64);
                match i / FILES % 4 {
                    0 => fs::write(&path, &good[..i % 30_000]).unwrap(),
                    1 => fs::write(&path, random(good.len(), 99)).unwrap(),
                    2 => drop(fs::remove_file(&path)),
                    _ => fs::write(&path, &good).unwrap(),
                }
            }
        });
        for _ in 0..40 {
            let stage = Stage::new();
            let outcome =
                stage.unpack_from(&built.source(), &built, Reuse::ReflinkOrCopy, &[&base]);
            let listed = outcome.map(|_| stage.list());
            if listed.is_err() {
                done.store(true, Ordering::Relaxed);
            }
            assert_same(&listed.unwrap(), &expected);
        }
        done.store(true, Ordering::Relaxed);
    });
}
