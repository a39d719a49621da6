//! One image, whatever its layers are compressed with.

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use testkit::fs_role::Filesystem;
use testkit::peer::Compression;

use crate::needs::on_each;
use crate::pulls;
use crate::records::{self, Records};
use crate::store::Store;
use crate::world::{self, VERSIONS};

pub(crate) fn trials() -> Vec<Trial> {
    on_each("every_form_gives_one_image", every_form)
}

/// What the form of a layer decides (the TOC and the blob as it came), and when it came.
const OF_THE_FORM: [&str; 12] = [
    // Of images: the manifest names the blobs, and the layout has a name of its own.
    "big-data-digests",
    "big-data-sizes",
    "digest",
    "names",
    "names-history",
    // Of both and of layers.
    "big-data-names",
    "compressed-diff-digest",
    "compressed-size",
    "compression",
    "created",
    "metadata",
    "toc-digest",
];

/// Every filesystem sees a full pull; decompressors do not care which one it is.
fn full_forms(filesystem: &Filesystem) -> &'static [Compression] {
    match filesystem.name {
        "xfs" => &[Compression::Gzip],
        "btrfs" => &[Compression::Zstd],
        _ => &[Compression::Gzip, Compression::Zstd],
    }
}

fn every_form(filesystem: &Filesystem) -> Result<()> {
    let by_toc = records_of(&pulls::from_layout(filesystem)?, "toc-digest")?;
    for form in full_forms(filesystem) {
        let store = pull_in_full(filesystem, *form)?;
        let found = records_of(&store, "compressed-diff-digest")?;
        for (ours, theirs) in by_toc.iter().zip(&found) {
            expect_equal(ours, theirs).with_context(|| format!("by TOC and {}", form.word()))?;
        }
    }
    Ok(())
}

fn expect_equal(ours: &Records, theirs: &Records) -> Result<()> {
    ensure!(ours.keys().eq(theirs.keys()), "{:?} and {:?}", ours.keys(), theirs.keys());
    for (id, record) in ours {
        ensure!(theirs.get(id) == Some(record), "{record:?} and {:?}", theirs.get(id));
    }
    Ok(())
}

fn pull_in_full(filesystem: &Filesystem, form: Compression) -> Result<Store> {
    let store = Store::new(filesystem)?;
    let layout = world::images(form);
    for version in VERSIONS {
        let report = store.pull(&format!("oci:{}:{version}", layout.dir().display()))?;
        eprintln!("{} {} {version}: {}", filesystem.name, form.word(), report.figures());
        let image = layout.image(version)?;
        ensure!(store.image_ids()?.contains(&image.config), "image {version} is not listed");
        store.expect_trees(&image)?;
    }
    store.expect_clean()?;
    Ok(store)
}

/// Layer and image records, without what the form decides; every layer must have `mark`.
fn records_of(store: &Store, mark: &str) -> Result<[Records; 2]> {
    let layers = records::layers(store)?;
    ensure!(layers.values().all(|layer| layer.contains_key(mark)), "no {mark}: {layers:#?}");
    Ok([layers, records::images(store)?].map(|found| records::without(found, &OF_THE_FORM)))
}
