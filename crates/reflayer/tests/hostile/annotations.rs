//! Annotations that lead to another place, or nowhere.

use testkit::forged::{Recipe, dir, file};

use crate::case::Verdict::{Accept, Whole};
use crate::case::{Case, forged};

fn honest() -> Recipe {
    Recipe::of([dir("d"), file("d/a", "content"), file("d/b", "other content")])
}

const TOC: &str = "manifest-position";
const SPLIT: &str = "tarsplit-position";

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = vec![
        forged("none", honest().without(""), Whole("no TOC")),
        forged("no_digest", honest().without("manifest-checksum"), Whole("no TOC")),
        forged("no_position", honest().without(TOC), Whole("manifest-position is missing")),
        forged("no_tar_split", honest().without(SPLIT), Whole("no tar-split")),
        forged("tar_split_at_zero", honest().annotation(SPLIT, "0:0:0"), Whole("no tar-split")),
        forged(
            "also_estargz",
            honest().annotation(
                "containerd.io/snapshot/stargz/toc.digest",
                &format!("sha256:{}", "0".repeat(64)),
            ),
            Whole("both"),
        ),
        forged(
            "another_digest",
            honest().annotation("manifest-checksum", &format!("sha256:{}", "0".repeat(64))),
            Whole("verify the TOC"),
        ),
        forged(
            "digest_that_is_none",
            honest().annotation("manifest-checksum", "sha256:0"),
            Whole("manifest-checksum"),
        ),
        forged(
            "digest_of_another_kind",
            honest().annotation("manifest-checksum", &format!("sha512:{}", "0".repeat(128))),
            Whole("manifest-checksum"),
        ),
        forged(
            "digest_that_is_a_path",
            honest().annotation("manifest-checksum", "sha256:../../../../file"),
            Whole("manifest-checksum"),
        ),
        forged(
            "deprecated_digest_that_lies",
            honest().annotation("tarsplit-checksum", "nonsense"),
            Accept,
        ),
        forged(
            "of_the_future",
            honest().annotation("io.github.containers.zstd-chunked.future", "1"),
            Accept,
        ),
        forged("another_kind_of_toc", honest().position(TOC, |n| n[3] = 2), Whole("kind 2")),
        forged("numbers_that_others_ignore", honest().position(TOC, |n| n.push(7)), Accept),
        forged("toc_and_tar_split_swapped", honest().annotation(TOC, "1:2:3:1"), Whole("")),
        forged(
            "uncompressed_length_lies",
            honest().position(TOC, |n| n[2] = 1).position(SPLIT, |n| n[2] = 1),
            Accept,
        ),
    ];
    type Lie = (&'static str, fn(&mut Vec<u64>));
    let lies: [Lie; 13] = [
        ("one_byte_later", |n| n[0] += 1),
        ("one_byte_earlier", |n| n[0] -= 1),
        ("one_byte_longer", |n| n[1] += 1),
        ("one_byte_shorter", |n| n[1] -= 1),
        ("of_no_length", |n| n[1] = 0),
        ("beyond_the_blob", |n| n[0] = 1 << 40),
        ("to_beyond_the_blob", |n| n[1] = 1 << 29),
        ("length_that_overflows", |n| n[1] = u64::MAX),
        ("offset_that_overflows", |n| n[0] = u64::MAX),
        ("both_that_overflow", |n| {
            n[0] = u64::MAX;
            n[1] = u64::MAX;
        }),
        ("uncompressed_beyond_all", |n| n[2] = u64::MAX),
        ("at_the_data", |n| n[0] = 1),
        ("all_of_the_blob", |n| {
            n[1] += n[0] - 1;
            n[0] = 1;
        }),
    ];
    for (key, what) in [(TOC, "toc"), (SPLIT, "tar_split")] {
        for (name, lie) in lies {
            cases.push(forged(format!("{what}_{name}"), honest().position(key, lie), Whole("")));
        }
        for text in [
            "",
            "1",
            "1:2",
            "a:b:c:d",
            "-1:2:3:1",
            "+1:2:3:1",
            "1 :2:3:1",
            "0x1:2:3:1",
            "18446744073709551616:2:3:1",
            "1:2:3:1:\u{0}",
            "٣:2:3:1",
        ] {
            cases.push(forged(
                format!("{what}_is_{text:?}"),
                honest().annotation(key, text),
                Whole(""),
            ));
        }
    }
    cases
}
