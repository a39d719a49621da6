//! Names that hide what lower layers have.

use testkit::forged::{char_device, dir, fifo, file, hard_link, symlink};

use crate::case::Verdict::{Accept, Refuse, Tree, Whole, WholeTree};
use crate::case::{Case, Verdict, case};

const IMPROPER: Verdict = Refuse("no proper whiteout");

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("of_a_file", [dir("d"), file("d/.wh.f", "")], Accept),
        case("at_the_top", [file(".wh.f", "")], Accept),
        case(
            "in_a_directory_without_an_entry",
            [file("d/.wh.f", "")],
            Tree(&["d 755 0:0 d", "w d/f"]),
        ),
        case("of_a_name_with_dots", [file(".wh...f", "")], Tree(&["w ..f"])),
        case("of_a_name_with_spaces", [file(".wh. ", "")], Accept),
        case("of_another_whiteout", [file(".wh..wh", "")], Tree(&["w .wh"])),
        case("as_a_directory", [dir(".wh.f/")], Tree(&["w f"])),
        case("as_a_symlink", [symlink(".wh.f", "/etc")], Tree(&["w f"])),
        case("as_a_pipe", [fifo(".wh.f")], Tree(&["w f"])),
        case("as_a_device", [char_device(".wh.f", 1, 3)], Tree(&["w f"])),
        case(
            "as_a_hard_link",
            [file("g", "1"), hard_link(".wh.f", "g")],
            Tree(&["f 644 0:0 g", "w f"]),
        ),
        case(
            "with_content",
            [file(".wh.f", "content")],
            WholeTree("whiteout with content", &["w f"]),
        ),
        case("with_setuid", [file(".wh.f", "").mode(0o4755)], Tree(&["w f"])),
        case(
            "with_xattrs",
            [file(".wh.f", "").xattr("user.a", "1").xattr("trusted.overlay.opaque", "y")],
            Tree(&["w f"]),
        ),
        case(
            "twice",
            [file(".wh.f", ""), file(".wh.f", "")],
            WholeTree("name of another", &["w f"]),
        ),
        // Of what this very layer has.
        case(
            "before_its_file",
            [file(".wh.f", ""), file("f", "1")],
            WholeTree("name of another", &["f 644 0:0 f"]),
        ),
        case(
            "after_its_file",
            [file("f", "1"), file(".wh.f", "")],
            WholeTree("name of another", &["f 644 0:0 f"]),
        ),
        case(
            "before_its_directory",
            [file(".wh.d", ""), dir("d"), file("d/x", "1")],
            WholeTree(
                "name of another",
                &["d 755 0:0 d trusted.overlay.opaque=y", "f 644 0:0 d/x"],
            ),
        ),
        case(
            "after_its_directory",
            [dir("d"), file("d/x", "1"), file(".wh.d", "")],
            WholeTree(
                "name of another",
                &["d 755 0:0 d trusted.overlay.opaque=y", "f 644 0:0 d/x"],
            ),
        ),
        case("below_a_whiteout", [file(".wh.d", ""), file("d/.wh.x", "")], WholeTree("", &["w d"])),
        // Of nothing, and of what nobody may remove.
        case("of_nothing", [file(".wh.", "")], IMPROPER),
        case("of_nothing_below", [dir("d"), file("d/.wh.", "")], IMPROPER),
        case("of_the_directory_itself", [file(".wh..", "")], IMPROPER),
        case("of_the_directory_above", [file(".wh...", "")], IMPROPER),
        case("of_the_directory_above_below", [dir("d"), file("d/.wh...", "")], IMPROPER),
        case("with_a_slash", [file(".wh./f", "")], IMPROPER),
        case("as_the_way", [file(".wh.d/f", "1")], IMPROPER),
        case("as_the_way_up", [file(".wh.d/../f", "1")], Tree(&["f 644 0:0 f"])),
        case("outside", [file("../.wh.f", "")], Refuse("leaves")),
        case("outside_below", [dir("d"), file("d/../../.wh.f", "")], Refuse("leaves")),
        case(
            "through_a_link_outside",
            [symlink("l", crate::canary::out()), file("l/.wh.file", "")],
            Refuse("open the parent directory of l/file"),
        ),
        // Of all.
        case("opaque", [dir("d"), file("d/.wh..wh..opq", ""), file("d/x", "1")], Accept),
        case(
            "opaque_twice",
            [dir("d"), file("d/.wh..wh..opq", ""), file("d/.wh..wh..opq", "")],
            Whole("name of another"),
        ),
        case(
            "opaque_after_its_content",
            [dir("d"), file("d/x", "1"), file("d/.wh..wh..opq", "")],
            Accept,
        ),
        case(
            "opaque_in_a_directory_without_an_entry",
            [file("d/.wh..wh..opq", "")],
            Tree(&["d 755 0:0 d trusted.overlay.opaque=y"]),
        ),
        case(
            "opaque_top",
            [file(".wh..wh..opq", "")],
            Tree(&["d 555 0:0 . trusted.overlay.opaque=y"]),
        ),
        case(
            "opaque_as_a_directory",
            [dir("d"), dir("d/.wh..wh..opq")],
            Tree(&["d 755 0:0 d trusted.overlay.opaque=y"]),
        ),
        case(
            "opaque_with_content",
            [dir("d"), file("d/.wh..wh..opq", "1")],
            WholeTree("whiteout with content", &["d 755 0:0 d trusted.overlay.opaque=y"]),
        ),
        case(
            "opaque_and_then_a_file",
            [dir("d"), file("d/.wh..wh..opq", ""), file("d", "1")],
            WholeTree("", &["f 644 0:0 d"]),
        ),
        case(
            "opaque_file",
            [file("f", "1"), file("f/.wh..wh..opq", "")],
            Refuse("open the parent directory"),
        ),
        case(
            "opaque_link_outside",
            [symlink("l", crate::canary::out()), file("l/.wh..wh..opq", "")],
            Refuse("open the parent directory"),
        ),
        case("opaque_outside", [file("../.wh..wh..opq", "")], Refuse("leaves")),
        // What AUFS keeps for itself.
        case(
            "aufs",
            [
                dir(".wh..wh.plnk"),
                file(".wh..wh.plnk/1.2", "1"),
                file(".wh..wh.aufs", ""),
                dir(".wh..wh.orph"),
            ],
            WholeTree("whiteout with content", &[]),
        ),
        case("aufs_empty", [dir(".wh..wh.plnk"), file(".wh..wh.aufs", "")], Tree(&[])),
        case(
            "aufs_link_to_its_pseudo_link",
            [file(".wh..wh.plnk/1.2", ""), hard_link("f", ".wh..wh.plnk/1.2")],
            Refuse("does not exist"),
        ),
        case("aufs_outside", [file(".wh..wh.plnk/../../x", "")], Refuse("leaves")),
        // Names that look like it.
        case(
            "only_the_beginning",
            [file(".wh", "1"), file("wh.f", "2"), file("a.wh.f", "3"), file(".WH.f", "4")],
            Accept,
        ),
    ]
}
