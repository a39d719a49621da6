//! What we wrote, as somebody reads it whose code shares nothing with ours.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use composefs_storage::{Layer, Storage, TarSplitFdStream, TarSplitItem};
use libtest_mimic::Trial;
use testkit::digest::sha256_of_file;
use testkit::fs_role::Filesystem;
use testkit::layout::Image;
use testkit::peer::Compression;

use crate::needs::on;
use crate::seat::Seat;
use crate::small;
use crate::store::Store;
use crate::world;

pub(crate) fn trials() -> Vec<Trial> {
    let ours = |name| on(name, "another_reader_agrees_on_our_store", agrees);
    let mut trials: Vec<Trial> = ["xfs", "ext4"].map(ours).into();
    trials.extend(["xfs", "ext4"].map(|name| {
        on(name, "another_reader_agrees_on_a_users_store", |filesystem| {
            agrees_on_users(&Seat::new(filesystem, "user")?)
        })
    }));
    trials
}

/// Of an ordinary user, whose files and notes for overlay are others.
fn agrees_on_users(seat: &Seat) -> Result<()> {
    for (form, version) in [(Compression::Chunked, "v1"), (Compression::Gzip, "v2")] {
        seat.sh(&format!("reflayer pull {}", seat.reference(form, version)))?;
    }
    for version in ["v1", "v2"] {
        let image = seat.images.layout(Compression::Chunked).image(version)?;
        expect_image(&seat.graph_root(), seat.room(), &image)?;
    }
    Ok(())
}

/// Images that came by their TOCs and whole, the second of them onto the first.
fn agrees(filesystem: &Filesystem) -> Result<()> {
    let place = filesystem.room()?;
    let images = small::make(place.path(), &[Compression::Gzip, Compression::Chunked])?;
    for form in [Compression::Gzip, Compression::Chunked] {
        let store = Store::new(filesystem)?;
        for version in ["v1", "v2"] {
            store.pull(&images.reference(form, version))?;
        }
        for version in ["v1", "v2"] {
            expect_image(&store.root(), store.room(), &images.layout(form).image(version)?)?;
        }
    }
    let real = world::images(Compression::Chunked);
    let store = Store::new(filesystem)?;
    store.pull(&format!("oci:{}:v1", real.dir().display()))?;
    expect_image(&store.root(), store.room(), &real.image("v1")?)
}

/// That the reader finds the image with its names, its layers, and their tars.
fn expect_image(root: &Path, place: &Path, image: &Image) -> Result<()> {
    let storage = Storage::open(root)?;
    let found = storage.get_image(&image.config)?;
    ensure!(found.id() == image.config, "{} is there as {}", image.config, found.id());
    let listed = fs::read_to_string(root.join("overlay-images/images.json"))?;
    let listed: Vec<serde_json::Value> = serde_json::from_str(&listed)?;
    ensure!(storage.list_images()?.len() == listed.len(), "another list of images");
    let names = found.names(&storage)?;
    let [name] = names.as_slice() else { bail!("{} has names {names:?}", image.config) };
    ensure!(storage.find_image_by_name(name)?.id() == image.config, "{name} is another image");
    let expected: Vec<_> = image.layers.iter().map(|layer| layer.layer_id.clone()).collect();
    ensure!(found.storage_layer_ids(&[Storage::open(root)?])? == expected, "other layers");

    let mut above: Vec<String> = Vec::new();
    for expected in &image.layers {
        let layer = Layer::open(&storage, &expected.layer_id)?;
        ensure!(layer.parents(&storage)? == above, "other layers below {}", expected.layer_id);
        let link = fs::read_to_string(root.join("overlay").join(&expected.layer_id).join("link"))?;
        ensure!(layer.link_id() == link, "another short name of {}", expected.layer_id);
        ensure!(storage.resolve_link(&link)? == expected.layer_id, "{link} leads elsewhere");
        let tar = place.join("read.tar");
        let size = write_tar(&storage, &layer, &tar)?;
        ensure!(sha256_of_file(&tar)? == expected.diff_id, "another tar of {}", layer.id());
        let recorded = storage.get_layer_metadata(layer.id())?.diff_size;
        ensure!(recorded == Some(size), "a tar of {size} bytes, recorded are {recorded:?}");
        above.insert(0, expected.layer_id.clone());
    }
    Ok(())
}

/// Writes the tar as the reader puts it together, and gives its length.
fn write_tar(storage: &Storage, layer: &Layer, to: &Path) -> Result<u64> {
    let mut tar = File::create(to).context("create a tar")?;
    let mut stream = TarSplitFdStream::new(storage, layer)?;
    while let Some(item) = stream.next()? {
        match item {
            TarSplitItem::Segment(bytes) => tar.write_all(&bytes)?,
            TarSplitItem::FileContent { fd, size, .. } => {
                io::copy(&mut File::from(fd).take(size), &mut tar)?;
            }
        }
    }
    Ok(tar.metadata()?.len())
}
