//! A few bytes that become many. How much memory they may take is measured by the
//! scenarios; here they have to come to the right end, and soon.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;
use testkit::forged::{Recipe, dir, end, file, symlink};
use testkit::tried::tried;

use crate::case::Verdict::{Accept, OnlyByToc, Refuse, Tree, Whole};
use crate::case::{Case, case, forged};
use crate::streams::{gzip, zstd};

const MIB: usize = 1 << 20;

pub(crate) const FAMILY: &str = "r20_bombs";

static HELD: AtomicU64 = AtomicU64::new(0);
static LARGEST: AtomicU64 = AtomicU64::new(0);

/// Keeps in mind that a bomb came to the right end, and what its stores have of the disk.
pub(crate) fn held(stores: &[&Path]) {
    HELD.fetch_add(1, Ordering::Relaxed);
    for store in stores {
        LARGEST.fetch_max(on_disk(store), Ordering::Relaxed);
    }
}

/// Bytes of the disk that a file has, or a directory and all in it.
fn on_disk(path: &Path) -> u64 {
    let own = fs::symlink_metadata(path).map_or(0, |metadata| metadata.blocks() * 512);
    let inside = fs::read_dir(path).into_iter().flatten().flatten();
    own + inside.map(|entry| on_disk(&entry.path())).sum::<u64>()
}

/// Tells what was tried, if these were.
pub(crate) fn tell() {
    let held = HELD.load(Ordering::Relaxed);
    if held > 0 {
        tried("memory", held, "bombs by their TOCs and whole").unwrap();
        let largest = LARGEST.load(Ordering::Relaxed) / 1024;
        tried("memory", largest, "KiB of disk at the most").unwrap();
    }
}

fn honest() -> Recipe {
    Recipe::of([dir("d"), file("d/a", "content")])
}

pub(crate) fn cases() -> Vec<Case> {
    let deep: Vec<_> = (1..=600).map(|depth| dir("d/".repeat(depth))).collect();
    vec![
        forged(
            "toc_of_80_megabytes_of_nothing",
            honest().toc_bytes(|toc| toc.extend(vec![b' '; 80 * MIB])),
            Whole("larger than"),
        ),
        forged(
            "toc_of_a_name_without_end",
            honest().toc(|toc| toc[0]["name"] = "x".repeat(20 * MIB).into()),
            Whole(""),
        ),
        forged(
            "toc_of_a_field_without_end",
            honest().toc(|toc| toc[0]["other"] = "x".repeat(20 * MIB).into()),
            Whole("too long"),
        ),
        forged(
            "toc_of_a_long_number",
            honest().toc_bytes(|toc| {
                crate::toc::replace_bytes(
                    toc,
                    b"\"mode\":493",
                    &[&b"\"mode\":"[..], &vec![b'1'; MIB]].concat(),
                )
            }),
            Whole(""),
        ),
        forged(
            "tar_split_of_a_line_without_end",
            honest().split(|lines| lines[0]["payload"] = "A".repeat(20 * MIB).into()),
            Whole(""),
        ),
        forged(
            "bomb_behind_the_data",
            honest().data(|data| data.extend(zstd(&vec![0; 16 * MIB]))),
            OnlyByToc("digest"),
        ),
        forged(
            "content_that_is_a_bomb",
            honest().data(|data| *data = zstd(&vec![0; 16 * MIB])).toc(|toc| {
                toc[1]["offset"] = 0.into();
                toc[1]["endOffset"] = zstd(&vec![0; 16 * MIB]).len().into();
            }),
            Refuse("has digest"),
        ),
        forged(
            "frame_larger_than_its_file",
            Recipe::of([file("f", "content")]).toc(|toc| toc[0]["offset"] = 0.into()),
            Whole(""),
        ),
        forged(
            "zeros_behind_the_end",
            Recipe::of([file("f", "1")]).trailer(vec![0; 16 * MIB]),
            Whole(""),
        ),
        forged(
            "gzip_of_zeros",
            Recipe::of([file("f", "1")]).trailer(vec![0; 4 * MIB]).as_blob("tar+gzip", gzip),
            Whole("no TOC"),
        ),
        forged(
            "frames_of_nothing",
            honest().data(|data| data.splice(0..0, zstd(b"").repeat(10_000)).for_each(drop)).toc(
                |toc| {
                    for key in ["offset", "endOffset"] {
                        toc[1][key] = json!(
                            toc[1][key].as_u64().unwrap_or(0) + 10_000 * zstd(b"").len() as u64
                        );
                    }
                },
            ),
            Accept,
        ),
        forged(
            "hole_of_a_terabyte",
            Recipe::of([file("f", "1")]).toc(|toc| {
                toc[0]["size"] = json!(1_u64 << 40);
                toc[0]["chunkType"] = "zeros".into();
            }),
            Whole("larger than its blob"),
        ),
        forged(
            "size_of_a_terabyte_everywhere",
            Recipe::of([file("f", "1").size(1 << 40)])
                .split(|lines| lines[1]["size"] = json!(1_u64 << 40))
                .toc(|toc| toc[0]["chunkType"] = "zeros".into()),
            Refuse("cut inside a file"),
        ),
        case("directories_600_deep", deep, Accept),
        case("many_entries", (0..3000).map(|number| file(format!("f{number}"), "")), Accept),
        case("many_ends", (0..100).map(|_| end()).chain([file("f", "1")]), Whole("")),
        case(
            "many_links_in_a_row",
            (0..50)
                .map(|number| symlink(format!("l{number}"), format!("l{}", number + 1)))
                .chain([dir("l50"), file("l0/x", "1")]),
            Refuse("open the parent directory"),
        ),
        forged(
            "xattrs_by_the_thousand",
            Recipe::of([(0..1000)
                .fold(file("f", "1"), |item, key| item.xattr(format!("com.example.{key}"), "v"))]),
            Tree(&["f 644 0:0 f"]),
        ),
    ]
}
