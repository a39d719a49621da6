//! Layers of every kind, compared with what GNU tar makes of them.

mod common;

use std::os::unix::fs::MetadataExt;

use chunked::{LayerBytes, Reuse};
use common::blob::{Built, Recipe, build, file, other, rooted, tar_of};
use common::sources::{Odd, cut, end_with_nothing, interleave};
use common::tree::{assert_same, list_by_gnu_tar};
use common::{Stage, is_root, random};
use storage_core::{Entry, EntryKind, RangeSource, Time};

/// One of everything that a tree can hold.
fn everything() -> Vec<(Entry, Vec<u8>)> {
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(200));
    let mut zeros = random(3000, 1);
    zeros.extend(vec![0; 300_000]);
    zeros.extend(random(10, 2));
    zeros.extend(vec![0; 70_000]);
    let mut entries = vec![
        other("./bin/", EntryKind::Directory),
        file("./bin/tool", random(200_000, 3)),
        other("./bin/alias", EntryKind::Symlink { target: b"tool".into() }),
        other("./bin/hard", EntryKind::HardLink { target: b"./bin/tool".into() }),
        file("./empty", ""),
        file("./holes", zeros),
        file("./all-zero", vec![0; 200_000]),
        file(&long, "deep"),
        other("pipe", EntryKind::Fifo),
        file("unlisted/parent/file", "x"),
        other("read-only/", EntryKind::Directory),
        file("read-only/file", "y"),
        file("secret", random(70_000, 4)),
        file("run-only", "z"),
    ];
    (entries[12].0.mode, entries[13].0.mode) = (0, 0o4111);
    entries[1].0.mode = 0o4755;
    entries[1].0.mtime = Time { seconds: 1_234_567_890, nanoseconds: 123_456_789 };
    entries[3].0.mode = 0o4755;
    entries[3].0.mtime = entries[1].0.mtime;
    entries[10].0.mode = 0o500;
    entries[11].0.xattrs = vec![(b"user.note".into(), b"a\0b".into())];
    if is_root() {
        entries.push(other("null", EntryKind::CharDevice { major: 1, minor: 3 }));
        entries.push(other("disk", EntryKind::BlockDevice { major: 8, minor: 17 }));
        let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        entries[8].0.mode = 0o620;
        entries[11].0.xattrs.insert(0, (b"security.capability".into(), capability.into()));
    }
    entries
}

/// What GNU tar makes, but for parents that have no entry: those are 0755, 0:0, time 0.
fn expected(built: &Built) -> Vec<common::tree::Found> {
    let mut expected = list_by_gnu_tar(&built.tar);
    for found in &mut expected {
        let unlisted = found.path.starts_with("ddd") || found.path.starts_with("unlisted");
        if unlisted && found.content.is_none() {
            found.mtime = (0, 0);
            found.mode = found.mode & !0o7777 | 0o755;
        }
    }
    expected
}

fn recipes() -> Vec<Recipe> {
    vec![
        Recipe::default(),
        Recipe { chunk: Some(10_000), ..Recipe::default() },
        Recipe { chunk: Some(4096), frames: 3, ..Recipe::default() },
        Recipe { frames: 7, between: 20_000, ..Recipe::default() },
    ]
}

#[test]
fn a_layer_is_what_gnu_tar_makes_of_it() {
    let tar = rooted(&everything());
    for recipe in recipes() {
        let (built, stage) = (recipe.build(tar.clone()), Stage::new());
        let source = built.source();
        let proved = stage.unpack_from(&source, &built, Reuse::default(), &[]).unwrap();
        assert_same(&stage.list(), &expected(&built));
        built.check_aside(&stage);
        assert_eq!(proved.diff_size, built.tar.len() as u64);
        assert_eq!(proved.report.fetched, source.usage().bytes);
        assert_eq!(proved.tree.skipped_devices, 0);
        if is_root() {
            assert_eq!((&proved.uid_set[..], &proved.gid_set[..]), (&[1000][..], &[1001][..]));
        }
    }
}

#[test]
fn the_order_and_size_of_pieces_do_not_matter() {
    let tar = rooted(&everything());
    for recipe in recipes() {
        let built = recipe.build(tar.clone());
        let expected = expected(&built);
        for length in [1, 1000, 77_777] {
            let change = |given| interleave(cut(given, length));
            let source = Odd { inner: built.source(), change };
            let stage = Stage::new();
            stage.unpack_from(&source, &built, Reuse::default(), &[]).unwrap();
            assert_same(&stage.list(), &expected);
        }
    }
}

#[test]
fn holes_are_not_fetched_and_take_no_space() {
    let recipe = Recipe { chunk: Some(4096), ..Recipe::default() };
    let mut content = vec![0; 40 << 20];
    content[20 << 20] = 1;
    let (built, stage) = (recipe.build(rooted(&[file("sparse", content)])), Stage::new());
    let proved = stage.unpack(&built).unwrap();
    assert_eq!(proved.report.written, 4096);
    assert_eq!(proved.report.holes, (40 << 20) - 4096);
    assert!(proved.report.fetched < built.blob.len() as u64);
    assert!(stage.path("sparse").metadata().unwrap().blocks() <= 64);
}

/// Those files that anyone can read who owns them.
fn readable() -> Vec<(Entry, Vec<u8>)> {
    everything().into_iter().filter(|(entry, _)| entry.mode & 0o400 != 0).collect()
}

#[test]
fn what_a_local_layer_has_is_not_fetched() {
    let old = build(&readable());
    let mut entries = readable();
    (entries[1].0.mode, entries[3].0.mode) = (0o600, 0o600);
    entries.push(file("zz-new", random(50_000, 9)));
    let new = build(&entries);
    let base = Stage::new();
    let full = base.unpack(&old).unwrap().report;
    assert_eq!((full.reused_files, full.written), (0, content_of(&readable())));

    let stage = Stage::new();
    let report = stage.unpack_from(&new.source(), &new, Reuse::default(), &[&base]).unwrap().report;
    assert_same(&stage.list(), &expected(&new));
    assert_eq!(report.reused_files, content_of(&readable()));
    assert_eq!(report.written, 50_000);
    // TOC, tar-split, and the one file.
    let location = new.location();
    let metadata = location.toc.length + location.tar_split.unwrap().length + 8;
    let frame = common::blob::compress(&random(50_000, 9)).len() as u64;
    assert_eq!(report.fetched, metadata + frame);
}

fn content_of(entries: &[(Entry, Vec<u8>)]) -> u64 {
    entries.iter().map(|(entry, _)| entry.size).sum()
}

#[test]
fn policies_are_kept() {
    let built = build(&[file("a", random(5000, 1)), file("b", random(6000, 2))]);
    let base = Stage::new();
    base.unpack(&built).unwrap();
    // A time of its own keeps b from being linked.
    let mut changed = [file("a", random(5000, 1)), file("b", random(6000, 2))];
    changed[1].0.mtime.seconds += 1;
    let changed = build(&changed);
    let expected = list_by_gnu_tar(&changed.tar);
    for (reuse, linked) in [
        (Reuse::Never, false),
        (Reuse::ReflinkOnly, false),
        (Reuse::ReflinkOrCopy, false),
        (Reuse::HardLink, true),
    ] {
        let stage = Stage::new();
        let source = changed.source();
        let report = stage.unpack_from(&source, &changed, reuse, &[&base]).unwrap().report;
        assert_same(&stage.list(), &expected);
        let inode = |stage: &Stage, name| stage.path(name).metadata().unwrap().ino();
        assert_eq!(inode(&stage, "a") == inode(&base, "a"), linked, "{reuse:?}");
        assert_ne!(inode(&stage, "b"), inode(&base, "b"), "{reuse:?}");
        match reuse {
            Reuse::Never => assert_eq!((report.reused_files, report.written), (0, 11_000)),
            // Depends on the filesystem below the temporary directory.
            Reuse::ReflinkOnly => assert_eq!(report.reused_files + report.written, 11_000),
            _ => assert_eq!((report.reused_files, report.written), (11_000, 0)),
        }
    }
}

/// So many that both threads have some, each with another mode, owned by whoever runs this.
fn many_files() -> Vec<(Entry, Vec<u8>)> {
    let modes = [0o644, 0o600, 0o444, 0o755, 0o4755, 0o2711, 0o1777, 0o666, 0o777, 0o000];
    let mut files: Vec<_> =
        (0..200).map(|i| file(&format!("f{i}"), random(3000 + i, i as u64))).collect();
    for ((entry, _), mode) in files.iter_mut().zip(modes.iter().cycle()) {
        entry.mode = *mode;
        entry.uid = rustix::process::geteuid().as_raw();
        entry.gid = rustix::process::getegid().as_raw();
    }
    files
}

#[test]
fn many_files_are_reused_with_the_attributes_of_their_entries() {
    let built = build(&many_files());
    let expected = list_by_gnu_tar(&built.tar);
    let base = Stage::new();
    base.unpack(&built).unwrap();
    assert_same(&base.list(), &expected);
    for reuse in [Reuse::ReflinkOrCopy, Reuse::HardLink] {
        let stage = Stage::new();
        let report = stage.unpack_from(&built.source(), &built, reuse, &[&base]).unwrap().report;
        assert_same(&stage.list(), &expected);
        if is_root() {
            // Others may not read files of mode 0000.
            assert_eq!(report.written, 0, "{reuse:?}");
        }
        let linked = |name: &str| {
            let [inode, other] = [&stage, &base].map(|s| s.path(name).metadata().unwrap().ino());
            inode == other
        };
        let count = (0..200).filter(|i| linked(&format!("f{i}"))).count();
        let all = if is_root() { 200 } else { 180 };
        assert_eq!(count, if reuse == Reuse::HardLink { all } else { 0 }, "{reuse:?}");
    }
}

#[test]
fn a_file_of_zeros_takes_no_room_though_the_toc_calls_it_no_hole() {
    let built = build(&[file("small", vec![0; 300_000]), file("large", vec![0; 20 << 20])]);
    let stage = Stage::new();
    stage.unpack(&built).unwrap();
    assert_same(&stage.list(), &list_by_gnu_tar(&built.tar));
    for name in ["small", "large"] {
        std::fs::File::open(stage.path(name)).unwrap().sync_all().unwrap();
        assert_eq!(stage.path(name).metadata().unwrap().blocks(), 0, "{name}");
    }
}

#[test]
fn a_layer_without_content_needs_only_its_metadata() {
    let built = build(&[other("d/", EntryKind::Directory), file("d/empty", "")]);
    let stage = Stage::new();
    let proved = stage.unpack(&built).unwrap();
    assert_same(&stage.list(), &list_by_gnu_tar(&built.tar));
    let location = built.location();
    let metadata = location.toc.length + location.tar_split.unwrap().length + 8;
    let expected = LayerBytes { fetched: metadata, ..LayerBytes::default() };
    assert_eq!(proved.report, expected);
    Stage::new().unpack(&Recipe::default().build(tar_of(&[]))).unwrap();
}

#[test]
fn large_chunks_are_streamed_one_at_a_time() {
    let mut entries = Vec::new();
    for i in 0..5 {
        entries.push(file(&format!("large-{i}"), random(5 << 20, i)));
        // Compresses well, and is too large to be decoded in one go.
        entries.push(file(&format!("long-{i}"), vec![b'x'; 9 << 20]));
        // Keeps the others apart, since it is there already.
        entries.push(file(&format!("known-{i}"), random(600_000, 100 + i)));
    }
    let known: Vec<_> = entries.iter().filter(|(e, _)| e.name[0] == b'k').cloned().collect();
    let base = Stage::new();
    base.unpack(&build(&known)).unwrap();
    for frames in [1, 4] {
        let built = Recipe { frames, ..Recipe::default() }.build(rooted(&entries));
        let change = |given| interleave(cut(given, 50_000));
        let source = Odd { inner: built.source(), change };
        let stage = Stage::new();
        stage.unpack_from(&source, &built, Reuse::default(), &[&base]).unwrap();
        assert_same(&stage.list(), &list_by_gnu_tar(&built.tar));
        assert!(source.usage().requests >= 6, "{:?}", source.usage());
    }
}

/// What is missing is cut, side by side as it comes; what ends with nothing, ends where the
/// next piece begins.
#[test]
fn ranges_that_touch_do_not_take_each_others_pieces() {
    let new = |i: u64| file(&format!("new-{i}"), random(1_200_000, i));
    let known = file("known", random(1_200_000, 9));
    let entries = [new(0), new(1), known.clone(), new(2), new(3)];
    let base = Stage::new();
    base.unpack(&build(&[known])).unwrap();
    let built = build(&entries);
    let change = |given| interleave(end_with_nothing(cut(given, 100_000)));
    let source = Odd { inner: built.source(), change };
    let stage = Stage::new();
    stage.unpack_from(&source, &built, Reuse::default(), &[&base]).unwrap();
    assert_same(&stage.list(), &list_by_gnu_tar(&built.tar));
    // One for TOC and tar-split.
    assert_eq!(source.usage().requests, 5);
}

/// Every file comes in two ranges, and all of them at once.
#[test]
fn files_that_wait_for_their_second_half_are_closed_and_opened_again() {
    let mut entries = Vec::new();
    for i in 0..60 {
        let halves = [random(4096, i), vec![0; 4096], random(4096, 1000 + i)];
        entries.push(file(&format!("d{}/file-{i}", i % 7), halves.concat()));
    }
    let recipe = Recipe { chunk: Some(4096), padding: 1000, ..Recipe::default() };
    let built = recipe.build(rooted(&entries));
    let change = |given| interleave(cut(given, 700));
    let source = Odd { inner: built.source(), change };
    let stage = Stage::new();
    let report = stage.unpack_from(&source, &built, Reuse::default(), &[]).unwrap().report;
    let mut expected = list_by_gnu_tar(&built.tar);
    for found in expected.iter_mut().filter(|found| found.path.len() == 2) {
        (found.mode, found.mtime) = (0o040_755, (0, 0));
    }
    assert_same(&stage.list(), &expected);
    assert_eq!((report.written, report.holes), (60 * 8192, 60 * 4096));
    assert!(source.usage().requests > 60, "{:?}", source.usage());
}

#[test]
fn whiteouts_become_what_overlay_takes_for_them() {
    let built = build(&[
        other("d/", EntryKind::Directory),
        file("d/.wh..wh..opq", ""),
        file(".wh.gone", ""),
    ]);
    let stage = Stage::new();
    stage.unpack(&built).unwrap();
    let found = stage.list();
    assert_eq!((&*found[0].path, &*found[1].path), ("", "d"));
    let opaque = if is_root() { "trusted.overlay.opaque" } else { "user.overlay.opaque" };
    assert_eq!(found[1].xattrs[opaque.as_bytes()], b"y");
    assert_eq!((&*found[2].path, found[2].mode & 0o170_000), ("gone", 0o020_000));
    assert_eq!(found.len(), 3);
}

#[test]
fn an_entry_of_ours_round_trips_through_the_other_writer() {
    let tar = rooted(&everything());
    let mut blob = Vec::new();
    let options = chunked::write::WriteOptions::default();
    let written = chunked::write::write_blob(&tar[..], &mut blob, &options).unwrap();
    let annotations = written.annotations.into_iter().collect();
    let diff_id = written.diff_id;
    let built = Built { blob, annotations, diff_id, tar, toc: Vec::new(), tar_split: Vec::new() };
    let stage = Stage::new();
    stage.unpack(&built).unwrap();
    assert_same(&stage.list(), &expected(&built));
}
