//! R11: no room for bytes or for files is an error that says so; the old state stands, and the
//! room is free again at once.

use std::fs::File;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use testkit::disk;
use testkit::fs_role::Filesystem;
use testkit::judge::Names;
use testkit::loop_fs::LoopFs;
use testkit::peer::Compression;
use testkit::tree::{Tree, file, noise};
use testkit::tried::tried;

use crate::built::Built;
use crate::needs::on;
use crate::store::Store;
use crate::trouble::expect_refused;
use crate::world::{self, setting_or};

const FORMS: [Compression; 2] = [Compression::Gzip, Compression::Chunked];
const MIB: u64 = 1 << 20;
const WORDS: &str = "No space left on device";

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        on("tiny", "r11_a_full_disk_is_an_error", tiny),
        on("ext4", "r11_no_inodes_is_an_error", no_inodes),
        on("ext4", "r11_a_disk_that_fills_is_an_error", filled),
        on("xfs", "r11_a_disk_that_fills_is_an_error", filled),
    ]
}

/// A base image on a disk that has no room for half of it.
fn tiny(filesystem: &Filesystem) -> Result<()> {
    for form in FORMS {
        let store = Store::new(filesystem)?;
        let reference = format!("oci:{}:v1", world::images(form).dir().display());
        // What a store begins with stays.
        expect_refused(&store, &reference, &[WORDS])?;
        let before = Usage::of(filesystem)?;
        expect_refused(&store, &reference, &[WORDS])?;
        before.expect_again(filesystem).with_context(|| format!("{form:?}"))?;
    }
    tried(filesystem.name, 2, "full disks")
}

/// A disk of its own that ends with as many files as `options` say.
fn no_inodes(kind: &Filesystem) -> Result<()> {
    for form in FORMS {
        let place = tempfile::Builder::new().prefix("full-").tempdir_in("/var/tmp")?;
        let disk = LoopFs::make_with(place.path(), kind.name, 64 * MIB, &["-N", "128"])?;
        expect_full(&disk, &images()?, form).with_context(|| format!("{form:?}"))?;
    }
    tried(kind.name, 2, "disks without inodes")
}

/// `REFLAYER_STEPS` says at how many amounts of free space; the largest is nearly enough.
fn filled(kind: &Filesystem) -> Result<()> {
    let steps = setting_or("REFLAYER_STEPS", 2, 12);
    // The smallest xfs that can be made.
    let bytes = 300 * MIB;
    for form in FORMS {
        for step in 0..steps {
            let place = tempfile::Builder::new().prefix("full-").tempdir_in("/var/tmp")?;
            // Else ext4 keeps a part of it back for root.
            let options: &[&str] = if kind.name == "ext4" { &["-m", "0"] } else { &[] };
            let disk = LoopFs::make_with(place.path(), kind.name, bytes, options)?;
            let free = 2 * MIB + step * (LARGE - 3 * MIB) / steps;
            expect_filled(&disk, form, free)
                .with_context(|| format!("{form:?}, {free} bytes are free"))?;
        }
    }
    tried(kind.name, 2 * steps, "disks that fill")
}

fn expect_filled(disk: &LoopFs, form: Compression, free: u64) -> Result<()> {
    let room = rustix::fs::statvfs(&disk.filesystem.path).context("ask for free space")?;
    let room = room.f_bavail * room.f_frsize;
    let ballast = File::create(disk.filesystem.path.join("ballast")).context("make ballast")?;
    rustix::fs::fallocate(&ballast, rustix::fs::FallocateFlags::empty(), 0, room - free)
        .context("fill the disk")?;
    expect_full(disk, &images()?, form)
}

/// A small image fits, a large one does not, and then the small one is as it was.
fn expect_full(disk: &LoopFs, built: &Built, form: Compression) -> Result<()> {
    let store = Store::new(&disk.filesystem)?;
    store.pull(&built.reference(form, "small")).context("the small image")?;
    store.json(&["gc"])?;
    let before = Usage::of(&disk.filesystem)?;
    for tag in ["large", "large"] {
        expect_refused(&store, &built.reference(form, tag), &[WORDS])?;
        before.expect_again(&disk.filesystem)?;
    }
    let image = built.layout(form).image("small")?;
    ensure!(store.image_ids()? == [image.config.clone()], "the small image is listed no more");
    built.expect_below_tops_in(&store, &image)
}

/// Bytes of the large image.
const LARGE: u64 = 12 * MIB;

/// A small image, and a large one of many files.
fn images() -> Result<Built> {
    let place = world::once("full-disk", |place| {
        let small = Tree::new().with("etc/name", file("small")).with("lib", file(noise(9000, 1)));
        let large = (0..400u64).fold(Tree::new(), |tree, number| {
            let length = usize::try_from(LARGE / 400).expect("it is small");
            tree.with(&format!("d{}/{number}", number % 7), file(noise(length, 100 + number)))
        });
        let versions =
            [("small", vec![(small, Names::Bare)]), ("large", vec![(large, Names::Bare)])];
        Built::from_trees(place, &FORMS, &versions).map(drop)
    })?;
    Ok(Built::open(&place))
}

/// What is taken of a disk.
struct Usage {
    bytes: u64,
    inodes: u64,
}

impl Usage {
    fn of(filesystem: &Filesystem) -> Result<Self> {
        let path = filesystem.path();
        Ok(Self { bytes: disk::used(path)?, inodes: disk::inodes(path)? })
    }

    /// Directories may stay longer than they were, and so may the filesystem's own lists.
    fn expect_again(&self, filesystem: &Filesystem) -> Result<()> {
        let now = Self::of(filesystem)?;
        eprintln!(
            "{}: bytes {} → {}, inodes {} → {}",
            filesystem.name, self.bytes, now.bytes, self.inodes, now.inodes
        );
        ensure!(now.bytes <= self.bytes + (128 << 10), "bytes: {} → {}", self.bytes, now.bytes);
        ensure!(now.inodes <= self.inodes + 12, "inodes: {} → {}", self.inodes, now.inodes);
        Ok(())
    }
}
