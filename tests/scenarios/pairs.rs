//! Images in two versions of which the second says something about updates.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use testkit::layout::{Image, Layout};
use testkit::peer::Compression;
use testkit::tar::TarWriter;
use testkit::versions::Content;

use crate::built::{Built, Version};
use crate::store::Store;
use crate::world;

/// Tags v1 and v2 of a layout, in zstd:chunked form.
pub(crate) struct Pair {
    built: Option<Built>,
}

/// The pairs by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// Debian with a compiler and an interpreter, before and after updates.
    Real,
    /// A large file, and the same with 100 insertions.
    Insertions,
    /// A large file, and the same with 100 changes in place.
    Changes,
    /// So many tiny files that the TOC weighs most; 1 % changed.
    Tiny,
    /// Equal files and chunks inside a layer, and across two layers of one image.
    Repeated,
}

pub(crate) const ALL: [Which; 5] =
    [Which::Real, Which::Insertions, Which::Changes, Which::Tiny, Which::Repeated];

impl Which {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Real => "real",
            Self::Insertions => "insertions",
            Self::Changes => "changes",
            Self::Tiny => "tiny",
            Self::Repeated => "repeated",
        }
    }

    /// Makes the pair, where that was not done yet.
    pub(crate) fn make(self) -> Result<Pair> {
        let Some(content) = self.content() else { return Ok(Pair { built: None }) };
        made(self.word(), content)
    }

    fn content(self) -> Option<Content> {
        let (bytes, files) = if world::full() { (256 << 20, 200_000) } else { (32 << 20, 10_000) };
        match self {
            Self::Real => None,
            Self::Insertions => Some(Content::Insertions(bytes)),
            Self::Changes => Some(Content::Changes(bytes)),
            Self::Tiny => Some(Content::Tiny { files, every: 100 }),
            Self::Repeated => Some(Content::Repeated),
        }
    }
}

impl Pair {
    pub(crate) fn layout(&self) -> Layout {
        let form = Compression::Chunked;
        self.built.as_ref().map_or_else(|| world::images(form), |built| built.layout(form))
    }

    /// That a store has the trees that GNU tar makes of the image's layers.
    pub(crate) fn expect_in(&self, store: &Store, image: &Image) -> Result<()> {
        match &self.built {
            Some(built) => built.expect_below_tops_in(store, image),
            None => store.expect_trees(image),
        }
    }
}

/// An image whose versions have one layer of so many tiny files.
pub(crate) fn of_tiny_files(files: u64) -> Result<Pair> {
    made(&format!("tiny-{files}"), Content::Tiny { files, every: 100 })
}

fn made(name: &str, content: Content) -> Result<Pair> {
    let place = world::once(name, |place| build(content, place))?;
    Ok(Pair { built: Some(Built::open(&place)) })
}

fn build(content: Content, place: &Path) -> Result<()> {
    let version = |tag, updated| -> Result<Version<PathBuf>> {
        let layer = |layer| {
            let name = format!("{tag}-{layer}");
            tar(place, &name, |tar| content.write(updated, layer, tar))
        };
        Ok((tag, (0..content.layers(updated)).map(layer).collect::<Result<_>>()?))
    };
    let versions = [version("v1", false)?, version("v2", true)?];
    Built::from_tars(place, &[Compression::Chunked], &versions).map(drop)
}

/// Writes a tar at `place`.
pub(crate) fn tar(
    place: &Path,
    name: &str,
    fill: impl FnOnce(&mut TarWriter<BufWriter<File>>) -> std::io::Result<()>,
) -> Result<PathBuf> {
    fs::create_dir_all(place).context("make a place for tars")?;
    let path = place.join(format!("{name}.tar"));
    let write = || -> std::io::Result<()> {
        let mut tar = TarWriter::new(BufWriter::new(File::create(&path)?));
        fill(&mut tar)?;
        tar.finish().map(drop)
    };
    write().with_context(|| format!("write {}", path.display()))?;
    Ok(path)
}
