//! A small image that has every kind of entry, for scenarios that pull it hundreds of times.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use testkit::compare::{self, Options, Whiteouts};
use testkit::judge::{self, Names};
use testkit::layout::{Image, Layout};
use testkit::peer::Compression;
use testkit::tree::{Tree, char_device, directory, fifo, file, hard_link, noise, sparse, symlink};

use crate::store::Store;
use crate::world;

/// Layouts with two versions of the image, tags v1 and v2, and what its layers are.
pub(crate) struct Small {
    place: PathBuf,
}

impl Small {
    /// Makes both versions at `place`, in these forms.
    pub(crate) fn make(place: &Path, forms: &[Compression]) -> Result<Self> {
        let small = Self { place: place.to_owned() };
        fs::create_dir_all(place.join("tars")).context("make a place for tars")?;
        let plain = Layout::create(&place.join(Compression::Keep.word()))?;
        for (version, seed) in [("v1", 1), ("v2", 2)] {
            let layers = [(base(seed), Names::WithTop), (top(seed), Names::Bare)];
            let mut tars = Vec::new();
            for (index, (tree, names)) in layers.into_iter().enumerate() {
                tars.push(small.pack(&tree, names, &format!("{version}-{index}"))?);
            }
            plain.add_image(version, &tars)?;
            for form in forms.iter().filter(|form| **form != Compression::Keep) {
                let [from, to] = [Compression::Keep, *form]
                    .map(|form| format!("oci:{}:{version}", place.join(form.word()).display()));
                world::sid()?.copy(&[place], &from, &to, *form)?;
            }
        }
        Ok(small)
    }

    /// The layout in one form.
    pub(crate) fn layout(&self, form: Compression) -> Layout {
        Layout::open(&self.place.join(form.word()))
    }

    /// How a version is named as something to pull.
    pub(crate) fn reference(&self, form: Compression, version: &str) -> String {
        format!("oci:{}:{version}", self.place.join(form.word()).display())
    }

    /// That a store has the image, with the trees that GNU tar makes of its layers.
    pub(crate) fn expect_in(&self, store: &Store, image: &Image) -> Result<()> {
        // Only the base layer says something about its top.
        self.compare(store, image, |index| index > 0)
    }

    /// As `expect_in`, whatever the tops of the layers look like.
    pub(crate) fn expect_below_tops_in(&self, store: &Store, image: &Image) -> Result<()> {
        self.compare(store, image, |_| true)
    }

    fn compare(
        &self,
        store: &Store,
        image: &Image,
        ignore_top: impl Fn(usize) -> bool,
    ) -> Result<()> {
        for (index, layer) in image.layers.iter().enumerate() {
            let tree = self.place.join("trees").join(&layer.diff_id);
            let options = Options { whiteouts: Whiteouts::Aufs, ignore_top: ignore_top(index) };
            let found = compare::trees(&tree, &store.diff(&layer.layer_id), &options)?;
            compare::expect_none(&format!("layer {}", layer.layer_id), &found)?;
        }
        Ok(())
    }

    fn pack(&self, tree: &Tree, names: Names, name: &str) -> Result<PathBuf> {
        let source = self.place.join("source").join(name);
        tree.write(&source)?;
        let tar = self.place.join("tars").join(name);
        judge::pack(&source, names, &tar)?;
        let unpacked = self.place.join("trees").join(testkit::digest::sha256_of_file(&tar)?);
        fs::create_dir_all(&unpacked).context("make a place for a tree")?;
        judge::unpack(&tar, &unpacked)?;
        Ok(tar)
    }
}

fn base(seed: u64) -> Tree {
    Tree::new()
        .with(".", directory())
        .with("etc/os-release", file(format!("VERSION={seed}\n")))
        .with("usr/bin/tool", file(noise(200_000, 100)).mode(0o4755))
        .with("usr/bin/alias", hard_link("usr/bin/tool"))
        .with("usr/lib/big", file([noise(150_000, 101), noise(50_000, seed)].concat()))
        .with("usr/lib/link", symlink("big"))
        .with("var/sparse", sparse(1 << 20, vec![(300_000, noise(5000, 102))]))
        .with("dev/null", char_device(1, 3).mode(0o666))
        .with("run/pipe", fifo())
        .with("opt/owned", file("x").owner(1000, 1000).xattr("user.note", "kept"))
        .with("gone", file("deleted by the next layer"))
}

fn top(seed: u64) -> Tree {
    Tree::new()
        .with(".wh.gone", file(""))
        .with("etc/os-release", file(format!("VERSION={seed}, patched\n")))
        .with("opt/.wh..wh..opq", file(""))
        .with("opt/new", file(noise(70_000, 103)))
}
