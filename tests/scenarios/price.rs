//! R5: what durability costs. One flush of the filesystem for all layers, others beside a pull
//! that takes its time, and a few of directories and records; of records alone where the caller
//! asks for no durability. The time is measured, not judged.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use testkit::fs_role::Filesystem;
use testkit::kill::calls;
use testkit::peer::Compression;
use testkit::tried::tried;

use crate::needs::on;
use crate::small;
use crate::store::{Store, said};
use crate::world::{self, full};

pub(crate) fn trials() -> Vec<Trial> {
    ["xfs", "ext4"].map(|name| on(name, "r5_durability_is_a_flush", price)).into()
}

const FORM: Compression = Compression::Chunked;
const ROUNDS: u32 = 5;

fn price(filesystem: &Filesystem) -> Result<()> {
    let store = Store::new(filesystem)?;
    let small = small::make(&store.room().join("small"), &[FORM])?;
    let small = small.reference(FORM, "v1");
    let (all, durable) = flushes(filesystem, &[], &small)?;
    ensure!(all > 0, "a pull flushed no filesystem");
    let (all, quick) = flushes(filesystem, &["--no-sync"], &small)?;
    ensure!(all == 0 && quick < durable, "a quick pull flushed as much: {all}, {quick}");
    if !full() {
        return tried(filesystem.name, 1, "pull whose flushes were counted");
    }
    let real = format!("oci:{}:v1", world::images(FORM).dir().display());
    // The first one reads the blobs from the disk, the others do not.
    time(filesystem, &[], &real)?;
    let (mut durable, mut quick) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..ROUNDS {
        durable += time(filesystem, &[], &real)?;
        quick += time(filesystem, &["--no-sync"], &real)?;
    }
    let ratio = durable.as_secs_f64() / quick.as_secs_f64();
    let what = format!("pulls on {}, durable ones taking {ratio:.2} of others", filesystem.name);
    tried(filesystem.name, ROUNDS.into(), &what)
}

/// How often a pull flushes the whole filesystem, and how often a file or a directory.
fn flushes(filesystem: &Filesystem, options: &[&str], reference: &str) -> Result<(usize, usize)> {
    let store = Store::new(filesystem)?;
    let mut pull = store.patient(60, &[&["pull"], options, &[reference]].concat());
    pull.stdout(Stdio::null()).stderr(Stdio::null());
    let calls = calls(pull)?;
    let count = |name| calls.iter().filter(|call| call.name() == name).count();
    let (all, single) = (count("syncfs"), count("fsync") + count("fdatasync"));
    eprintln!("{} {options:?}: {all} of the filesystem, {single} of one file", filesystem.name);
    Ok((all, single))
}

fn time(filesystem: &Filesystem, options: &[&str], reference: &str) -> Result<Duration> {
    let store = Store::new(filesystem)?;
    // What was written before is not of this pull.
    rustix::fs::syncfs(std::fs::File::open(store.room())?).context("flush the filesystem")?;
    let start = Instant::now();
    let out = store.output(&[&["pull"], options, &[reference]].concat())?;
    ensure!(out.status.success(), "pull {options:?}: {}", said(&out));
    Ok(start.elapsed())
}
