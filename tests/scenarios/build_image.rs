//! Images of our own making, read by others.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use testkit::compare::{self, Options};
use testkit::fs_role::Filesystem;
use testkit::judge;
use testkit::layout::Layout;
use testkit::tree::{Tree, directory, file, hard_link, noise, symlink};

use crate::needs::on;
use crate::records;
use crate::store::{Store, said};
use crate::world;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        on("xfs", "skopeo_takes_our_images_by_their_toc", by_toc),
        on("ext4", "two_builds_give_the_same_bytes", same_bytes),
    ]
}

/// A tree without devices, which podman's partial pulls leave out.
fn tree(seed: u64) -> Tree {
    (0..300).fold(base(seed), |tree, number| {
        let content =
            noise(3000 + 17 * number, if number % 50 == 0 { seed } else { number as u64 });
        tree.with(&format!("usr/share/many/{number}"), file(content))
    })
}

fn base(seed: u64) -> Tree {
    Tree::new()
        .with(".", directory())
        .with("etc/os-release", file(format!("VERSION={seed}\n")))
        .with("usr/bin/tool", file(noise(300_000, 9)).mode(0o4755))
        .with("usr/bin/alias", hard_link("usr/bin/tool"))
        .with("usr/lib/link", symlink("../bin/tool"))
        .with("home/user", directory().mode(0o700).owner(1000, 1000))
        .with("home/user/file", file("x").owner(1000, 1000).xattr("user.note", "kept"))
}

fn build(store: &Store, source: &Path, layout: &Path, tag: &str) -> Result<()> {
    let [source, layout] = [source, layout].map(|path| path.display().to_string());
    let out = store.output(&["build-image", &source, &format!("oci:{layout}:{tag}")])?;
    ensure!(out.status.success(), "build-image: {}", said(&out));
    Ok(())
}

fn same_bytes(filesystem: &Filesystem) -> Result<()> {
    let store = Store::new(filesystem)?;
    let source = store.room().join("source");
    tree(1).write(&source)?;
    let layouts = ["a", "b"].map(|name| store.room().join(name));
    for layout in &layouts {
        build(&store, &source, layout, "v1")?;
    }
    judge::run(Command::new("diff").arg("-r").args(&layouts))?;
    // And it is the tree: as GNU tar unpacks what the blob is, by an independent decoder.
    let layout = Layout::open(&layouts[0]);
    let image = layout.image("v1")?;
    let tar = store.room().join("layer.tar");
    let mut zstd = Command::new("zstd");
    judge::run(zstd.args(["-q", "-d", "-o"]).arg(&tar).arg(layout.blob(&image.layers[0].digest)))?;
    ensure!(
        testkit::digest::sha256_of_file(&tar)? == image.layers[0].diff_id,
        "the DiffID is another"
    );
    let unpacked = store.room().join("unpacked");
    std::fs::create_dir(&unpacked)?;
    judge::unpack(&tar, &unpacked)?;
    compare::expect_none(
        "the built image",
        &compare::trees(&source, &unpacked, &Options::default())?,
    )
}

fn by_toc(filesystem: &Filesystem) -> Result<()> {
    let store = Store::new(filesystem)?;
    let registry = world::registry()?;
    let layout = Layout::open(&store.room().join("layout"));
    let podman = store.podman()?;
    for (tag, seed) in [("v1", 1), ("v2", 2)] {
        let source = store.room().join(tag);
        tree(seed).write(&source)?;
        build(&store, &source, layout.dir(), tag)?;
        let name = format!("built/app:{tag}");
        world::push(&world::sid()?, &registry, &layout, tag, &name)?;
        let mut copy = podman.skopeo_copy(&[]);
        copy.args([registry.reference(&name), format!("containers-storage:localhost/{name}")]);
        judge::run(&mut copy)?;
        let layer = &layout.image(tag)?.layers[0];
        let records = records::layers(&store)?;
        // Only layers that came by their TOC have its digest in their record.
        let by_toc =
            records.get(&layer.layer_id).is_some_and(|layer| layer.contains_key("toc-digest"));
        ensure!(by_toc, "skopeo took {tag} in full: {records:#?}");
    }
    let check = podman.check()?;
    eprintln!("podman system check: {check:?}");
    store.expect_clean()
}
