//! R1, R2, R14: killed at any state-changing call, whatever lock is held there, a store opens,
//! holds an image whole or not at all, after one collection has nothing in it that it had not
//! before, and keeps nobody waiting.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use testkit::fs_role::Filesystem;
use testkit::kill::{Call, Outcome, run_until_with};
use testkit::locks::held_below;
use testkit::peer::Compression;
use testkit::tried::tried;

use crate::needs::on;
use crate::victim::{Scene, Victim};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        on("ext4", "r1_r2_r14_killed_in_a_full_pull", |fs| {
            every_point(fs, Compression::Gzip, Victim::Pull { before: None })
        }),
        on("xfs", "r1_r2_r14_killed_in_a_pull_by_toc", |fs| {
            every_point(fs, Compression::Chunked, Victim::Pull { before: None })
        }),
        on("xfs", "r1_r2_r14_killed_in_an_update", |fs| {
            every_point(fs, Compression::Chunked, Victim::Pull { before: Some("v1") })
        }),
        on("ext4", "r1_r2_r14_killed_in_a_removal", |fs| {
            every_point(fs, Compression::Gzip, Victim::Removal)
        }),
        on("ext4", "r1_r2_r14_killed_in_a_collection", |fs| {
            every_point(fs, Compression::Gzip, Victim::Collection)
        }),
        on("ext4", "r1_r2_r14_killed_in_a_mount", |fs| {
            every_point(fs, Compression::Gzip, Victim::Mount)
        }),
        on("ext4", "r1_r2_r14_killed_in_a_repair", |fs| {
            every_point(fs, Compression::Chunked, Victim::Repair)
        }),
    ]
}

fn every_point(filesystem: &Filesystem, form: Compression, victim: Victim) -> Result<()> {
    let mut scene = Scene::new(filesystem, form, victim)?;
    let (mut calls, mut locks) = (BTreeMap::<&str, u32>::new(), BTreeMap::<String, u32>::new());
    for n in 1.. {
        let (root, mut held) = (scene.store.root(), Ok(Vec::new()));
        let outcome = run_until_with(scene.command()?, n, || held = held_below(&root))?;
        let call = match outcome {
            Outcome::Killed(call) => call,
            Outcome::Ended { status, calls: made } => {
                ensure!(status.success(), "undisturbed: {status}");
                ensure!(!made.is_empty(), "no state-changing call was seen");
                break;
            }
        };
        *calls.entry(call.name()).or_default() += 1;
        for lock in held?.iter().map(|path| kind(path)).collect::<BTreeSet<_>>() {
            *locks.entry(lock).or_default() += 1;
        }
        let sound = scene.seen().and_then(|seen| scene.expect_sound(seen));
        sound.with_context(|| at(n, &call))?;
    }
    let points: u32 = calls.values().sum();
    eprintln!("{} {form:?} {victim:?}: {points} points: {calls:?}", filesystem.name);
    // A mount is a matter of the kernel's: it opens, configures, makes and moves it.
    let few = if victim == Victim::Mount { 5 } else { 20 };
    ensure!(points > few, "a command with so few calls is none: {points}");
    // A repair changes files of layers only.
    let needed = if victim == Victim::Repair { 1 } else { 2 };
    for lock in ["layers.lock", "images.lock"].into_iter().take(needed) {
        ensure!(locks.contains_key(lock), "no kill while {lock} was held");
    }
    for (lock, kills) in locks {
        let what = format!("kills in {} that holds {lock}", victim.words());
        tried(filesystem.name, kills.into(), &what)?;
    }
    tried(filesystem.name, points.into(), &format!("kills in {}", victim.words()))
}

/// What a lock is, whichever layer or directory it is of.
fn kind(path: &Path) -> String {
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let of = path.parent().map(name).unwrap_or_default();
    let name = name(path);
    let is_named = path.extension().is_some_and(|end| end == "lock");
    if is_named { name } else { format!("a lock in {of}") }
}

fn at(n: u64, call: &Call) -> String {
    format!("after a kill at call {n}, {call}")
}
