//! Images made for a scenario, in several versions and forms, and what their layers are.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use testkit::compare::{self, Options, Whiteouts};
use testkit::judge::{self, Names};
use testkit::layout::{Image, Layout};
use testkit::peer::Compression;
use testkit::tree::Tree;

use crate::store::Store;
use crate::world;

/// A tag, and its layers, base first.
pub(crate) type Version<L> = (&'static str, Vec<L>);

/// Layouts, one for each form, with the same images.
pub(crate) struct Built {
    place: PathBuf,
}

impl Built {
    /// Takes what was made at `place`.
    pub(crate) fn open(place: &Path) -> Self {
        Self { place: place.to_owned() }
    }

    /// Makes images of trees.
    pub(crate) fn from_trees(
        place: &Path,
        forms: &[Compression],
        versions: &[Version<(Tree, Names)>],
    ) -> Result<Self> {
        let mut packed = Vec::new();
        for (tag, layers) in versions {
            let mut tars = Vec::new();
            for (index, (tree, names)) in layers.iter().enumerate() {
                tars.push(pack(place, tree, *names, &format!("{tag}-{index}"))?);
            }
            packed.push((*tag, tars));
        }
        Self::from_tars(place, forms, &packed)
    }

    /// Makes images of tars; skopeo compresses them.
    pub(crate) fn from_tars(
        place: &Path,
        forms: &[Compression],
        versions: &[Version<PathBuf>],
    ) -> Result<Self> {
        let built = Self::open(place);
        fs::create_dir_all(place).context("make a place for images")?;
        let plain = Layout::create(&place.join(Compression::Keep.word()))?;
        for (tag, tars) in versions {
            for tar in tars {
                built.unpack(tar)?;
            }
            plain.add_image(tag, tars)?;
            for form in forms.iter().filter(|form| **form != Compression::Keep) {
                let [from, to] = [Compression::Keep, *form]
                    .map(|form| format!("oci:{}:{tag}", place.join(form.word()).display()));
                world::sid()?.copy(&[place], &from, &to, *form)?;
            }
        }
        Ok(built)
    }

    /// Where all of it is.
    pub(crate) fn place(&self) -> &Path {
        &self.place
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
            let tree = self.tree(&layer.diff_id);
            let options = Options { whiteouts: Whiteouts::Aufs, ignore_top: ignore_top(index) };
            let found = compare::trees(&tree, &store.diff(&layer.layer_id), &options)?;
            compare::expect_none(&format!("layer {}", layer.layer_id), &found)?;
        }
        Ok(())
    }

    fn unpack(&self, tar: &Path) -> Result<()> {
        let tree = self.tree(&testkit::digest::sha256_of_file(tar)?);
        // Two versions may share a layer.
        if tree.exists() {
            return Ok(());
        }
        fs::create_dir_all(&tree).context("make a place for a tree")?;
        judge::unpack(tar, &tree)
    }

    fn tree(&self, diff_id: &str) -> PathBuf {
        self.place.join("trees").join(diff_id)
    }
}

fn pack(place: &Path, tree: &Tree, names: Names, name: &str) -> Result<PathBuf> {
    let source = place.join("source").join(name);
    tree.write(&source)?;
    fs::create_dir_all(place.join("tars")).context("make a place for tars")?;
    let tar = place.join("tars").join(name);
    judge::pack(&source, names, &tar)?;
    Ok(tar)
}
