//! Tar streams that end early, late or twice, and blobs that are not what they should be.

use std::io::Write as _;

use testkit::forged::{Recipe, dir, end, file, raw};

use crate::case::Verdict::{Accept, OnlyByToc, Refuse, Tree, Whole, WholeTree};
use crate::case::{Case, Verdict, case, forged};

fn two() -> [testkit::forged::Item; 3] {
    [dir("d"), file("d/a", "content of a"), file("d/b", "content of b")]
}

fn of(
    items: impl IntoIterator<Item = testkit::forged::Item>,
    trailer: impl Into<Vec<u8>>,
) -> Recipe {
    Recipe::of(items).trailer(trailer)
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = vec![
        // Ends that are ends for everybody.
        forged("no_end", of(two(), []), Accept),
        forged("one_block_of_end", of(two(), [0; 512]), Accept),
        forged("long_end", of(two(), vec![0; 1 << 20]), Accept),
        forged(
            "bytes_behind_the_end",
            of(two(), [vec![0; 1024], b"more".repeat(1000)].concat()),
            Accept,
        ),
        forged("odd_length", of(two(), [vec![0; 1024], vec![0; 77]].concat()), Accept),
        case(
            "entries_behind_the_end",
            [file("a", "1"), end(), file("b", "2")],
            WholeTree("", &["f 644 0:0 a"]),
        ),
        case("nothing", [], Tree(&[])),
        forged("nothing_at_all", of([], []), Tree(&[])),
        // Ends that are none.
        case(
            "lone_zero_block",
            [file("a", "1"), raw([0; 512]), file("b", "2")],
            Refuse("lone zero block"),
        ),
        forged("cut_in_a_header", of(two(), [b'x'; 100]), Refuse("cut inside a header")),
        forged("no_header", of(two(), [b'x'; 512]), Refuse("wrong checksum")),
        forged("cut_in_a_file", of([file("a", "1").size(600)], []), Refuse("")),
        case("wrong_sum", [file("a", "1").patch(148, "0000000")], Refuse("wrong checksum")),
        case("sum_that_is_none", [file("a", "1").patch(148, "zzzzzzz")], Refuse("wrong checksum")),
        // Compressed in other ways.
        forged("plain_tar", Recipe::of(two()).as_blob("tar", <[u8]>::to_vec), Whole("no TOC")),
        forged("gzip", Recipe::of(two()).as_blob("tar+gzip", gzip), Whole("no TOC")),
        forged(
            "gzip_of_two_members",
            Recipe::of(two())
                .as_blob("tar+gzip", |tar| [gzip(&tar[..700]), gzip(&tar[700..])].concat()),
            Whole("no TOC"),
        ),
        forged(
            "gzip_with_more_behind",
            Recipe::of(two()).as_blob("tar+gzip", |tar| [gzip(tar), b"more".to_vec()].concat()),
            Refuse(""),
        ),
        forged(
            "gzip_that_is_cut",
            Recipe::of(two()).as_blob("tar+gzip", |tar| {
                let mut blob = gzip(tar);
                blob.truncate(blob.len() - 9);
                blob
            }),
            Refuse(""),
        ),
        forged(
            "gzip_with_a_wrong_sum",
            Recipe::of(two()).as_blob("tar+gzip", |tar| {
                let mut blob = gzip(tar);
                let at = blob.len() - 6;
                blob[at] ^= 1;
                blob
            }),
            Refuse(""),
        ),
        forged("gzip_said_to_be_plain", Recipe::of(two()).as_blob("tar", gzip), Refuse("")),
        forged(
            "plain_said_to_be_gzip",
            Recipe::of(two()).as_blob("tar+gzip", <[u8]>::to_vec),
            Refuse(""),
        ),
        forged(
            "zstd_of_many_frames",
            Recipe::of(two()).as_blob("tar+zstd", |tar| tar.chunks(100).flat_map(zstd).collect()),
            Whole("no TOC"),
        ),
        forged(
            "zstd_that_is_cut",
            Recipe::of(two()).as_blob("tar+zstd", |tar| {
                let mut blob = zstd(tar);
                blob.pop();
                blob
            }),
            Refuse(""),
        ),
        forged(
            "zstd_with_more_behind",
            Recipe::of(two()).as_blob("tar+zstd", |tar| [zstd(tar), b"more".to_vec()].concat()),
            Refuse(""),
        ),
        forged("empty_blob", Recipe::of(two()).as_blob("tar+zstd", |_| Vec::new()), Refuse("")),
        forged(
            "media_type_of_the_future",
            Recipe::of(two()).as_blob("tar+brotli", <[u8]>::to_vec),
            Refuse(""),
        ),
        // The image says something else of the blob.
        forged(
            "another_diff_id",
            Recipe::of(two()).last(|layer| layer.diff_id = "0".repeat(64)),
            Refuse("digest"),
        ),
        forged(
            "diff_id_that_is_none",
            Recipe::of(two()).last(|layer| layer.diff_id = "0".repeat(63)),
            Refuse(""),
        ),
        forged(
            "diff_id_that_is_a_path",
            Recipe::of(two()).last(|layer| layer.diff_id = "../../../../../../../file".into()),
            Refuse(""),
        ),
        forged(
            "diff_id_in_capitals",
            Recipe::of(two()).last(|layer| layer.diff_id.make_ascii_uppercase()),
            Refuse(""),
        ),
        forged("larger_than_it_is", Recipe::of(two()).last(|layer| layer.size += 1), Refuse("")),
        forged("smaller_than_it_is", Recipe::of(two()).last(|layer| layer.size -= 1), Refuse("")),
        forged("of_no_size", Recipe::of(two()).last(|layer| layer.size = 0), Refuse("")),
        forged(
            "of_endless_size",
            Recipe::of(two()).last(|layer| layer.size = u64::MAX),
            Refuse(""),
        ),
        forged(
            "another_digest",
            Recipe::of(two())
                .as_blob("tar", <[u8]>::to_vec)
                .last(|layer| layer.digest = "0".repeat(64)),
            Refuse("digest"),
        ),
        // Data that is broken where nobody looks who goes by the TOC.
        forged(
            "first_frame_is_broken",
            Recipe::of(two()).data(|data| data[8] ^= 0xff),
            ONLY_BY_TOC,
        ),
        forged(
            "last_frame_is_missing",
            Recipe::of(two()).data(|data| {
                let at = last_frame(data);
                data.truncate(at);
            }),
            ONLY_BY_TOC,
        ),
    ];
    for at in [20, 60] {
        let recipe = Recipe::of([file("a", noise())]).data(move |data| {
            let at = data.len() * at / 100;
            data[at] ^= 0x55;
        });
        cases.push(forged(format!("data_is_broken_at_{at}_percent"), recipe, Refuse("")));
    }
    cases
}

const ONLY_BY_TOC: Verdict = OnlyByToc("");

fn noise() -> Vec<u8> {
    testkit::tree::noise(5000, 1)
}

/// Where the frame begins that has the end of the tar.
fn last_frame(data: &[u8]) -> usize {
    let magic = [0x28, 0xb5, 0x2f, 0xfd];
    data.windows(4).rposition(|window| window == magic).expect("there are frames")
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("memory takes everything")
}

pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).expect("memory takes everything")
}
