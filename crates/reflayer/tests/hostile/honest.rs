//! Layers that are odd and honest: each must be let in, by its TOC where it has one.

use testkit::forged::{
    Item, Recipe, block_device, char_device, dir, fifo, file, hard_link, symlink,
};
use testkit::tree::noise;

use crate::case::Verdict::{Accept, Tree, Whole};
use crate::case::{Case, case, forged};

fn everything() -> Vec<Item> {
    vec![
        dir("./").mode(0o755).xattr("user.top", "1"),
        dir("./etc/"),
        file("./etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"),
        file("./etc/shadow", "root:*:1:::::\n").mode(0o640).owner(0, 42),
        dir("./usr/"),
        dir("./usr/bin/"),
        file("./usr/bin/su", noise(3000, 1)).mode(0o4755),
        hard_link("./usr/bin/sg", "./usr/bin/su").mode(0o4755),
        symlink("./bin", "usr/bin"),
        dir("./tmp/").mode(0o1777),
        dir("./dev/"),
        char_device("./dev/null", 1, 3).mode(0o666),
        block_device("./dev/sda", 8, 0).mode(0o660),
        fifo("./dev/initctl").mode(0o600),
        file("./empty", ""),
        file("./.wh.removed", "").mode(0),
        dir("./opaque"),
        file("./opaque/.wh..wh..opq", ""),
    ]
}

pub(crate) fn cases() -> Vec<Case> {
    let reversed = [dir("a"), dir("a/b"), file("a/b/c", "1")].into_iter().rev();
    vec![
        case("everything", everything(), Accept),
        forged("everything_in_chunks", Recipe::of(everything()).chunks(700), Accept),
        forged(
            "everything_in_gzip",
            Recipe::of(everything()).as_blob("tar+gzip", crate::streams::gzip),
            Whole("no TOC"),
        ),
        case("children_before_parents", reversed, Accept),
        case("only_directories", [dir("a"), dir("b/"), dir("c")], Accept),
        case("only_a_hole", [file("zeros", vec![0; 100_000])], Accept),
        case("only_a_root", [dir("./")], Accept),
        case("one_empty_file", [file("empty", "")], Accept),
        case(
            "all_that_a_file_may_be_called",
            (1..=255_u8)
                .filter(|byte| !matches!(byte, b'/' | b'.') && byte.is_ascii())
                .map(|byte| file([byte], [byte])),
            Accept,
        ),
        case(
            "equal_files",
            (0..50).map(|number| file(format!("f{number}"), noise(2000, 9))),
            Accept,
        ),
        case(
            "a_thousand_links",
            [file("f", "1")]
                .into_iter()
                .chain((0..1000).map(|number| hard_link(format!("h{number}"), "f"))),
            Accept,
        ),
        case(
            "old_and_new",
            [file("old", "1").mtime(1), file("new", "2").mtime(4_000_000_000)],
            Accept,
        ),
        case("unreadable", [dir("d").mode(0), file("d/f", "1").mode(0)], Accept),
        case(
            "read_only_directory",
            [dir("d").mode(0o555), file("d/f", "1"), dir("d/e").mode(0o500)],
            Accept,
        ),
        case(
            "setgid_directory",
            [
                dir("d").mode(0o2775).owner(5, 6),
                file("d/f", "1").owner(7, 8),
                dir("d/e").owner(9, 10),
            ],
            Accept,
        ),
        case(
            "long_names",
            [
                file("n".repeat(200), "1"),
                symlink("s".repeat(255), "t".repeat(300)),
                dir("d".repeat(101)),
            ],
            Accept,
        ),
        case(
            "deep_names",
            [file("a/b/c/d/e/f/g", "1")],
            Tree(&[
                "d 755 0:0 a",
                "d 755 0:0 a/b",
                "d 755 0:0 a/b/c",
                "d 755 0:0 a/b/c/d",
                "d 755 0:0 a/b/c/d/e",
                "d 755 0:0 a/b/c/d/e/f",
                "f 644 0:0 a/b/c/d/e/f/g",
            ]),
        ),
        case("large_owners", [file("f", "1").owner(3_000_000, 4_000_000_000)], Accept),
        case(
            "exactly_a_block",
            [file("f", noise(512, 1)), file("g", noise(1024, 2)), file("h", noise(513, 3))],
            Accept,
        ),
        case("two_megabytes", [file("f", noise(2 << 20, 5))], Accept),
    ]
}
