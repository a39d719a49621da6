//! R1: killed at any state-changing call, a store opens, holds an image whole or not at all,
//! and after one collection has nothing in it that it had not before.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use testkit::fs_role::Filesystem;
use testkit::kill::{Call, Outcome, run_until};
use testkit::peer::Compression;

use crate::needs::on;
use crate::tried::tried;
use crate::victim::{Scene, Victim};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        on("ext4", "r1_killed_in_a_full_pull", |fs| {
            every_point(fs, Compression::Gzip, Victim::Pull { before: None })
        }),
        on("xfs", "r1_killed_in_a_pull_by_toc", |fs| {
            every_point(fs, Compression::Chunked, Victim::Pull { before: None })
        }),
        on("xfs", "r1_killed_in_an_update", |fs| {
            every_point(fs, Compression::Chunked, Victim::Pull { before: Some("v1") })
        }),
        on("ext4", "r1_killed_in_a_removal", |fs| {
            every_point(fs, Compression::Gzip, Victim::Removal)
        }),
        on("ext4", "r1_killed_in_a_collection", |fs| {
            every_point(fs, Compression::Gzip, Victim::Collection)
        }),
    ]
}

fn every_point(filesystem: &Filesystem, form: Compression, victim: Victim) -> Result<()> {
    let mut scene = Scene::new(filesystem, form, victim)?;
    let mut calls = BTreeMap::<&str, u32>::new();
    for n in 1.. {
        let call = match run_until(scene.command()?, n)? {
            Outcome::Killed(call) => call,
            Outcome::Ended { status, calls: made } => {
                ensure!(status.success(), "undisturbed: {status}");
                ensure!(!made.is_empty(), "no state-changing call was seen");
                break;
            }
        };
        *calls.entry(call.name()).or_default() += 1;
        let sound = scene.has_image().and_then(|has| scene.expect_sound(has));
        sound.with_context(|| at(n, &call))?;
    }
    let points: u32 = calls.values().sum();
    eprintln!("{} {form:?} {victim:?}: {points} points: {calls:?}", filesystem.name);
    ensure!(points > 20, "a command with so few calls is none: {points}");
    tried(filesystem.name, points.into(), &format!("kills in {}", victim.words()))
}

fn at(n: u64, call: &Call) -> String {
    format!("after a kill at call {n}, {call}")
}
