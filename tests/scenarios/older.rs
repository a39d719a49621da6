//! Older podmans on a store that reflayer wrote.
//!
//! Only where their roots are: `REFLAYER_OLD_PODMANS=1 cargo xtask peers` makes them.

use std::fs;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use testkit::fs_role::Filesystem;
use testkit::judge;
use testkit::peer::{Compression, Podman, Sid};

use crate::needs::on;
use crate::small;
use crate::store::Store;

pub(crate) fn trials() -> Vec<Trial> {
    let trial = |release: &'static str, name| {
        on(name, &format!("the_podman_of_{release}_opens_our_store"), move |filesystem| {
            opens(filesystem, release)
        })
    };
    let there = Sid::OLDER.into_iter().filter(|release| Sid::find_older(release).is_some());
    there.flat_map(|release| ["xfs", "ext4"].map(|name| trial(release, name))).collect()
}

fn opens(filesystem: &Filesystem, release: &str) -> Result<()> {
    let store = Store::new(filesystem)?;
    let forms = [Compression::Gzip, Compression::Chunked];
    let small = small::make(&store.room().join("small"), &forms)?;
    for (version, form) in [("v1", Compression::Chunked), ("v2", Compression::Gzip)] {
        let name = format!("localhost/small:{version}");
        store.json(&["pull", "--name", &name, &small.reference(form, version)])?;
    }
    let sid = Sid::find_older(release).context("it was there a moment ago")?;
    let podman = Podman::new(&sid, &store.root(), &store.run_root())?;
    eprintln!("{} {release}: {}", filesystem.name, podman.run(&["--version"])?.trim());
    let list = podman.run(&["images", "--no-trunc", "--format", "{{.ID}}"])?;
    for version in ["v1", "v2"] {
        let id = small.layout(Compression::Chunked).image(version)?.config;
        ensure!(list.contains(&id), "podman lists {list}, not {id}");
        let name = format!("small:{version}");
        let size = podman.run(&["image", "inspect", "--format", "{{.Size}}", &name])?;
        ensure!(size.trim().parse::<u64>().is_ok_and(|size| size > 500_000), "size {size}");
        podman.run(&["create", "--pull=never", "--name", "it", &name, "/usr/bin/tool"])?;
        let tar = store.run_root().join("it.tar");
        podman.run(&["export", "-o", tar.to_str().context("a plain path")?, "it"])?;
        let list = judge::output(std::process::Command::new("tar").arg("-tf").arg(&tar))?;
        let has = |file: &str| list.lines().any(|line| line == file);
        ensure!(has("usr/bin/tool") && has("opt/new"), "{name} has {list}");
        ensure!(!has("gone") && !has("opt/owned"), "{name} shows what is deleted: {list}");
        podman.run(&["rm", "it"])?;
        saved(&store, &podman, &name)?;
    }
    store.expect_clean()?;
    podman.run(&["rmi", "small:v1"])?;
    store.expect_clean()?;
    store.json(&["rmi", "small:v2"])?;
    ensure!(store.layer_ids()?.is_empty(), "layers are left");
    ensure!(store.leftovers().is_empty(), "left over: {:?}", store.leftovers());
    Ok(())
}

/// An image that podman saves has the layers that the image's config names.
fn saved(store: &Store, podman: &Podman, name: &str) -> Result<()> {
    let file = store.run_root().join("it.archive");
    let place = file.to_str().context("a plain path")?;
    podman.run(&["save", "-q", "--uncompressed", "--format", "oci-archive", "-o", place, name])?;
    let format = "{{range .RootFS.Layers}}{{.}} {{end}}";
    let diff_ids = podman.run(&["image", "inspect", "--format", format, name])?;
    let list = judge::output(std::process::Command::new("tar").arg("-tf").arg(&file))?;
    for diff_id in diff_ids.split_whitespace() {
        let digest = diff_id.trim_start_matches("sha256:");
        ensure!(list.contains(digest), "{name} was saved as {list}, without {digest}");
    }
    fs::remove_file(&file).context("remove an archive")
}
