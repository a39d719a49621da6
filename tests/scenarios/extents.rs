//! Files of the second version share their bytes on the disk with those of the first.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use testkit::compare::{Kind, Snapshot};
use testkit::extents;
use testkit::fs_role::Filesystem;
use testkit::peer::Compression;

use crate::needs::on;
use crate::store::Store;
use crate::world;

pub(crate) fn trials() -> Vec<Trial> {
    ["xfs", "btrfs"].map(|name| on(name, "versions_share_extents", share)).into()
}

/// Smaller files are copied where that is cheaper.
const LARGE: u64 = 1 << 20;

fn share(filesystem: &Filesystem) -> Result<()> {
    let store = Store::new(filesystem)?;
    let layout = world::images(Compression::Chunked);
    for version in world::VERSIONS {
        store.pull(&format!("oci:{}:{version}", layout.dir().display()))?;
    }
    let [first, second] = [layout.image("v1")?, layout.image("v2")?];
    let tops = |image: &testkit::layout::Image| {
        let top = image.layers.last().map(|layer| layer.layer_id.clone());
        store.diff(&top.unwrap_or_default())
    };
    let (first, second) = (tops(&first), tops(&second));
    let pairs = equal_files(&first, &second)?;
    let (mut bytes, mut common, mut placed) = (0, 0, 0);
    for path in &pairs {
        let (a, b) = (first.join(path), second.join(path));
        bytes += b.metadata()?.len();
        common += extents::common(&a, &b)?;
        // Holes have no place on the disk that could be shared.
        placed += extents::of(&b)?.iter().map(|extent| extent.length).sum::<u64>();
    }
    eprintln!(
        "{}: {} equal files, {bytes} bytes, {placed} on the disk, {common} of them shared",
        filesystem.name,
        pairs.len()
    );
    ensure!(pairs.len() > 10, "too few equal files to tell: {}", pairs.len());
    ensure!(placed > bytes / 2, "{placed} bytes on the disk for {bytes}");
    ensure!(common == placed, "only {common} bytes of {placed} are shared");
    Ok(())
}

/// Large files with the same content in both trees.
fn equal_files(first: &Path, second: &Path) -> Result<Vec<PathBuf>> {
    let sizes = |tree: &Path| -> Result<BTreeMap<Vec<u8>, u64>> {
        let nodes = Snapshot::of(tree)?.nodes.into_iter();
        let files = nodes.filter(|(_, node)| node.kind == Kind::File && node.first_name.is_none());
        Ok(files.filter_map(|(path, node)| Some((path, node.size?))).collect())
    };
    let others = sizes(second)?;
    let mut equal = Vec::new();
    for (path, size) in sizes(first)? {
        if size < LARGE || others.get(&path) != Some(&size) {
            continue;
        }
        let path = PathBuf::from(String::from_utf8_lossy(&path).into_owned());
        if std::fs::read(first.join(&path))? == std::fs::read(second.join(&path))? {
            equal.push(path);
        }
    }
    Ok(equal)
}
