//! Real images in two versions, in every form that layers come in.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, Result, bail};
use testkit::judge::{self, Names};
use testkit::layout::Layout;
use testkit::odd_tail::has_odd_tail;
use testkit::peer::{Compression, Sid};
use xshell::{Shell, cmd};

use super::archives::Archives;
use super::debian::{self, Root};
use super::{extras, upper};
use crate::say::step;

/// Counted up when images made before would no longer do.
const RECIPE: &str = "2";
const RECIPE_FILE: &str = "recipe";
const RELEASE: &str = "bookworm";
const VERSIONS: [&str; 2] = ["v1", "v2"];
/// Lengths that are tried until podman reads the images.
const ATTEMPTS: usize = 8;
/// A compiler, an interpreter, and two packages of many files.
const SECOND_LAYER: [&str; 4] = ["gcc", "python3", "golang-1.19-src", "libboost1.74-dev"];

/// Whether the images at `place` are whole, and made as they are made now.
pub(super) fn ready(place: &Path) -> bool {
    fs::read_to_string(place.join(RECIPE_FILE)).is_ok_and(|recipe| recipe.trim() == RECIPE)
}

/// Makes the images at `place`.
pub(super) fn make(sh: &Shell, sid: &Sid, place: &Path) -> Result<()> {
    let new = place.with_extension("new");
    let build = place.with_extension("build");
    for old in [&new, &build, &place.to_owned()] {
        sh.remove_path(old)?;
    }
    fs::create_dir_all(new.join("tars")).context("make the images' directory")?;
    fs::create_dir_all(&build).context("make a place for roots")?;
    make_bases(sh, &new)?;
    let mut trees = Vec::new();
    for version in VERSIONS {
        step(&format!("image {version}"), || {
            let base = new.join(format!("rootfs-{version}"));
            let second = second_layer(sh, &base, &build, version)?;
            trees.push((version, base, second));
            Ok(())
        })?;
    }
    step("images that podman reads", || {
        for length in 0..ATTEMPTS {
            if pack_all(sh, sid, &new, &trees, length)? {
                return Ok(());
            }
        }
        bail!("podman would refuse them, whatever their length")
    })?;
    sh.remove_path(&build)?;
    step("other forms of the images", || convert_all(sid, &new))?;
    fs::write(new.join(RECIPE_FILE), RECIPE).context("note the recipe")?;
    fs::rename(&new, place).context("put the images in their place")
}

/// The base of v1 as the main archive has it, and of v2 with all updates.
fn make_bases(sh: &Shell, new: &Path) -> Result<()> {
    let bases = VERSIONS.map(|version| new.join(format!("rootfs-{version}")));
    let [v1, v2] = &bases;
    debian::bootstrap(sh, RELEASE, v1)?;
    extras::forget_the_machine(v1)?;
    Root { place: v1, overlay: None }.clean()?;
    cmd!(sh, "cp -a {v1} {v2}").quiet().run()?;
    let root = Root { place: v2, overlay: None };
    update(sh, root)?;
    for (base, version) in bases.iter().zip(VERSIONS) {
        extras::add_to_base(base, version)?;
    }
    Ok(())
}

fn update(sh: &Shell, root: Root<'_>) -> Result<()> {
    let sources = root.place.join("etc/apt/sources.list");
    let written = fs::read_to_string(&sources).context("read the root's sources")?;
    fs::write(&sources, Archives::of_host().with_updates(RELEASE, &written))
        .context("write the root's sources")?;
    root.apt_get(sh, &["update"])?;
    root.apt_get(sh, &["dist-upgrade"])?;
    root.clean()
}

/// Installs on top of `base`; gives the directory of the differences.
fn second_layer(sh: &Shell, base: &Path, build: &Path, version: &str) -> Result<PathBuf> {
    let upper = build.join(version);
    let merged = build.join("merged");
    fs::create_dir_all(&upper).context("make an upper directory")?;
    let root = Root { place: &merged, overlay: Some((base, &upper)) };
    root.apt_get(sh, &["update"])?;
    root.apt_get(sh, &[&["install"], &SECOND_LAYER[..]].concat())?;
    root.clean()?;
    root.run(&["sh", "-euc", extras::CHANGES])?;
    upper::spell_as_layer(&upper)?;
    Ok(upper)
}

/// Packs a tree as `tars/<digest>.tar`.
fn pack(tree: &Path, names: Names, tars: &Path) -> Result<PathBuf> {
    let packed = tars.join("new");
    judge::pack(tree, names, &packed)?;
    let digest = testkit::digest::sha256_of_file(&packed)?;
    let tar = tars.join(format!("{digest}.tar"));
    fs::rename(&packed, &tar).context("name a tar")?;
    Ok(tar)
}

/// Packs both images and makes zstd:chunked ones of them; `false` if podman would refuse
/// these, as it does one in some, by their length.
fn pack_all(
    sh: &Shell,
    sid: &Sid,
    new: &Path,
    trees: &[(&str, PathBuf, PathBuf)],
    length: usize,
) -> Result<bool> {
    let (tars, plain, chunked) = (new.join("tars"), new.join("oci-plain"), new.join("oci-chunked"));
    for old in [&tars, &plain, &chunked] {
        sh.remove_path(old)?;
    }
    fs::create_dir(&tars).context("make a place for tars")?;
    let plain = Layout::create(&plain)?;
    for (version, base, second) in trees {
        for tree in [base, second] {
            extras::set_length(tree, length)?;
        }
        let [base, second] = [(base, Names::WithTop), (second, Names::Bare)]
            .map(|(tree, names)| pack(tree, names, &tars));
        plain.add_image(version, &[base?, second?])?;
    }
    convert(sid, new, Compression::Chunked)?;
    let chunked = Layout::open(&chunked);
    let odd = VERSIONS.iter().map(|version| has_odd_tail(&chunked, version));
    Ok(!odd.collect::<Result<Vec<_>>>()?.contains(&true))
}

/// Writes the images in the other forms that registries hold, each form beside the others.
fn convert_all(sid: &Sid, new: &Path) -> Result<()> {
    thread::scope(|scope| {
        let forms = [Compression::Gzip, Compression::Zstd];
        let running = forms.map(|form| scope.spawn(move || convert(sid, new, form)));
        running.into_iter().try_for_each(|thread| thread.join().expect("a conversion panicked"))
    })
}

fn convert(sid: &Sid, new: &Path, form: Compression) -> Result<()> {
    let to = new.join(format!("oci-{}", form.word()));
    for version in VERSIONS {
        let [from, to] =
            [&new.join("oci-plain"), &to].map(|dir| format!("oci:{}:{version}", dir.display()));
        sid.copy(&[new], &from, &to, form)?;
    }
    Ok(())
}
