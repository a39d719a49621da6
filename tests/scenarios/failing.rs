//! R10: one failing call on files, or all from one on, ends in success or in an error that names
//! the first cause; the store is as it was, and a collection leaves nothing over.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::process::ExitStatus;
use std::thread;

use anyhow::{Context, Result, bail, ensure};
use libtest_mimic::Trial;
use testkit::fs_role::Filesystem;
use testkit::kill::{Call, Errno, Outcome, Watch, run_failing};
use testkit::peer::Compression;
use testkit::tried::tried;

use crate::needs::on;
use crate::victim::{Scene, Victim};
use crate::world::setting_or;

const UPDATE: Victim = Victim::Pull { before: Some("v1") };
const PULL: Victim = Victim::Pull { before: None };

pub(crate) fn trials() -> Vec<Trial> {
    let trial = |name, title: &str, form, victim, reads| {
        on(name, title, move |fs| every_call(fs, form, victim, reads))
    };
    vec![
        trial("ext4", "r10_changes_fail_in_a_full_pull", Compression::Gzip, PULL, false),
        trial("xfs", "r10_changes_fail_in_an_update", Compression::Chunked, UPDATE, false),
        trial("ext4", "r10_changes_fail_in_a_removal", Compression::Gzip, Victim::Removal, false),
        trial("ext4", "r10_changes_fail_in_gc", Compression::Gzip, Victim::Collection, false),
        trial("ext4", "r10_reads_fail_in_a_full_pull", Compression::Gzip, PULL, true),
        trial("xfs", "r10_reads_fail_in_an_update", Compression::Chunked, UPDATE, true),
        trial("ext4", "r10_reads_fail_in_a_removal", Compression::Gzip, Victim::Removal, true),
    ]
}

/// What happens, and whether to one call or to all from it on.
const BLOWS: [(Errno, bool); 5] = [
    (Errno::EIO, true),
    (Errno::ENOSPC, true),
    (Errno::EMFILE, true),
    (Errno::EIO, false),
    (Errno::ENOSPC, false),
];

/// How the command came out of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    /// It could do without the call.
    Success,
    /// An error, and the old state.
    Old,
    /// An error after the last change: the new state, whole.
    New,
}

/// `REFLAYER_STEPS=1` tries every call with every error; else they take turns.
fn every_call(
    filesystem: &Filesystem,
    form: Compression,
    victim: Victim,
    reads: bool,
) -> Result<()> {
    let stride = setting_or("REFLAYER_STEPS", 151, 1);
    let mut scene = Scene::new(filesystem, form, victim)?;
    let watch = if reads {
        let (root, run) = (scene.store.root(), scene.store.run_root());
        Watch::ReadsBelow(vec![root, run, scene.images().to_owned()])
    } else {
        Watch::Changes
    };
    let (mut ends, mut faults) = (BTreeMap::<End, u64>::new(), Vec::new());
    for (index, (errno, once)) in BLOWS.into_iter().enumerate() {
        let first = if stride > 1 { 1 + index as u64 * stride / BLOWS.len() as u64 } else { 1 };
        for n in (first..).step_by(usize::try_from(stride)?) {
            let last = if once { n } else { u64::MAX };
            let (status, calls, said) = run(&scene, &watch, n, last, errno)?;
            let has_image = scene.has_image().with_context(|| format!("{errno} at call {n}"))?;
            let call = usize::try_from(n - 1).ok().and_then(|at| calls.get(at));
            let Some(call) = call else {
                ensure!(status.success(), "undisturbed: {status}: {said}");
                scene.expect_sound(has_image)?;
                break;
            };
            let judged = judge(has_image, victim, status, call, errno, &said)
                .with_context(|| format!("{errno} at call {n}, {call}, once: {once}"));
            match judged {
                Ok(end) => *ends.entry(end).or_default() += 1,
                // All of them are told at the end: one run shows them all.
                Err(error) => faults.push(format!("{error:#}")),
            }
            scene.expect_sound(has_image).with_context(|| {
                format!("after {errno} at call {n}, {call}, once: {once}: {status} {said}")
            })?;
        }
    }
    let (kind, victim) = (if reads { "reads" } else { "changes" }, victim.words());
    eprintln!("{} {form:?} {kind} in {victim}: {ends:?}", filesystem.name);
    ensure!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    // The whole is there, or wholly gone, and the command says that something failed.
    let late = ends.remove(&End::New).unwrap_or_default();
    if late > 0 {
        let what = format!("failing {kind} in {victim} after the change was whole");
        tried(filesystem.name, late, &what)?;
    }
    tried(filesystem.name, ends.values().sum(), &format!("failing {kind} in {victim}"))
}

/// Runs the victim; gives what it said, too. A pipe is no file, so that saying it cannot fail.
fn run(
    scene: &Scene,
    watch: &Watch,
    first: u64,
    last: u64,
    errno: Errno,
) -> Result<(ExitStatus, Vec<Call>, String)> {
    let (mut reader, writer) = std::io::pipe().context("make a pipe")?;
    let mut command = scene.command()?;
    command.stderr(writer);
    thread::scope(|scope| {
        let said = scope.spawn(move || {
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes).map(|_| String::from_utf8_lossy(&bytes).into_owned())
        });
        let outcome = run_failing(command, watch, first..=last, errno)?;
        let said = said.join().expect("it only reads").context("read what was said")?;
        match outcome {
            Outcome::Ended { status, calls } => Ok((status, calls, said)),
            Outcome::Killed(call) => bail!("nobody was to be killed: {call}"),
        }
    })
}

fn judge(
    has_image: bool,
    victim: Victim,
    status: ExitStatus,
    call: &Call,
    errno: Errno,
    said: &str,
) -> Result<End> {
    ensure!(!said.contains("panicked"), "a panic: {said}");
    let is_done = has_image != (victim == Victim::Removal);
    if status.success() {
        ensure!(is_done || victim == Victim::Collection, "it reports success and did nothing");
        let flushes = ["fsync", "fdatasync", "syncfs"].contains(&call.name());
        ensure!(!flushes, "a flush failed, and it reports success");
        return Ok(End::Success);
    }
    ensure!(status.code() == Some(1), "{status}: {said}");
    let text = std::io::Error::from_raw_os_error(errno as i32).to_string();
    let words = text.split(" (").next().unwrap_or_default();
    ensure!(said.contains(words), "the message does not say {words:?}: {said}");
    let is_new = is_done && victim != Victim::Collection;
    Ok(if is_new { End::New } else { End::Old })
}
