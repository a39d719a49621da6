//! PAX records: those that win over the header, and those that are none.

use testkit::forged::{Recipe, dir, file, global, hard_link, raw, symlink};

use crate::case::Verdict::{Accept, Refuse, Tree, Whole, WholeTree};
use crate::case::{Case, case, forged};

const BROKEN: crate::case::Verdict = Refuse("broken record");

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = vec![
        // What stands in a record counts, not what the header says.
        told("path", file("header", "1").record("path", "record").called("record"), |_| {}),
        told(
            "owner",
            file("f", "1").owner(5, 6).record("uid", "70000").record("gid", "80000"),
            |e| {
                e["uid"] = 70_000.into();
                e["gid"] = 80_000.into();
            },
        ),
        told("time", file("f", "1").record("mtime", "1600000000.25"), |e| {
            e["modtime"] = "2020-09-13T12:26:40.25Z".into()
        }),
        told("time_before_1970", file("f", "1").record("mtime", "-1.5"), |e| {
            e["modtime"] = "1969-12-31T23:59:58.5Z".into()
        }),
        told("linkpath", symlink("l", "header").record("linkpath", "record"), |e| {
            e["linkName"] = "record".into()
        }),
        told("size", file("f", "1").size(5).record("size", "1"), |e| e["size"] = 1.into()),
        told("size_in_header_is_nonsense", file("f", "1").size(1 << 40).record("size", "1"), |e| {
            e["size"] = 1.into()
        }),
        case(
            "path_of_which_the_toc_says_the_header",
            [file("header", "1").record("path", "record")],
            Whole("not what its header says"),
        ),
        case(
            "owner_of_which_the_toc_says_the_header",
            [file("f", "1").owner(5, 6).record("uid", "0")],
            Whole("owner"),
        ),
        case(
            "time_of_which_the_toc_says_the_header",
            [file("f", "1").record("mtime", "5")],
            Whole("times"),
        ),
        case(
            "access_time_that_the_toc_leaves_out",
            [file("f", "1").record("atime", "1600000000")],
            Whole("times"),
        ),
        case(
            "xattr_that_the_toc_leaves_out",
            [file("f", "1").record("SCHILY.xattr.user.a", "1")],
            Whole("xattrs"),
        ),
        case("setuid_cannot_come_by_pax", [file("f", "1").record("mode", "4755")], Accept),
        // Twice.
        told(
            "path_twice",
            file("a", "1").record("path", "b").record("path", "c").called("c"),
            |_| {},
        ),
        case(
            "path_taken_back",
            [file("a", "1").record("path", "b").record("path", "")],
            Tree(&["f 644 0:0 a"]),
        ),
        told("size_twice", file("f", "1").record("size", "9").record("size", "1"), |_| {}),
        told(
            "xattr_twice",
            file("f", "1").record("SCHILY.xattr.user.a", "1").record("SCHILY.xattr.user.a", "2"),
            |e| e["xattrs"] = serde_json::json!({"user.a": "Mg=="}),
        ),
        case(
            "two_headers",
            [
                raw(header(b"12 path=one\n")),
                raw(header(b"12 path=two\n")),
                file("f", "1").called("two"),
            ],
            Tree(&["f 644 0:0 two"]),
        ),
        // Records that nobody needs.
        case("empty_header", [raw(header(b"")), file("f", "1")], Accept),
        case("comment", [file("f", "1").record("comment", "anything \n at = all")], Accept),
        case(
            "names_of_owners",
            [file("f", "1").record("uname", "root").record("gname", "wheel")],
            Accept,
        ),
        case("key_of_others", [file("f", "1").record("VENDOR.key", b"\0\xff")], Accept),
        case("acl_of_star", [file("f", "1").record("SCHILY.acl.access", "user::rwx")], Accept),
        case(
            "libarchive_xattr",
            [file("f", "1").record("LIBARCHIVE.xattr.user.a", "MQ==")],
            Accept,
        ),
        case(
            "device_numbers_of_schily",
            [file("f", "1").record("SCHILY.dev", "1").record("SCHILY.ino", "2")],
            Accept,
        ),
        // Broken.
        case("length_of_zero", [file("f", "1").raw_records("0 a=b\n")], BROKEN),
        case("length_too_short", [file("f", "1").raw_records("5 a=b\n")], BROKEN),
        case("length_too_long", [file("f", "1").raw_records("99 a=b\n")], BROKEN),
        case(
            "length_without_end",
            [file("f", "1").raw_records("99999999999999999999999 a=b\n")],
            BROKEN,
        ),
        case("length_is_negative", [file("f", "1").raw_records("-6 a=b\n")], BROKEN),
        case("length_in_hexadecimals", [file("f", "1").raw_records("0x8 a=b\n")], BROKEN),
        case("no_length", [file("f", "1").raw_records(" a=b\n")], BROKEN),
        case("no_equals", [file("f", "1").raw_records("5 ab\n")], BROKEN),
        case("no_key", [file("f", "1").raw_records("5 =b\n")], BROKEN),
        case("no_line_end", [file("f", "1").raw_records("6 a=bc")], BROKEN),
        case("zeros_at_the_end", [file("f", "1").raw_records("6 a=b\n\0\0")], BROKEN),
        case("zero_byte_in_a_key", [file("f", "1").record("a\0b", "c")], BROKEN),
        case("zero_byte_in_a_path", [file("f", "1").record("path", "f\0../../x")], BROKEN),
        case("zero_byte_in_a_linkpath", [symlink("l", "t").record("linkpath", "t\0u")], BROKEN),
        case(
            "zero_byte_in_a_hard_link",
            [file("f", "1"), hard_link("l", "f").record("linkpath", "f\0u")],
            BROKEN,
        ),
        case(
            "zero_byte_in_the_key_of_an_xattr",
            [file("f", "1").record("SCHILY.xattr.user.a\0b", "c")],
            BROKEN,
        ),
        case("xattr_without_a_name", [file("f", "1").record("SCHILY.xattr.", "c")], BROKEN),
        case(
            "three_megabytes_of_records",
            [file("f", "1").record("comment", "x".repeat(3 << 20))],
            Refuse("bytes of extension headers"),
        ),
        // For all that follows: nobody obeys, as in Go.
        case(
            "global",
            [global(&[("comment", "0123456789abcdef")]), file("f", "1")],
            Tree(&["f 644 0:0 f"]),
        ),
        case(
            "global_path",
            [
                global(&[("path", "../../x"), ("uid", "0"), ("size", "9")]),
                file("f", "1").owner(5, 6),
            ],
            Tree(&["f 644 5:6 f"]),
        ),
        case(
            "many_globals",
            (0..20).map(|_| global(&[("uid", "0")])).chain([dir("d")]),
            WholeTree("", &["d 755 0:0 d"]),
        ),
        case("global_that_is_broken", [global(&[]).raw_records("0 a"), file("f", "1")], BROKEN),
        case(
            "global_between_record_and_entry",
            [raw(header(b"12 path=one\n")), global(&[("uid", "0")]), file("f", "1")],
            Refuse("without an entry"),
        ),
    ];
    for (key, value) in [
        ("uid", "x"),
        ("gid", "1.5"),
        ("size", "0x1"),
        ("mtime", "now"),
        ("mtime", "1.5e3"),
        ("atime", ""),
        ("uid", " 1"),
        ("size", "99999999999999999999"),
    ] {
        let verdict =
            if value.is_empty() { Tree(&["f 644 0:0 f"]) } else { Refuse("is no number") };
        cases.push(case(
            format!("{key}_is_{value:?}"),
            [file("f", "1").record(key, value)],
            verdict,
        ));
    }
    for (key, value) in [
        ("uid", "-1"),
        ("gid", "-1"),
        ("uid", "4294967295"),
        ("uid", "4294967296"),
        ("gid", "4294967296"),
        ("size", "-1"),
        ("uid", "9223372036854775807"),
    ] {
        cases.push(case(
            format!("{key}_is_{value}"),
            [file("f", "1").record(key, value)],
            Refuse("out of range"),
        ));
    }
    cases
}

/// A layer of one item, of whose record the TOC hears.
fn told(name: &str, item: testkit::forged::Item, tell: fn(&mut serde_json::Value)) -> Case {
    forged(name, Recipe::of([item]).toc(move |toc| tell(&mut toc[0])), Accept)
}

/// A PAX header by hand.
fn header(records: &[u8]) -> Vec<u8> {
    Recipe::of([file("PaxHeaders/x", records).flag(b'x')]).trailer([]).build().tar
}
