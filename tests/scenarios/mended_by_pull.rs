//! R7: a pull of an image that is there mends what it finds damaged, from its own source,
//! by fetching little more than that; GNU tar agrees afterwards.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, lchown, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;
use testkit::dice::Dice;
use testkit::fs_role::Filesystem;
use testkit::layout::{Image, Layer};
use testkit::peer::Compression;
use testkit::registry::{Mark, Registry, Traffic};
use testkit::tried::tried;

use crate::needs::on;
use crate::repair::{Place, compressed, list_files};
use crate::small;
use crate::store::{Store, said};
use crate::world;

pub(crate) fn trials() -> Vec<Trial> {
    let name = "r7_a_pull_mends_what_it_finds_damaged";
    vec![
        on("xfs", name, by_ranges),
        on("ext4", name, of_gzip_layers),
        on("ext4", "r7_a_pull_leaves_a_mounted_layer_alone", mounted),
    ]
}

/// Files that are damaged in a real image.
fn count() -> u64 {
    world::setting("REFLAYER_DAMAGED", if world::full() { 300 } else { 90 })
}

fn by_ranges(filesystem: &Filesystem) -> Result<()> {
    let repository = "mended-by-pull/app";
    let registry = world::registry_with(repository)?;
    let name = format!("docker://{}/{repository}:v1", registry.host());
    let store = Store::new(filesystem)?;
    store.pull(&name)?;
    let image = world::images(Compression::Chunked).image("v1")?;
    let damaged = damage_files(&store, &image, 17)?;
    let compressed = compressed(&store, &damaged.contents)?;
    store.json(&["pull", "--trust-present", &name])?;

    let mark = registry.mark()?;
    expect_mended(&store, &name, &damaged)?;
    let traffic = of_layers(&registry, mark, repository, &image)?;
    eprintln!(
        "{}: {} files damaged, {} in content: {compressed} compressed bytes of these, {} fetched \
         in {} requests",
        filesystem.name,
        damaged.all.len(),
        damaged.contents.len(),
        traffic.bytes,
        traffic.requests
    );
    ensure!(traffic.bytes > 0, "who mended these?");
    ensure!(traffic.bytes * 10 <= compressed * 12, "{} bytes for {compressed}", traffic.bytes);
    expect_whole(&store, &image, &damaged)?;

    let mark = registry.mark()?;
    expect_nothing_to_do(&store, &name)?;
    let traffic = of_layers(&registry, mark, repository, &image)?;
    ensure!(traffic == Traffic::default(), "a whole image costs {traffic:?}");
    tried(filesystem.name, damaged.all.len() as u64, "damaged files mended by a pull")
}

fn of_gzip_layers(filesystem: &Filesystem) -> Result<()> {
    let layout = world::images(Compression::Gzip);
    let name = format!("oci:{}:v1", layout.dir().display());
    let store = Store::new(filesystem)?;
    store.pull(&name)?;
    let image = layout.image("v1")?;
    let damaged = damage_files(&store, &image, 18)?;
    expect_mended(&store, &name, &damaged)?;
    expect_whole(&store, &image, &damaged)?;
    expect_nothing_to_do(&store, &name)?;
    tried(filesystem.name, damaged.all.len() as u64, "damaged files mended by a pull")
}

/// An overlay must not change under a mount: it is said, and mended once it is gone.
fn mounted(filesystem: &Filesystem) -> Result<()> {
    let store = Store::new(filesystem)?;
    let small = small::make(&store.room().join("small"), &[Compression::Chunked])?;
    let name = small.reference(Compression::Chunked, "v1");
    store.pull(&name)?;
    let image = small.layout(Compression::Chunked).image("v1")?;
    let point = store.room().join("mounted");
    fs::create_dir(&point)?;
    let point = point.to_str().context("a plain path")?;
    succeed(&store, &["mount", &image.config, point])?;
    let file = store.diff(&image.layers[0].layer_id).join("usr/lib/big");
    let result = fs::remove_file(&file).map_err(Into::into).and_then(|()| {
        let text = succeed(&store, &["pull", &name])?;
        ensure!(text.contains("unmount it first"), "{text}");
        ensure!(!file.exists(), "it was changed under a mount");
        Ok(())
    });
    succeed(&store, &["umount", point])?;
    result?;
    let text = succeed(&store, &["pull", &name])?;
    ensure!(text.contains("0 left"), "{text}");
    small.expect_in(&store, &image)?;
    store.expect_clean()
}

/// What was done to a store.
struct Damaged {
    all: Vec<PathBuf>,
    /// Of these, the files whose content is lost.
    contents: BTreeSet<Place>,
    /// Files that are as they were, with their inodes.
    whole: Vec<(PathBuf, u64)>,
}

/// Damages files of all layers, each in one of six ways.
fn damage_files(store: &Store, image: &Image, seed: u64) -> Result<Damaged> {
    let mut files = Vec::new();
    for layer in &image.layers {
        let top = store.diff(&layer.layer_id);
        list_files(&top, &top, &layer.layer_id, &mut files)?;
    }
    let mut dice = Dice::new(seed);
    let mut damaged = Damaged { all: Vec::new(), contents: BTreeSet::new(), whole: Vec::new() };
    for way in 0..count() {
        let place = files.swap_remove(usize::try_from(dice.below(files.len() as u64))?);
        let file = store.diff(&place.0).join(&place.1);
        damage(&file, way % 6).with_context(|| file.display().to_string())?;
        if way % 6 < 4 {
            damaged.contents.insert(place);
        }
        damaged.all.push(file);
    }
    for (layer, path) in files {
        let file = store.diff(&layer).join(path);
        let inode = file.symlink_metadata()?.ino();
        damaged.whole.push((file, inode));
    }
    Ok(damaged)
}

/// What a power cut or a stray command leaves of a file.
fn damage(file: &Path, way: u64) -> Result<()> {
    let stat = file.symlink_metadata()?;
    let cut = |size| fs::File::options().write(true).open(file)?.set_len(size);
    match way {
        0 => fs::remove_file(file)?,
        1 => cut(stat.len() / 2)?,
        2 => {
            fs::remove_file(file)?;
            symlink("/etc/passwd", file)?;
        }
        3 => cut(0)?,
        4 => fs::set_permissions(file, Permissions::from_mode(stat.mode() & 0o7777 ^ 0o022))?,
        _ => lchown(file, Some(stat.uid() + 1), Some(stat.gid() + 1))?,
    }
    Ok(())
}

/// Requests for the blobs of an image's layers.
fn of_layers(registry: &Registry, mark: Mark, repository: &str, image: &Image) -> Result<Traffic> {
    let requests = registry.since(mark)?;
    let of_layer = |uri: &str| {
        let has = |layer: &Layer| uri.contains(&layer.digest);
        uri.contains(repository) && image.layers.iter().any(has)
    };
    Ok(Traffic::of_blobs(requests.iter().filter(|request| of_layer(&request.uri))))
}

/// Pulls, and sees that every damaged file is named as mended; directories have other
/// times where a name in them came or went.
fn expect_mended(store: &Store, name: &str, damaged: &Damaged) -> Result<()> {
    let report = store.json(&["pull", name])?;
    let mended = &report["mended"];
    ensure!(mended["left"] == Value::Array(Vec::new()), "left: {}", mended["left"]);
    let findings = mended["findings"].as_array().context("a report has findings")?;
    let place = |finding: &Value| {
        ensure!(finding["repaired"] == true, "{finding}");
        let text = |key: &str| finding[key].as_str().with_context(|| finding.to_string());
        Ok(store.diff(text("layer")?).join(text("path")?))
    };
    let found: BTreeSet<PathBuf> = findings.iter().map(place).collect::<Result<_>>()?;
    let missed: Vec<_> = damaged.all.iter().filter(|file| !found.contains(*file)).collect();
    ensure!(missed.is_empty(), "not named: {missed:?}");
    for file in found.iter().filter(|file| !damaged.all.contains(file)) {
        ensure!(file.is_dir(), "{} is named wrongly", file.display());
    }
    let fetched = report["bytes"]["fetched"].as_u64();
    ensure!(fetched == mended["fetched"].as_u64(), "{fetched:?}, not {}", mended["fetched"]);
    ensure!(fetched > Some(0), "nothing was fetched");
    Ok(())
}

fn expect_whole(store: &Store, image: &Image, damaged: &Damaged) -> Result<()> {
    for (file, inode) in &damaged.whole {
        let now = file.symlink_metadata()?.ino();
        ensure!(now == *inode, "{} was whole, and is another file now", file.display());
    }
    store.expect_trees(image)?;
    store.expect_clean()?;
    ensure!(store.leftovers().is_empty(), "left over: {:?}", store.leftovers());
    Ok(())
}

fn expect_nothing_to_do(store: &Store, name: &str) -> Result<()> {
    let report = store.json(&["pull", name])?;
    let mended = &report["mended"];
    ensure!(mended["findings"] == Value::Array(Vec::new()), "found again: {mended}");
    ensure!(report["bytes"]["fetched"] == 0, "fetched again: {}", report["bytes"]);
    Ok(())
}

/// Runs the command, and gives what it said.
fn succeed(store: &Store, arguments: &[&str]) -> Result<String> {
    let out = store.output(arguments)?;
    ensure!(out.status.success(), "reflayer {arguments:?}: {}", said(&out));
    Ok(said(&out))
}
