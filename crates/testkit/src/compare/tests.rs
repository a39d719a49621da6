use anyhow::Result;

use super::{Options, Whiteouts, trees};
use crate::tree::{Node, Tree, char_device, directory, fifo, file, hard_link, symlink};

fn root() -> bool {
    rustix::process::geteuid().is_root()
}

fn compare(a: &Tree, b: &Tree, options: Options) -> Result<Vec<String>> {
    let dir = tempfile::tempdir()?;
    let (left, right) = (dir.path().join("a"), dir.path().join("b"));
    a.write(&left)?;
    b.write(&right)?;
    let options = Options { ignore_top: true, ..options };
    Ok(trees(&left, &right, &options)?.iter().map(ToString::to_string).collect())
}

fn base() -> Tree {
    Tree::new()
        .with("d/file", file("content").xattr("user.a", "1"))
        .with("d/other", file("content"))
        .with("link", symlink("d/file"))
        .with("pipe", fifo())
}

#[test]
fn a_tree_equals_its_copy() -> Result<()> {
    assert_eq!(compare(&base(), &base(), Options::default())?, [""; 0]);
    Ok(())
}

#[test]
fn every_attribute_counts() -> Result<()> {
    let usual = || file("content").xattr("user.a", "1");
    let cases: [(&str, Node, &str); 7] = [
        ("d/file", usual().mode(0o600), "d/file: mode is 0600, not 0644"),
        (
            "d/file",
            usual().mtime(1_700_000_000, 1),
            "d/file: mtime is (1700000000, 1), not (1700000000, 0)",
        ),
        ("d/file", usual().xattr("user.b", ""), "d/file: xattrs is "),
        ("d/file", file("contenX").xattr("user.a", "1"), "d/file: content differs at byte 6"),
        ("d/file", directory(), "d/file: type is Directory, not File"),
        ("link", symlink("d/fild"), "link: link text is "),
        ("new", file(""), "new: not in the reference"),
    ];
    for (path, node, expected) in cases {
        let found = compare(&base(), &base().with(path, node), Options::default())?;
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with(expected), "{} / {expected}", found[0]);
    }
    let gone = compare(&base().with("more", fifo()), &base(), Options::default())?;
    assert_eq!(gone, ["more: missing"]);
    Ok(())
}

#[test]
fn names_of_one_inode_must_stay_together() -> Result<()> {
    let content = || file("content").xattr("user.a", "1");
    let linked = base().with("e", hard_link("d/file"));
    let apart = base().with("e", content());
    let found = compare(&linked, &apart, Options::default())?;
    assert_eq!(found, [r#"e: first name of the inode is None, not Some("d/file")"#]);
    Ok(())
}

#[test]
fn owners_and_devices_count() -> Result<()> {
    if !root() {
        return Ok(());
    }
    let one = Tree::new().with("f", file("").owner(1, 2)).with("c", char_device(1, 3));
    let two = Tree::new().with("f", file("").owner(1, 3)).with("c", char_device(1, 5));
    let found = compare(&one, &two, Options::default())?;
    assert_eq!(
        found,
        ["c: device is Some((1, 5)), not Some((1, 3))", "f: owner is (1, 3), not (1, 2)"]
    );
    Ok(())
}

#[test]
fn whiteouts_are_translated() -> Result<()> {
    if !root() {
        return Ok(());
    }
    let tar = Tree::new()
        .with("d/.wh.gone", file(""))
        .with("opaque/.wh..wh..opq", file(""))
        .with("opaque/new", file("x"));
    let store = Tree::new()
        .with("d/gone", char_device(0, 0).mode(0))
        .with("opaque", directory().xattr("trusted.overlay.opaque", "y"))
        .with("opaque/new", file("x"));
    let options = Options { whiteouts: Whiteouts::Aufs, ..Options::default() };
    assert_eq!(compare(&tar, &store, options)?, [""; 0]);
    assert!(!compare(&tar, &store, Options::default())?.is_empty());
    let blunt = Tree::new().with("d/gone", file("")).with("opaque/new", file("x"));
    assert_eq!(compare(&tar, &blunt, options)?.len(), 2);
    Ok(())
}
