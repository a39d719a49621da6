//! One image, whatever its layers are compressed with.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use testkit::fs_role::Filesystem;
use testkit::peer::Compression;

use crate::needs::on_each;
use crate::records::{self, Records};
use crate::store::Store;
use crate::world::{self, VERSIONS};

pub(crate) fn trials() -> Vec<Trial> {
    on_each("every_form_gives_one_image", every_form)
}

/// What the form of a layer decides (the TOC and the blob as it came), and when it came.
const OF_THE_FORM: [&str; 11] = [
    // Of images: the manifest names the blobs, and the layout has a name of its own.
    "big-data-digests",
    "big-data-sizes",
    "digest",
    "names",
    // Of both and of layers.
    "big-data-names",
    "compressed-diff-digest",
    "compressed-size",
    "compression",
    "created",
    "metadata",
    "toc-digest",
];

fn every_form(filesystem: &Filesystem) -> Result<()> {
    let mut seen: Option<[Records; 2]> = None;
    for form in [Compression::Chunked, Compression::Gzip, Compression::Zstd] {
        let found = pull_and_look(filesystem, form)?;
        if let Some(first) = &seen {
            ensure!(*first == found, "records differ: {first:#?}\n{}: {found:#?}", form.word());
        }
        seen = Some(found);
    }
    Ok(())
}

fn pull_and_look(filesystem: &Filesystem, form: Compression) -> Result<[Records; 2]> {
    let store = Store::new(filesystem)?;
    let layout = world::images(form);
    for version in VERSIONS {
        let report = store.pull(&format!("oci:{}:{version}", layout.dir().display()))?;
        eprintln!("{} {} {version}: {}", filesystem.name, form.word(), report.figures());
        let image = layout.image(version)?;
        ensure!(store.image_ids()?.contains(&image.config), "image {version} is not listed");
        if form != Compression::Chunked {
            // By TOC, the trees are compared where pulls by TOC are the matter.
            store.expect_trees(&image)?;
        }
    }
    store.expect_clean()?;
    let names = if form == Compression::Chunked { "toc-digest" } else { "compressed-diff-digest" };
    let layers = records::layers(&store)?;
    ensure!(
        layers.values().all(|layer| layer.contains_key(names)),
        "{names} is missing: {layers:#?}"
    );
    Ok([layers, records::images(&store)?].map(|found| records::without(found, &OF_THE_FORM)))
}
