//! What is refused, and what is one tree on every filesystem.

use std::fs;

use anyhow::{Context, Result, ensure};
use testkit::compare::{self, Options, Whiteouts};
use testkit::forged::{
    Item, Recipe, block_device, char_device, dir, fifo, file, hard_link, symlink,
};
use testkit::fs_role::Filesystem;
use testkit::judge;
use testkit::tree::noise;

use super::image;
use crate::store::{Store, said};

/// What each is refused for. `OUT` is the room of the store, in which a canary sits.
fn forged(out: &str) -> Vec<(&'static str, Vec<Item>, &'static str)> {
    let mut forged = vec![
        ("outside", vec![file("../../../../../../canary", "1")], "leaves the layer's root"),
        ("through-link", vec![symlink("l", out), file("l/canary", "1")], "parent directory"),
        ("link-outside", vec![hard_link("h", format!("{out}/canary"))], "does not exist"),
        (
            "link-through-link",
            vec![symlink("l", out), hard_link("h", "l/canary")],
            "does not exist",
        ),
        ("link-to-directory", vec![dir("d"), hard_link("h", "d")], "is a directory"),
        ("zero-device", vec![char_device("c", 0, 0)], "reserved for whiteouts"),
        ("cut-device", vec![char_device("c", 4096, 0)], "impossible"),
        ("negative-size", vec![file("f", "").size(-1)], "out of range"),
        ("endless-size", vec![file("f", "1").size((1 << 62) - 1)], ""),
        ("whiteout-of-above", vec![file(".wh...", "")], "no proper whiteout"),
        ("zero-in-name", vec![file("f", "1").record("path", b"f\0x")], "broken record"),
    ];
    for id in [1 << 32, (1 << 32) - 1, -1, 1 << 40] {
        forged.push(("owner", vec![file("f", "1").mode(0o4755).owner(id, 0)], "out of range"));
        forged.push(("group", vec![file("f", "1").mode(0o2755).owner(0, id)], "out of range"));
    }
    forged
}

pub(super) fn refused(filesystem: &Filesystem) -> Result<()> {
    let store = Store::new(filesystem)?;
    let canary = store.room().join("canary");
    fs::write(&canary, "untouched").context("write a canary")?;
    let before = compare::Snapshot::of(&canary)?;
    let out = store.room().to_str().context("a plain path")?;
    for (number, (what, items, reason)) in forged(out).into_iter().enumerate() {
        let name = format!("{what}-{number}");
        let reference = image(&store, &name, &[Recipe::of(items).build()])?;
        for way in [&["pull"][..], &["pull", "--full"]] {
            let out = store.output(&[way, &[&reference]].concat())?;
            let said = said(&out);
            ensure!(out.status.code() == Some(1), "{name}: {}: {said}", out.status);
            ensure!(said.contains(reason) && !said.contains("panicked"), "{name}: {said}");
            ensure!(store.leftovers().is_empty(), "{name}: left over: {:?}", store.leftovers());
        }
    }
    ensure!(store.layer_ids()?.is_empty() && store.image_ids()?.is_empty(), "layers came");
    let after = compare::Snapshot::of(&canary)?;
    ensure!(before.nodes == after.nodes, "the canary was touched");
    store.expect_clean()
}

/// Every kind of entry, with attributes that an image may set and some that it may not.
fn odd() -> Vec<Item> {
    let private = |item: Item| {
        item.xattr("trusted.overlay.opaque", "y")
            .xattr("trusted.overlay.redirect", "/etc")
            .xattr("user.overlay.opaque", "y")
            .xattr("user.containers.override_stat", "0:0:104755")
            .xattr("user.fuseoverlayfs.override_stat", "0:0:104755")
            .xattr("com.apple.provenance", "1")
    };
    vec![
        dir("./").mode(0o750).owner(1, 2),
        private(dir("./etc/")).xattr("user.kept", "1"),
        private(file("./etc/f", noise(100_000, 1)).mode(0o6755)),
        hard_link("./etc/h", "./etc/f").mode(0o6755),
        symlink("./etc/l", "../../../../../../canary"),
        char_device("./null", 1, 3).mode(0o666),
        block_device("./disk", 8, 0),
        fifo("./pipe"),
        file("./large-owner", "1").owner(4_000_000_000, 4_294_967_294),
        file("./old", "1").mtime(-1),
        file("./late", "1").mtime(4_000_000_000),
        file("./.wh.gone", ""),
        dir("./opaque"),
        file("./opaque/.wh..wh..opq", ""),
        dir("./closed").mode(0),
        file("./closed/f", "1").mode(0),
        file("./".to_owned() + &"n".repeat(255), "1"),
    ]
}

pub(super) fn one_tree(filesystem: &Filesystem) -> Result<()> {
    let store = Store::new(filesystem)?;
    let layer = Recipe::of(odd()).chunks(30_000).build();
    // The judge stores everything: what an image may not set is not in his tar.
    let plain = |item: Item| item.without_xattrs("user.kept");
    let (tar, judged) = (store.room().join("tar"), store.room().join("judged"));
    fs::write(&tar, Recipe::of(odd().into_iter().map(plain)).build().tar)?;
    fs::create_dir(&judged)?;
    judge::unpack(&tar, &judged)?;
    let reference = image(&store, "odd", std::slice::from_ref(&layer))?;
    for (way, path) in [(&["pull"][..], "partial"), (&["pull", "--full"], "full")] {
        let report = store.json(&[way, &[&reference]].concat())?;
        ensure!(report["layers"][0]["path"] == path, "{report}");
        store.expect_clean()?;
        let options = Options { whiteouts: Whiteouts::Aufs, ignore_top: false };
        let found = compare::trees(&judged, &store.diff(&layer.diff_id), &options)?;
        compare::expect_none(path, &found)?;
        let id = &store.image_ids()?[0];
        let removed = store.output(&["rmi", id])?;
        ensure!(removed.status.success(), "{}", said(&removed));
    }
    Ok(())
}
