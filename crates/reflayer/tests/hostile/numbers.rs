//! Owners, modes, sizes and times, up to and beyond what there is.

use testkit::forged::{Item, dir, file, hard_link, symlink};

use crate::case::Verdict::{Accept, Refuse, Tree, Whole};
use crate::case::{Case, Verdict, case};

const RANGE: Verdict = Refuse("out of range");
const NO_NUMBER: Verdict = Refuse("is no number");

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let ids: [(&str, i128, Verdict); 14] = [
        ("zero", 0, Accept),
        ("nobody", 65_534, Accept),
        ("beyond_octal", 2_097_152, Accept),
        ("2_to_31", 1 << 31, Accept),
        ("largest", 4_294_967_294, Accept),
        ("minus_one_of_32_bits", 4_294_967_295, RANGE),
        ("2_to_32", 1 << 32, RANGE),
        ("2_to_32_and_a_thousand", (1 << 32) + 1000, RANGE),
        ("2_to_40", 1 << 40, RANGE),
        ("largest_of_a_field", (1 << 62) - 1, RANGE),
        ("minus_one", -1, RANGE),
        ("minus_two", -2, RANGE),
        ("minus_2_to_32", -(1 << 32), RANGE),
        ("smallest", -(1 << 61), RANGE),
    ];
    type Make = (&'static str, fn() -> Vec<Item>);
    let makes: [Make; 4] = [
        ("file", || vec![file("x", "1").mode(0o4755)]),
        ("directory", || vec![dir("x")]),
        ("symlink", || vec![symlink("x", "t")]),
        ("hard_link", || vec![file("f", "1").mode(0o644), hard_link("x", "f")]),
    ];
    for (name, id, verdict) in ids {
        for (kind, make) in makes {
            // A name without its own owner would be judged by the last one that set it.
            let with = |uid: bool| {
                let items = make().into_iter();
                items.map(move |item| if uid { item.owner(id, 0) } else { item.owner(0, id) })
            };
            cases.push(case(format!("uid_{name}_of_a_{kind}"), with(true), verdict));
            cases.push(case(format!("gid_{name}_of_a_{kind}"), with(false), verdict));
        }
    }
    let modes: [(&str, i128); 12] = [
        ("none", 0),
        ("setuid", 0o4755),
        ("setgid", 0o2711),
        ("sticky", 0o1777),
        ("all", 0o7777),
        ("with_the_type_of_a_file", 0o100_644),
        ("with_the_type_of_a_directory", 0o040_755),
        ("with_the_type_of_a_symlink", 0o120_777),
        ("with_bits_beyond", 0o777_7777),
        ("of_2_to_32", 1 << 32 | 0o644),
        ("of_2_to_40", 1 << 40 | 0o644),
        ("minus_one", -1),
    ];
    for (name, mode) in modes {
        // A program that is setuid is only so by its twelve bits.
        cases.push(case(format!("mode_{name}"), [file("f", "1").mode(mode)], Accept));
        cases.push(case(format!("mode_{name}_of_a_directory"), [dir("d").mode(mode)], Accept));
    }
    let times: [(&str, i128, Verdict); 8] = [
        ("zero", 0, Accept),
        ("one", 1, Accept),
        ("minus_one", -1, Accept),
        ("of_2038", 2_147_483_648, Accept),
        ("of_2446", 15_032_385_535, Accept),
        // A TOC has no word for years of five digits.
        ("of_the_year_10000", 253_402_300_800, Whole("time")),
        ("of_2_to_62", 1 << 62, Whole("time")),
        ("of_minus_2_to_62", -(1 << 62), Whole("time")),
    ];
    for (name, time, verdict) in times {
        cases.push(case(format!("time_{name}"), [file("f", "1").mtime(time), dir("d")], verdict));
    }
    for (field, at) in [("mode", 100), ("uid", 108), ("gid", 116), ("size", 124), ("mtime", 136)] {
        for text in ["9999999", "-1", "0x10", "1 2 3", "8"] {
            let item = file("f", "1").patch(at, [0; 8]).patch(at, text);
            cases.push(case(format!("{field}_is_{text:?}"), [item], NO_NUMBER));
        }
    }
    cases.extend([
        case("size_negative", [file("f", "").size(-1)], RANGE),
        case("size_beyond_the_stream", [file("f", "1").size(100_000)], Refuse("cut inside a file")),
        case("size_of_2_to_62", [file("f", "1").size((1 << 62) - 1)], Refuse("")),
        case("size_of_2_to_63", [file("f", "1").size(1 << 63)], Refuse("")),
        case("size_beyond_64_bits", [file("f", "1").size(1 << 70)], Refuse("")),
        case(
            "size_in_base_256",
            [file("f", "1").patch(124, [0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])],
            Accept,
        ),
        case("size_too_small", [file("f", "content".repeat(200)).size(3)], Refuse("")),
        case(
            "uid_in_base_256",
            [file("f", "1").owner(7, 8).patch(108, [0x80, 0, 0, 0, 0, 0, 0, 7])],
            Accept,
        ),
        case("uid_blank", [file("f", "1").patch(108, "        ")], Tree(&["f 644 0:0 f"])),
        case("uid_with_spaces", [file("f", "1").owner(7, 0).patch(108, "     7 \0")], Accept),
        case("time_in_base_256", [file("f", "1").mtime(-5)], Accept),
    ]);
    cases
}
