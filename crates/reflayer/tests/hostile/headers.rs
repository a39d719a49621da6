//! Header blocks with odd types and fields, and tar-splits that do not fit.

use serde_json::json;
use testkit::forged::{Recipe, dir, file, raw, symlink};

use crate::case::Verdict::{Accept, Refuse, Tree, Whole};
use crate::case::{Case, case, forged};

fn honest() -> Recipe {
    Recipe::of([dir("d"), file("d/a", "content"), symlink("l", "d"), file("e", "")])
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = vec![
        // Types.
        case("type_zero_is_a_file", [file("a", "1").flag(0)], Accept),
        case("type_zero_with_a_slash_is_a_directory", [dir("d/").flag(0)], Whole("type")),
        case("type_seven_is_a_file", [file("a", "1").flag(b'7')], Accept),
        case("sparse_file", [file("a", "1").flag(b'S').gnu()], Refuse("GNU sparse")),
        case(
            "sparse_by_pax",
            [file("a", "1").record("GNU.sparse.major", "1")],
            Refuse("GNU sparse"),
        ),
        case(
            "sparse_of_another_name",
            [file("a", "1").record("GNU.sparse.name", "../../x")],
            Refuse("GNU sparse"),
        ),
        // Forms of headers.
        case("header_of_gnu", [file("a", "1").gnu(), dir("d").gnu()], Accept),
        case(
            "header_of_v7",
            [file("a", "1").patch(257, [0; 8]), dir("d").patch(257, [0; 8])],
            Accept,
        ),
        case("header_of_no_version", [file("a", "1").patch(263, "  ")], Accept),
        case("directory_with_a_size", [dir("d").size(512), file("e", "2")], Accept),
        case("symlink_with_a_size", [symlink("l", "t").size(5), file("e", "2")], Accept),
        case(
            "names_of_owners",
            [file("a", "1").patch(265, "root").patch(297, "root").owner(7, 8)],
            Accept,
        ),
        case(
            "extension_without_an_entry",
            [file("a", "1"), raw(long_name(b'L', b"b\0"))],
            Refuse("without an entry"),
        ),
        case(
            "long_name_and_path",
            [
                raw(long_name(b'L', b"by-gnu\0")),
                file("in-header", "1").record("path", "by-pax").called("by-gnu"),
            ],
            Tree(&["f 644 0:0 by-gnu"]),
        ),
        case(
            "long_name_without_end",
            [raw(long_name(b'L', b"name")), file("x", "1").called("name")],
            Accept,
        ),
        case(
            "empty_long_name",
            [raw(long_name(b'L', b"\0")), file("x", "1")],
            Tree(&["f 644 0:0 x"]),
        ),
        case(
            "long_name_of_two_megabytes",
            [raw(long_name(b'L', &vec![b'x'; 2 << 20])), file("x", "1")],
            Refuse("bytes of extension headers"),
        ),
        // The tar-split beside the TOC.
        split("name_in_tar_split", "", |lines| lines[1]["name"] = "x".into()),
        split("size_in_tar_split", "", |lines| lines[3]["size"] = 8.into()),
        split("huge_size_in_tar_split", "", |lines| lines[3]["size"] = json!(1_u64 << 62)),
        split("negative_size_in_tar_split", "", |lines| lines[3]["size"] = (-1).into()),
        split("sum_in_tar_split", "", |lines| lines[3]["payload"] = "AAAAAAAAAAA=".into()),
        split("no_sum_in_tar_split", "", |lines| lines[3]["payload"] = json!(null)),
        split("type_in_tar_split", "", |lines| lines[3]["type"] = 3.into()),
        split("position_in_tar_split", "", |lines| lines[3]["position"] = 99.into()),
        split("header_in_tar_split", "", |lines| lines[0]["payload"] = "AAAA".into()),
        split("header_that_is_not_base64", "", |lines| lines[0]["payload"] = "!".into()),
        split("lines_swapped", "", |lines| lines.swap(0, 2)),
        split("line_twice", "", |lines| {
            let again = lines[3].clone();
            lines.insert(3, again);
        }),
        split("line_missing", "", |lines| drop(lines.remove(2))),
        split("only_its_end", "", |lines| drop(lines.drain(..6))),
        split("empty", "", Vec::clear),
        split("number", "", |lines| lines[0] = 1.into()),
        split("two_names", "", |lines| lines[3]["name_raw"] = "ZC9hAA==".into()),
        forged(
            "tar_split_is_not_json",
            honest().split_bytes(|bytes| bytes.truncate(50)),
            Whole(""),
        ),
        forged(
            "tar_split_is_cut",
            honest().split_bytes(|bytes| bytes.truncate(bytes.len() - 100)),
            Whole(""),
        ),
        forged(
            "tar_split_has_more_tar",
            honest()
                .split(|lines| lines.push(json!({"type": 2, "payload": "AAAA", "position": 9}))),
            Whole(""),
        ),
        forged(
            "tar_split_has_another_end",
            honest().split(|lines| lines[8]["payload"] = "AAAA".into()),
            Whole(""),
        ),
    ];
    for flag in [b'D', b'M', b'V', b'N', b'8', b'9', b'A', b'X', b'Z', 0xff] {
        cases.push(case(
            format!("type_{flag:x}"),
            [file("a", "1").flag(flag)],
            Refuse("unsupported tar type"),
        ));
    }
    cases
}

fn split(name: &str, reason: &'static str, edit: fn(&mut Vec<serde_json::Value>)) -> Case {
    forged(name, honest().split(edit), Whole(reason))
}

/// An extension in the way of GNU tar, made by hand.
fn long_name(flag: u8, content: &[u8]) -> Vec<u8> {
    let layer = Recipe::of([file("././@LongLink", content).flag(flag).gnu()]).trailer([]).build();
    layer.tar
}
