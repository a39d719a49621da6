//! Links that lead outside, in circles, or to what is not there.

use testkit::forged::{Recipe, char_device, dir, fifo, file, hard_link, symlink};

use crate::canary::out;
use crate::case::Verdict::{Accept, Refuse, Tree, Whole, WholeTree};
use crate::case::{Case, Verdict, case, forged};

const MISSING: Verdict = Refuse("does not exist");
const OUTSIDE: Verdict = Refuse("leaves the layer's root");

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = vec![
        // Symbolic links are text, wherever they lead.
        case(
            "symlink_outside",
            [symlink("l", format!("{}/file", out()))],
            Tree(&["l 0:0 l -> OUT/file"]),
        ),
        case("symlink_up", [symlink("l", "../../../../../../../../file")], Accept),
        case("symlink_to_itself", [symlink("l", "l")], Accept),
        case("symlinks_in_a_circle", [symlink("a", "b"), symlink("b", "a")], Accept),
        case("symlink_to_nothing", [symlink("l", "")], Refuse("has no target")),
        case("symlink_of_4095", [symlink("l", "t".repeat(4095))], Accept),
        case("symlink_of_4096", [symlink("l", "t".repeat(4096))], Refuse("impossible target")),
        case("symlink_of_70000", [symlink("l", "t".repeat(70_000))], Refuse("impossible target")),
        case(
            "symlink_with_zero_byte",
            [symlink("l", "t").record("linkpath", b"a\0b")],
            Refuse("broken record"),
        ),
        case("symlink_with_a_mode", [symlink("l", "t").mode(0o4755)], Accept),
        // Through a link: inside of the root, as in a chroot.
        case(
            "through_a_link_outside",
            [symlink("l", out()), file("l/file", "1")],
            Refuse("open the parent directory of l/file"),
        ),
        case(
            "through_a_link_outside_to_a_new_directory",
            [symlink("l", out()), dir("l/new")],
            Refuse("open the parent directory of l/new"),
        ),
        case(
            "through_a_link_upwards",
            [symlink("l", "../../../../../../.."), file("l/file", "1")],
            WholeTree("no directory", &["f 644 0:0 file", "l 0:0 l -> ../../../../../../.."]),
        ),
        case(
            "through_a_link_to_the_root",
            [symlink("l", "/"), file("l/file", "1")],
            WholeTree("no directory", &["f 644 0:0 file", "l 0:0 l -> /"]),
        ),
        case(
            "through_a_link_inside",
            [dir("d"), symlink("l", "d"), file("l/x", "1")],
            WholeTree("no directory", &["d 755 0:0 d", "f 644 0:0 d/x", "l 0:0 l -> d"]),
        ),
        case(
            "through_two_links",
            [dir("d"), symlink("a", "/b"), symlink("b", "d"), file("a/x", "1")],
            WholeTree(
                "no directory",
                &["d 755 0:0 d", "f 644 0:0 d/x", "l 0:0 a -> /b", "l 0:0 b -> d"],
            ),
        ),
        case(
            "through_a_circle",
            [symlink("a", "b"), symlink("b", "a"), file("a/x", "1")],
            Refuse("open the parent directory of a/x"),
        ),
        case(
            "through_proc",
            [symlink("l", "/proc/self/cwd"), file("l/x", "1")],
            Refuse("open the parent directory of l/x"),
        ),
        case(
            "replaces_a_link",
            [symlink("l", format!("{}/file", out())), file("l", "1")],
            WholeTree("name of another", &["f 644 0:0 l"]),
        ),
        case(
            "replaces_a_link_by_a_directory",
            [symlink("l", out()), dir("l"), file("l/file", "1")],
            WholeTree("name of another", &["d 755 0:0 l", "f 644 0:0 l/file"]),
        ),
        case(
            "link_replaces_a_directory",
            [dir("d"), file("d/x", "1"), symlink("d", out()), file("d/file", "2")],
            Refuse("open the parent directory of d/file"),
        ),
        case(
            "mode_through_a_link",
            [symlink("l", format!("{}/file", out())), hard_link("h", "l").mode(0o4777)],
            Tree(&["l 0:0 h -> OUT/file", "l 0:0 l -> OUT/file = h"]),
        ),
        // Hard links.
        case("hard_link", [file("f", "1"), hard_link("h", "f")], Accept),
        case(
            "hard_link_by_other_spelling",
            [dir("d"), file("d/f", "1"), hard_link("h", "./d//f")],
            Accept,
        ),
        case(
            "hard_link_by_absolute_name",
            [file("f", "1"), hard_link("h", "/f")],
            Tree(&["f 644 0:0 f", "f 644 0:0 h = f"]),
        ),
        case(
            "hard_link_up_and_down",
            [dir("d"), file("f", "1"), hard_link("h", "d/../f")],
            Tree(&["d 755 0:0 d", "f 644 0:0 f", "f 644 0:0 h = f"]),
        ),
        case(
            "hard_links_of_a_chain",
            [file("f", "1"), hard_link("g", "f"), hard_link("h", "g")],
            Accept,
        ),
        case(
            "hard_link_says_another_mode",
            [file("f", "1"), hard_link("h", "f").mode(0o4711).owner(3, 4)],
            Tree(&["f 4711 3:4 f", "f 4711 3:4 h = f"]),
        ),
        case(
            "hard_link_to_a_symlink",
            [symlink("l", format!("{}/file", out())), hard_link("h", "l")],
            Tree(&["l 0:0 h -> OUT/file", "l 0:0 l -> OUT/file = h"]),
        ),
        case("hard_link_to_a_pipe", [fifo("p"), hard_link("h", "p").mode(0o755)], Accept),
        case(
            "hard_link_to_a_device",
            [char_device("c", 1, 3), hard_link("h", "c").mode(0o755)],
            Accept,
        ),
        case("hard_link_to_a_directory", [dir("d"), hard_link("h", "d")], Refuse("is a directory")),
        case("hard_link_to_the_root", [hard_link("h", ".")], Refuse("is a directory")),
        case("hard_link_to_a_later_file", [hard_link("h", "f"), file("f", "1")], MISSING),
        case("hard_link_to_itself", [hard_link("h", "h")], MISSING),
        case(
            "hard_link_to_itself_that_is_there",
            [file("f", "1"), hard_link("f", "f")],
            WholeTree("name of another", &["f 644 0:0 f"]),
        ),
        case("hard_link_to_nothing", [hard_link("h", "nothing")], MISSING),
        case(
            "hard_link_without_a_target",
            [file("f", "1"), hard_link("h", "")],
            Refuse("has no target"),
        ),
        case(
            "hard_link_to_a_whiteout",
            [file(".wh.f", ""), hard_link("h", "f")],
            Refuse("whiteout"),
        ),
        case(
            "hard_link_to_a_whiteout_by_its_name",
            [file(".wh.f", ""), hard_link("h", ".wh.f")],
            MISSING,
        ),
        case("hard_link_to_the_canary", [hard_link("h", format!("{}/file", out()))], MISSING),
        case("hard_link_up", [hard_link("h", "../../../../../../../file")], OUTSIDE),
        case(
            "hard_link_through_a_link_outside",
            [symlink("l", out()), hard_link("h", "l/file")],
            MISSING,
        ),
        case(
            "hard_link_through_a_link_up",
            [symlink("l", "../../../../../../.."), hard_link("h", "l/file")],
            MISSING,
        ),
        case(
            "hard_link_through_a_link_inside",
            [dir("d"), file("d/f", "1"), symlink("l", "d"), hard_link("h", "l/f")],
            WholeTree(
                "hard link",
                &["d 755 0:0 d", "f 644 0:0 d/f", "f 644 0:0 h = d/f", "l 0:0 l -> d"],
            ),
        ),
        case(
            "hard_link_below_a_link",
            [symlink("l", out()), file("f", "1"), hard_link("l/file", "f")],
            Refuse("open the parent directory of l/file"),
        ),
        case(
            "hard_link_replaces_what_it_stands_in",
            [dir("d"), file("d/f", "1"), hard_link("d", "d/f")],
            MISSING,
        ),
        case(
            "hard_link_in_place_of_a_file",
            [file("f", "1"), file("g", "2"), hard_link("g", "f")],
            Whole("name of another"),
        ),
        case(
            "hard_link_with_content",
            [file("f", "1"), hard_link("h", "f").size(512), file("g", "2")],
            Accept,
        ),
        // A TOC that leads a link elsewhere than the tar.
        lie("toc_leads_a_symlink_elsewhere", "type", |toc| {
            toc[1]["linkName"] = "/etc/shadow".into()
        }),
        lie("toc_leads_a_hard_link_elsewhere", "hard link", |toc| toc[2]["linkName"] = "g".into()),
        lie("toc_makes_a_symlink_of_a_hard_link", "type", |toc| toc[2]["type"] = "symlink".into()),
        lie("toc_makes_a_hard_link_of_a_symlink", "type", |toc| toc[1]["type"] = "hardlink".into()),
        lie("toc_leads_a_hard_link_outside", "leaves", |toc| toc[2]["linkName"] = "../f".into()),
        lie("toc_leads_nowhere", "type", |toc| toc[1]["linkName"] = "".into()),
    ];
    for up in 1..=8 {
        let target = "../".repeat(up) + "file";
        cases.push(case(format!("hard_link_up_{up}"), [hard_link("h", &target)], OUTSIDE));
        let through = [symlink("l", "../".repeat(up)), hard_link("h", "l/file")];
        cases.push(case(format!("hard_link_through_a_link_up_{up}"), through, MISSING));
    }
    cases
}

fn lie(name: &str, reason: &'static str, edit: fn(&mut serde_json::Value)) -> Case {
    let recipe = Recipe::of([file("f", "1"), symlink("l", "f"), hard_link("h", "f")]);
    forged(name, recipe.toc(edit), Whole(reason))
}
