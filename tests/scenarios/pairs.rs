//! Images in two versions of which the second says something about updates.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use testkit::dice::Dice;
use testkit::judge::Names;
use testkit::layout::{Image, Layout};
use testkit::peer::Compression;
use testkit::tar::TarWriter;
use testkit::tree::{Tree, directory, file, noise};

use crate::built::Built;
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

const FORMS: [Compression; 1] = [Compression::Chunked];
const EDITS: u64 = 100;

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
        let made = |make: fn(&Path) -> Result<()>| -> Result<Pair> {
            let place = world::once(self.word(), make)?;
            Ok(Pair { built: Some(Built::open(&place)) })
        };
        match self {
            Self::Real => Ok(Pair { built: None }),
            Self::Insertions => made(|place| one_file(place, insert)),
            Self::Changes => made(|place| one_file(place, overwrite)),
            Self::Tiny => made(tiny),
            Self::Repeated => made(repeated),
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

fn one_file(place: &Path, edit: fn(&[u8], &mut Dice) -> Vec<u8>) -> Result<()> {
    let length = if world::full() { 256 << 20 } else { 32 << 20 };
    let before = noise(length, 5);
    let after = edit(&before, &mut Dice::new(6));
    let tars = [("v1", before), ("v2", after)].map(|(tag, content)| {
        tar(place, tag, |tar| tar.file("model", &content)).map(|path| (tag, vec![path]))
    });
    let [v1, v2] = tars;
    Built::from_tars(place, &FORMS, &[v1?, v2?]).map(drop)
}

fn insert(before: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut places: Vec<u64> = (0..EDITS).map(|_| dice.below(before.len() as u64)).collect();
    places.sort_unstable();
    let (mut after, mut done) = (Vec::with_capacity(before.len()), 0);
    for place in places {
        let place = usize::try_from(place).expect("an index of a vector");
        after.extend_from_slice(&before[done..place]);
        after.extend(noise(usize::try_from(1 + dice.below(3000)).expect("small"), place as u64));
        done = place;
    }
    after.extend_from_slice(&before[done..]);
    after
}

fn overwrite(before: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut content = before.to_vec();
    for _ in 0..EDITS {
        let at = usize::try_from(dice.below(content.len() as u64 - 3000)).expect("an index");
        content[at..at + 3000].copy_from_slice(&noise(3000, at as u64));
    }
    content
}

fn tiny(place: &Path) -> Result<()> {
    let files: u64 = if world::full() { 200_000 } else { 10_000 };
    let tars = [("v1", 0), ("v2", 1)].map(|(tag, changed)| {
        let path = tar(place, tag, |tar| {
            for number in 0..files {
                if number % 1000 == 0 {
                    tar.directory(&format!("d{}/", number / 1000))?;
                }
                let seed = if number % 100 == 7 { number + changed * files } else { number };
                let length = usize::try_from(20 + number % 400).expect("small");
                tar.file(&format!("d{}/{number}", number / 1000), &noise(length, seed))?;
            }
            Ok(())
        })?;
        anyhow::Ok((tag, vec![path]))
    });
    let [v1, v2] = tars;
    Built::from_tars(place, &FORMS, &[v1?, v2?]).map(drop)
}

/// v2 is as large as it looks only because it says everything several times.
fn repeated(place: &Path) -> Result<()> {
    let part = |number| noise(400_000, 200 + number);
    let twice = |tree: Tree, from: u64| {
        (0..8u64).fold(tree, |tree, number| {
            // The same files under three names, and the same chunks inside larger files.
            let large = [part(from), noise(50_000, from + 90 + number), part(from + 1)].concat();
            tree.with(&format!("a/{from}-{number}"), file(part(from + number % 3)))
                .with(&format!("b/{from}-{number}"), file(large))
        })
    };
    let base = || Tree::new().with(".", directory());
    let versions = [
        ("v1", vec![(base().with("only", file(noise(9000, 1))), Names::WithTop)]),
        (
            "v2",
            vec![
                (twice(base(), 0), Names::WithTop),
                (twice(twice(Tree::new(), 0), 2), Names::Bare),
            ],
        ),
    ];
    Built::from_trees(place, &FORMS, &versions).map(drop)
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
