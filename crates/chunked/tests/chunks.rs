//! Chunks of local files make new ones, whatever becomes of the local files.

mod common;

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use chunked::{Candidate, LayerBytes, LocalTrees, Reuse, Sources};
use common::blob::{Built, Recipe, file, rooted};
use common::pull::pull_through;
use common::tree::{Found, assert_same, list_by_gnu_tar};
use common::{Stage, random};
use proptest::prelude::*;

/// Files, each a sequence of blocks by number, and how much more it has at the end.
type Files = Vec<(Vec<u8>, usize)>;

/// Layers whose files have blocks in common.
#[derive(Debug, Clone)]
struct Layers {
    chunk: usize,
    old: Files,
    new: Files,
}

/// Block 0 is a hole, where it is a chunk of several.
fn content(chunk: usize, (blocks, more): &(Vec<u8>, usize)) -> Vec<u8> {
    let block = |&number: &u8| match number {
        0 => vec![0; chunk],
        seed => random(chunk, seed.into()),
    };
    let mut content: Vec<u8> = blocks.iter().flat_map(block).collect();
    content.extend(random(more % chunk, 99));
    content
}

fn built(chunk: usize, files: &Files) -> Built {
    let entries: Vec<_> = (0..)
        .zip(files)
        .map(|(i, blocks): (u32, _)| file(&format!("f{i}"), content(chunk, blocks)))
        .collect();
    Recipe { chunk: Some(chunk), ..Recipe::default() }.build(rooted(&entries))
}

/// Where the bytes of the new layer have to come from, if nothing goes wrong.
fn expected(layers: &Layers) -> LayerBytes {
    let is_hole = |bytes: &[u8]| bytes.iter().all(|&byte| byte == 0);
    let mut known = HashSet::new();
    for blocks in &layers.old {
        let content = content(layers.chunk, blocks);
        if content.len() > layers.chunk {
            known.extend(content.chunks(layers.chunk).filter(|c| !is_hole(c)).map(Vec::from));
        }
        known.insert(content);
    }
    let mut bytes = LayerBytes::default();
    for content in layers.new.iter().map(|blocks| content(layers.chunk, blocks)) {
        let whole = layers.old.iter().any(|old| self::content(layers.chunk, old) == content);
        if whole {
            bytes.reused_files += content.len() as u64;
            continue;
        }
        for chunk in content.chunks(layers.chunk) {
            let count = match () {
                () if chunk.len() < content.len() && is_hole(chunk) => &mut bytes.holes,
                // What repeats in the new layer is fetched once.
                () if !known.insert(chunk.to_vec()) => &mut bytes.reused_chunks,
                () => &mut bytes.written,
            };
            *count += chunk.len() as u64;
        }
    }
    bytes
}

fn where_from(report: LayerBytes) -> LayerBytes {
    LayerBytes { fetched: 0, shared: 0, ..report }
}

prop_compose! {
    fn files()(files in proptest::collection::vec(
        (proptest::collection::vec(0..8_u8, 0..9), prop_oneof![Just(0_usize), any::<usize>()]),
        1..6,
    )) -> Files {
        files
    }
}

prop_compose! {
    fn layers()(
        chunk in prop_oneof![Just(4096_usize), Just(8192), Just(5000), Just(70_000), Just(300)],
        old in files(),
        new in files(),
        kept in proptest::collection::vec(any::<bool>(), 6),
    ) -> Layers {
        let kept = old.iter().zip(kept).filter(|(_, kept)| *kept).map(|(file, _)| file.clone());
        Layers { chunk, new: new.into_iter().chain(kept).collect(), old }
    }
}

/// A number that depends on the moment.
fn dice(seed: u64, count: u64) -> u64 {
    let mixed =
        (seed ^ count.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed >> 40
}

fn path_in(base: &Stage, candidate: &Candidate) -> PathBuf {
    base.dir.path().join("dest").join(candidate.path.as_path())
}

/// Opens the candidate's file, and does it or the base some harm: before, after, or never.
fn harm(number: u64, base: &Stage, candidate: &Candidate, trees: &LocalTrees) -> io::Result<File> {
    let path = path_in(base, candidate);
    let write = |offset, bytes: &[u8]| {
        let file = File::options().write(true).open(&path);
        file.and_then(|file| file.write_all_at(bytes, offset))
    };
    let opened = trees.open(candidate);
    // What can't be done any more was done before.
    drop(match number % 16 {
        0 => fs::remove_file(&path),
        1 => write(candidate.offset + candidate.length / 2, b"harm"),
        2 => File::options()
            .write(true)
            .open(&path)
            .and_then(|file| file.set_len(candidate.offset + 1)),
        3 => fs::write(&path, "another"),
        4 => fs::rename(&path, path.with_extension("gone")),
        5 => fs::remove_dir_all(base.dir.path().join("dest")),
        6 => return Ok(File::open("/dev/null").unwrap()),
        7 => return Ok(base.aside.try_clone().unwrap()),
        8 => return File::options().write(true).open(&path),
        9 => {
            let errno = [5, 28, 122, 24, 116, 2][usize::try_from(number / 16 % 6).unwrap()];
            return Err(io::Error::from_raw_os_error(errno));
        }
        10 => return File::open(base.dir.path().join("aside").join(chunked::aside::TOC)),
        _ => Ok(()),
    });
    if number.is_multiple_of(3) { trees.open(candidate) } else { opened }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn with_the_old_layer_at_hand_the_new_one_is_right_and_only_what_is_new_is_written(
        layers in layers(),
    ) {
        let (old, new) = (built(layers.chunk, &layers.old), built(layers.chunk, &layers.new));
        let tree = list_by_gnu_tar(&new.tar);
        let base = Stage::new();
        base.unpack(&old).unwrap();
        let is_shared = shares_extents(&base);
        for reuse in [Reuse::ReflinkOrCopy, Reuse::ReflinkOnly, Reuse::HardLink, Reuse::Never] {
            let stage = Stage::new();
            let report = stage.unpack_from(&new.source(), &new, reuse, &[&base]).unwrap().report;
            // Equal files may become one.
            let links = |tree: &[Found]| -> Vec<Found> {
                let of = |found: &Found| match reuse {
                    Reuse::HardLink => Found { same_as: String::new(), ..found.clone() },
                    _ => found.clone(),
                };
                tree.iter().map(of).collect()
            };
            assert_same(&links(&stage.list()), &links(&tree));
            let nothing_old = Layers { old: Files::new(), ..layers.clone() };
            let is_used = reuse != Reuse::Never && (reuse != Reuse::ReflinkOnly || is_shared);
            let expected = expected(if is_used { &layers } else { &nothing_old });
            // Of more than two files that begin alike two are remembered, and the one that
            // is equal may be another: then its only chunk is taken from them.
            let by_chunk = match layers.old.len() {
                0..=2 => 0,
                _ => expected.reused_files.saturating_sub(report.reused_files),
            };
            let alike = LayerBytes {
                reused_files: expected.reused_files - by_chunk,
                reused_chunks: expected.reused_chunks + by_chunk,
                ..expected
            };
            prop_assert_eq!(where_from(report), alike, "{:?}", reuse);
            if is_shared && reuse != Reuse::HardLink {
                let on_disk = shared_on_disk(&stage);
                // Extents are whole blocks, and a file ends anywhere in one.
                let ends = 4096 * layers.new.len() as u64;
                prop_assert!(report.shared <= on_disk, "{} of {on_disk}", report.shared);
                prop_assert!(on_disk < report.shared + ends, "{} of {on_disk}", report.shared);
            } else if reuse != Reuse::HardLink {
                prop_assert_eq!(report.shared, 0);
            }
        }
    }

    #[test]
    fn whatever_becomes_of_the_old_layer_at_whatever_moment_the_new_one_is_right(
        layers in layers(), seed in any::<u64>(), after in 0..10_u64,
    ) {
        let (old, new) = (built(layers.chunk, &layers.old), built(layers.chunk, &layers.new));
        let tree = list_by_gnu_tar(&new.tar);
        // Not by hard links: what is written to the old layer is then in the new one as well.
        for reuse in [Reuse::ReflinkOrCopy, Reuse::ReflinkOnly] {
            let (base, other, stage) = (Stage::new(), Stage::new(), Stage::new());
            base.unpack(&old).unwrap();
            other.unpack(&old).unwrap();
            let count = AtomicU64::new(0);
            let bases = [&base, &other];
            let proved = pull_through(&new, &stage, &bases, reuse, |candidate, trees| {
                let now = count.fetch_add(1, Ordering::Relaxed);
                if now < after {
                    return trees.open(candidate);
                }
                harm(dice(seed, now), bases[candidate.source as usize], candidate, trees)
            });
            assert_same(&stage.list(), &tree);
            let content: u64 = tree.iter().filter_map(|f| f.content.as_ref()).map(|c| c.len() as u64).sum();
            let LayerBytes { reused_files, reused_chunks, holes, written, .. } = proved.report;
            prop_assert_eq!(reused_files + reused_chunks + holes + written, content);
        }
    }
}

/// Whether the filesystem of a stage shares extents; asked of the kernel.
fn shares_extents(stage: &Stage) -> bool {
    let path = |name: &str| stage.dir.path().join(name);
    fs::write(path("probe"), [1; 4096]).unwrap();
    let clone = File::create(path("probe-clone")).unwrap();
    reflink::reflink(File::open(path("probe")).unwrap(), clone).is_ok()
}

/// What the filesystem says of all files of a layer.
fn shared_on_disk(stage: &Stage) -> u64 {
    rustix::fs::syncfs(&stage.dest).unwrap();
    let files = stage.list().into_iter().filter(|found| found.content.is_some());
    files
        .map(|found| reflink::shared_bytes(File::open(stage.path(&found.path)).unwrap()).unwrap())
        .sum()
}

/// A file of `length` bytes, cut as real images are, and the same with insertions.
fn with_insertions(length: usize, insertions: usize) -> [Vec<u8>; 2] {
    let old = random(length, 1);
    let mut new = Vec::new();
    // Half of what follows them is moved by whole blocks.
    let lengths = [4096, 1000, 4096, 3096].into_iter().cycle();
    for ((seed, more), piece) in (2..).zip(lengths).zip(old.chunks(length.div_ceil(insertions))) {
        let middle = piece.len() / 2;
        new.extend([&piece[..middle], &random(more, seed), &piece[middle..]].concat());
    }
    [old, new]
}

/// A blob by the crate's own writer, for which this is not the place to be doubted.
fn written(name: &str, content: Vec<u8>) -> Built {
    let tar = rooted(&[file(name, content)]);
    let mut blob = Vec::new();
    let options = chunked::write::WriteOptions::default();
    let written = chunked::write::write_blob(&tar[..], &mut blob, &options).unwrap();
    let annotations = written.annotations.into_iter().collect();
    Built { blob, annotations, diff_id: written.diff_id, tar, toc: vec![], tar_split: vec![] }
}

/// Compressed bytes of the chunks that are in the second TOC only.
fn missing(old: &Built, new: &Built) -> (u64, u64) {
    let toc = |built: &Built| {
        let stage = Stage::new();
        let limits = chunked::Limits::default();
        chunked::scan(&built.source(), &built.location(), stage.dirs(), &limits).unwrap().toc
    };
    let (old, new) = (toc(old), toc(new));
    let known: HashSet<_> = old.files().flat_map(|f| f.chunks()).filter_map(|c| c.digest).collect();
    let chunks = new.files().flat_map(|file| file.chunks());
    let lacking = chunks.filter(|chunk| !chunk.hole && !known.contains(&chunk.digest.unwrap()));
    (lacking.map(|chunk| chunk.end - chunk.offset).sum(), new.received())
}

#[test]
fn of_a_large_file_with_insertions_only_what_is_new_is_fetched() {
    let [old, new] = with_insertions(64 << 20, 50);
    let (old, new) = (written("old", old), written("new", new));
    let (base, stage) = (Stage::new(), Stage::new());
    base.unpack(&old).unwrap();
    let proved = stage.unpack_from(&new.source(), &new, Reuse::default(), &[&base]).unwrap();
    let (report, (missing, metadata)) = (proved.report, missing(&old, &new));
    let exact = missing + metadata;
    assert!(report.fetched * 10 <= exact * 11, "{} of {exact}", report.fetched);
    assert!(report.reused_chunks > 55 << 20);
    assert_same(&stage.list(), &list_by_gnu_tar(&new.tar));
    if !shares_extents(&stage) {
        assert_eq!(report.shared, 0);
        return;
    }
    let on_disk = shared_on_disk(&stage);
    assert!(report.shared <= on_disk && on_disk <= report.shared + 4096, "{on_disk}");
    assert!(report.shared > 25 << 20);
}

/// A file of chunks that lie in many others, at the end of each and at its start in turn.
fn scattered(sources: u8) -> Layers {
    let old = (1..=sources).map(|i| (vec![i, 100 + i], 7)).collect();
    let new = (1..=sources).chain(101..=100 + sources).rev().collect();
    Layers { chunk: 8192, old, new: vec![(new, 0)] }
}

#[test]
fn chunks_come_from_more_files_than_may_be_open_and_from_another_device() {
    let layers = scattered(60);
    let (old, new) = (built(layers.chunk, &layers.old), built(layers.chunk, &layers.new));
    let tree = list_by_gnu_tar(&new.tar);
    let (near, far) = (Stage::new(), Stage::below("/dev/shm"));
    for base in [near, far] {
        base.unpack(&old).unwrap();
        let stage = Stage::new();
        let proved = stage.unpack_from(&new.source(), &new, Reuse::default(), &[&base]).unwrap();
        assert_same(&stage.list(), &tree);
        assert_eq!((proved.report.reused_chunks, proved.report.written), (120 * 8192, 0));
    }
}

#[test]
fn a_toc_that_contradicts_itself_is_refused_alike_whatever_is_at_hand() {
    let old = built(4096, &vec![(vec![1, 2, 3], 0)]);
    let lie = |toc: &mut serde_json::Value| {
        let digest = storage_core::Digest::of(b"something else").to_string();
        toc["entries"][1]["digest"] = digest.into();
    };
    let recipe = Recipe { chunk: Some(4096), edit_toc: Box::new(lie), ..Recipe::default() };
    for blocks in [vec![3, 2, 1], vec![3, 2, 4]] {
        let new = recipe.build(rooted(&[file("f", content(4096, &(blocks, 0)))]));
        for reuse in [Reuse::ReflinkOrCopy, Reuse::Never] {
            let (base, stage) = (Stage::new(), Stage::new());
            base.unpack(&old).unwrap();
            let error = stage.unpack_from(&new.source(), &new, reuse, &[&base]).unwrap_err();
            let chunked::UnpackError::Apply(chunked::ApplyError::Content { path, .. }) = error
            else {
                panic!("{error:?}")
            };
            assert_eq!(path.to_string(), "f");
        }
    }
}
