//! Mounting an image, read-only and writable.

use std::fs;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use testkit::fs_role::Filesystem;
use testkit::peer::Compression;

use crate::needs::on_each;
use crate::store::Store;
use crate::world;

pub(crate) fn trials() -> Vec<Trial> {
    on_each("a_mounted_image_shows_both_layers", shows_both)
}

fn shows_both(filesystem: &Filesystem) -> Result<()> {
    let store = Store::new(filesystem)?;
    let layout = world::images(Compression::Gzip);
    let id = layout.image("v1")?.config;
    store.pull(&format!("oci:{}:v1", layout.dir().display()))?;
    let target = store.room().join("target");
    fs::create_dir(&target).context("make a mount point")?;
    let place = target.to_str().context("a plain path")?;
    succeed(&store, &["mount", &id, place])?;
    let here = |name: &str| target.join("opt/exercise").join(name);
    let changed = fs::read_to_string(here("changed")).context("read a changed file")?;
    let facts = [
        ("a changed file", changed == "second layer\n"),
        ("a deleted file", !here("gone/file").exists() && here("gone/kept").exists()),
        ("an opaque directory", !here("opaque/below").exists() && here("opaque/new").exists()),
        ("a directory in the place of a file", here("to-directory/x").is_file()),
        ("the compiler", target.join("usr/bin/gcc").exists()),
        ("a read-only mount", fs::write(here("new"), "").is_err()),
    ];
    // While it is mounted it cannot be removed.
    let removal = store.output(&["rmi", &id])?;
    succeed(&store, &["umount", place])?;
    for (what, holds) in facts {
        ensure!(holds, "{what} is not as it should be");
    }
    ensure!(!removal.status.success(), "a mounted image was removed");
    succeed(&store, &["rmi", &id])?;
    succeed(&store, &["gc"])?;
    ensure!(store.layer_ids()?.is_empty(), "layers are left: {:?}", store.layer_ids()?);
    ensure!(store.leftovers().is_empty(), "left over: {:?}", store.leftovers());
    store.expect_clean()
}

fn succeed(store: &Store, arguments: &[&str]) -> Result<()> {
    let out = store.output(arguments)?;
    ensure!(out.status.success(), "reflayer {arguments:?}: {}", crate::store::said(&out));
    Ok(())
}
