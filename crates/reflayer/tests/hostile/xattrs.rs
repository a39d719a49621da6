//! Extended attributes: those that are stored, and those that an image may not set.

use testkit::forged::{Item, char_device, dir, fifo, file, hard_link, symlink};

use crate::case::Verdict::{Accept, Refuse, Tree};
use crate::case::{Case, case};

/// A list of access rights with one for user 7.
const ACL: &[u8] = b"\x02\0\0\0\x01\0\x06\0\xff\xff\xff\xff\x02\0\x07\0\x07\0\0\0\x04\0\x04\0\xff\xff\xff\xff\x10\0\x07\0\xff\xff\xff\xff\x20\0\x04\0\xff\xff\xff\xff";

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = vec![
        case("of_users", [file("f", "1").xattr("user.a", "1").xattr("user.b", b"\0\xff")], Accept),
        case("of_a_directory", [dir("d").xattr("user.a", "1")], Accept),
        case("of_users_without_value", [file("f", "1").xattr("user.a", "")], Accept),
        case("of_the_trusted", [file("f", "1").xattr("trusted.a", "1")], Accept),
        case("of_a_symlink", [symlink("l", "t").xattr("trusted.a", "1")], Accept),
        case("of_a_device", [char_device("c", 1, 3).xattr("trusted.a", "1")], Accept),
        case("of_a_pipe", [fifo("p").xattr("trusted.a", "1")], Accept),
        case(
            "capability",
            [file("f", "1")
                .mode(0o755)
                .xattr("security.capability", b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0")],
            Accept,
        ),
        case(
            "capability_of_a_forger",
            [file("f", "1").xattr("security.capability", "x")],
            Refuse("set extended attribute"),
        ),
        case(
            "access_rights",
            [file("f", "1").mode(0o674).xattr("system.posix_acl_access", ACL)],
            Accept,
        ),
        case(
            "access_rights_of_a_forger",
            [file("f", "1").xattr("system.posix_acl_access", "x")],
            Refuse("set extended attribute"),
        ),
        case(
            "default_rights_of_a_directory",
            [dir("d").xattr("system.posix_acl_default", ACL), file("d/x", "1")],
            Tree(&[
                "d 755 0:0 d system.posix_acl_default=\u{2}\0\0\0\u{1}\0\u{6}\0\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{2}\0\u{7}\0\u{7}\0\0\0\u{4}\0\u{4}\0\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{10}\0\u{7}\0\u{fffd}\u{fffd}\u{fffd}\u{fffd} \0\u{4}\0\u{fffd}\u{fffd}\u{fffd}\u{fffd}",
                "f 644 0:0 d/x",
            ]),
        ),
        case(
            "key_of_300_bytes",
            [file("f", "1").xattr(format!("user.{}", "k".repeat(300)), "1")],
            Refuse("set extended attribute"),
        ),
        case(
            "value_of_70000_bytes",
            [file("f", "1").xattr("user.a", "v".repeat(70_000))],
            Refuse("set extended attribute"),
        ),
        // What another system wrote: the kernel knows no such names.
        case(
            "of_another_system",
            [
                file("f", "1").xattr("com.apple.provenance", "1"),
                file("g", "2").xattr("nonsense", "1"),
            ],
            Tree(&["f 644 0:0 f", "f 644 0:0 g"]),
        ),
        case(
            "of_another_system_beside_ours",
            [file("f", "1").xattr("com.apple.quarantine", "1").xattr("user.a", "1")],
            Tree(&["f 644 0:0 f user.a=1"]),
        ),
        // Names that only look private.
        case(
            "almost_private",
            [file("f", "1")
                .xattr("trusted.overlays", "1")
                .xattr("user.containers", "2")
                .xattr("user.overlay", "3")],
            Accept,
        ),
        // An attribute of one name is that of all.
        case(
            "by_a_hard_link",
            [file("f", "1"), hard_link("h", "f").xattr("user.a", "1")],
            Tree(&["f 644 0:0 f user.a=1", "f 644 0:0 h = f user.a=1"]),
        ),
        case(
            "private_by_a_hard_link",
            [file("f", "1"), hard_link("h", "f").xattr("trusted.overlay.metacopy", "")],
            Tree(&["f 644 0:0 f", "f 644 0:0 h = f"]),
        ),
        case(
            "setuid_by_its_own_xattr",
            [file("f", "1").xattr("user.containers.override_stat", "0:0:104755")],
            Tree(&["f 644 0:0 f"]),
        ),
        case(
            "private_of_the_top",
            [dir("./").xattr("trusted.overlay.opaque", "y").xattr("user.a", "1")],
            Tree(&["d 755 0:0 . user.a=1"]),
        ),
    ];
    type Make = (&'static str, fn() -> Item, &'static [&'static str]);
    let makes: [Make; 3] = [
        ("file", || file("f", "1"), &["f 644 0:0 f"]),
        ("directory", || dir("d"), &["d 755 0:0 d"]),
        ("symlink", || symlink("l", "t"), &["l 0:0 l -> t"]),
    ];
    for key in PRIVATE {
        for (name, make, tree) in makes {
            cases.push(case(format!("{key}_of_a_{name}"), [make().xattr(key, "y")], Tree(tree)));
        }
    }
    cases
}

/// What overlay, fuse-overlayfs, containers/storage and the host's policy keep for themselves.
const PRIVATE: [&str; 20] = [
    "trusted.overlay.opaque",
    "trusted.overlay.redirect",
    "trusted.overlay.metacopy",
    "trusted.overlay.origin",
    "trusted.overlay.impure",
    "trusted.overlay.nlink",
    "trusted.overlay.upper",
    "trusted.overlay.verity",
    "trusted.overlay.whiteout",
    "trusted.overlay.overlay.opaque",
    "user.overlay.opaque",
    "user.overlay.redirect",
    "user.overlay.metacopy",
    "user.overlay.whiteout",
    "user.containers.override_stat",
    "user.fuseoverlayfs.opaque",
    "user.fuseoverlayfs.override_stat",
    "trusted.fuseoverlayfs.redirect",
    "security.fuseoverlayfs.override_stat",
    "security.selinux",
];
