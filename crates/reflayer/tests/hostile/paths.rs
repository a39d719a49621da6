//! Names that lead elsewhere, or nowhere.

use testkit::forged::{Item, Recipe, char_device, dir, fifo, file, hard_link, symlink};

use crate::canary::out;
use crate::case::Verdict::{Accept, Refuse, Tree, Whole, WholeTree};
use crate::case::{Case, Verdict, case, forged};

const OUTSIDE: Verdict = Refuse("leaves the layer's root");
const TOO_LONG: Verdict = Refuse("too long");

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = vec![
        // Absolute names are names below the root.
        case("absolute", [file("/x", "1")], Tree(&["f 644 0:0 x"])),
        case("many_slashes", [dir("d/"), file("//d///x", "1")], Accept),
        case("outside_by_its_full_name", by_full_name(), Accept),
        case("dots_inside", [dir("d"), file("./d/./x", "1")], Accept),
        case("up_and_down", [dir("d"), file("d/../x", "1")], Tree(&["d 755 0:0 d", "f 644 0:0 x"])),
        case("up_from_nothing", [file("d/../x", "1")], Tree(&["f 644 0:0 x"])),
        case("three_dots", [file("...", "1"), dir("..a"), file("..a/b..", "2")], Accept),
        case("backslashes", [file("..\\..\\x", "1"), file("C:\\x", "2")], Accept),
        case(
            "parents_without_entries",
            [file("a/b/x", "1")],
            Tree(&["d 755 0:0 a", "d 755 0:0 a/b", "f 644 0:0 a/b/x"]),
        ),
        // The root.
        case(
            "root_by_dot",
            [dir(".").mode(0o750).owner(1, 2), file("x", "1")],
            Tree(&["d 750 1:2 .", "f 644 0:0 x"]),
        ),
        case("root_by_slash", [dir("/").mode(0o711)], Tree(&["d 711 0:0 ."])),
        case("root_by_dots", [dir("a/..").mode(0o711)], Tree(&["d 711 0:0 ."])),
        case(
            "root_twice",
            [dir("./").mode(0o700), dir("./").mode(0o711)],
            WholeTree("name of another", &["d 711 0:0 ."]),
        ),
        case("root_is_a_file", [file("./", "1")], Refuse("root is not a directory")),
        case("root_is_an_empty_file", [file(".", "")], Refuse("root is not a directory")),
        case("root_is_a_link", [symlink("./", out())], Refuse("root is not a directory")),
        case("root_is_a_device", [char_device("/", 1, 3)], Refuse("root is not a directory")),
        case("root_is_a_pipe", [fifo("./.")], Refuse("root is not a directory")),
        case(
            "root_is_a_hard_link",
            [file("x", "1"), hard_link(".", "x")],
            Refuse("root is not a directory"),
        ),
        case("no_name", [file("", "1")], Refuse("without a name")),
        // What no name may be.
        case(
            "name_with_zero_byte",
            [file("x", "1").record("path", b"a\0b")],
            Refuse("broken record"),
        ),
        // Too long for a name or a path.
        case("part_of_255", [file("p".repeat(255), "1")], Accept),
        case("part_of_256", [file("p".repeat(256), "1")], TOO_LONG),
        case(
            "part_of_256_in_the_middle",
            [file(format!("a/{}/b", "p".repeat(256)), "1")],
            TOO_LONG,
        ),
        case("part_of_256_by_gnu", [file("p".repeat(256), "1").gnu()], TOO_LONG),
        case("path_of_4096", [file("p/".repeat(2048) + "q", "1")], TOO_LONG),
        case(
            "path_of_4095_that_is_short",
            [file("./".repeat(3000) + "q", "1")],
            Tree(&["f 644 0:0 q"]),
        ),
        case(
            "path_of_70000",
            [file("./".repeat(35_000) + "q", "1")],
            WholeTree("too long", &["f 644 0:0 q"]),
        ),
        case(
            "long_by_gnu",
            [
                dir("d".repeat(90)),
                file(format!("{}/{}", "d".repeat(90), "x".repeat(90)), "1").gnu(),
            ],
            Accept,
        ),
        case("long_by_prefix", [dir("d"), file("x", "1").patch(345, "d").called("d/x")], Accept),
        case("prefix_leaves", [file("x", "1").patch(345, "../..")], OUTSIDE),
        // What is a file is no directory for others.
        case(
            "below_a_file",
            [file("f", "1"), file("f/x", "2")],
            Refuse("open the parent directory of f/x"),
        ),
        case(
            "below_an_empty_file",
            [file("f", ""), dir("f/d")],
            Refuse("open the parent directory of f/d"),
        ),
        case(
            "below_a_pipe",
            [fifo("p"), file("p/x", "1")],
            Refuse("open the parent directory of p/x"),
        ),
        case(
            "file_becomes_directory",
            [file("f", "1"), dir("f"), file("f/x", "2")],
            Whole("name of another"),
        ),
        case(
            "directory_becomes_file",
            [dir("d"), file("d/x", "1"), file("d", "2")],
            WholeTree("name of another", &["f 644 0:0 d"]),
        ),
        case(
            "same_name_twice",
            [file("f", "1"), file("f", "22").mode(0o600)],
            Whole("name of another"),
        ),
        case(
            "same_name_in_two_spellings",
            [file("f", "1"), file("./f", "22")],
            Whole("name of another"),
        ),
        case(
            "same_directory_twice",
            [dir("d"), file("d/x", "1"), dir("d/").mode(0o700)],
            Whole("name of another"),
        ),
        case("file_with_a_slash_at_its_end", [file("f/", "1")], Tree(&["f 644 0:0 f"])),
    ];
    for name in [
        "..",
        "../",
        "../x",
        "/..",
        "/../x",
        "./../x",
        "a/../../x",
        "a/b/../../../x",
        "../a/../../x",
    ] {
        cases.push(case(format!("leaves_{name:?}"), [dir("a"), file(name, "1")], OUTSIDE));
        cases.push(case(format!("directory_leaves_{name:?}"), [dir(name)], OUTSIDE));
        let by_record = file("x", "1").record("path", name);
        cases.push(case(format!("leaves_by_pax_{name:?}"), [by_record], OUTSIDE));
    }
    for up in 1..=8 {
        let name = "../".repeat(up) + "file";
        cases.push(case(format!("up_{up}"), [file(name, "1")], OUTSIDE));
    }
    // What is odd only to look at.
    let odd = [
        "-rf",
        "a b",
        "a\nb",
        "a\tb",
        "\u{1b}[31m",
        "'",
        "\"",
        "$(id)",
        "`id`",
        "*",
        "~",
        "é",
        "日本",
        "\u{202e}x",
        "a:b",
        "#",
        "\u{7f}",
    ];
    for name in odd {
        cases.push(case(format!("odd_{name:?}"), [file(name, "1")], Accept));
    }
    for bytes in [&b"\xff"[..], b"caf\xe9", b"\xc0\xaf", b"\xed\xa0\x80", b"d/\xfe\xff"] {
        // A TOC has no word for it.
        cases.push(case(
            format!("not_text_{bytes:x?}"),
            [dir("d"), file(bytes, "1")],
            Whole("name"),
        ));
    }
    let latin = Recipe::of([file(b"\xff", "1")]).toc(|toc| toc[0]["name"] = "\u{fffd}".into());
    cases.push(forged("not_text_replaced_in_the_toc", latin, Whole("name")));
    cases
}

/// A file by the name of the canary, and all directories above it.
fn by_full_name() -> Vec<Item> {
    let path = format!("{}/file", out());
    let above = path.match_indices('/').skip(1).map(|(at, _)| dir(&path[..at]));
    above.chain([file(&path, "1")]).collect()
}
