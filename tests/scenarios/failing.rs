//! R10: one failing call on files, or all from one on, ends in success or in an error that names
//! the first cause; the store is as it was, and a collection leaves nothing over. A call that
//! moves too little ends in success.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read as _;
use std::process::ExitStatus;
use std::thread;

use anyhow::{Context, Result, bail, ensure};
use libtest_mimic::Trial;
use testkit::fs_role::Filesystem;
use testkit::kill::{Call, Errno, Outcome, Watch, run_failing, run_short, watched};
use testkit::peer::Compression;
use testkit::tried::tried;

use crate::needs::on;
use crate::victim::{Scene, Seen, Victim};
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
        trial("ext4", "r10_reads_fail_in_gc", Compression::Gzip, Victim::Collection, true),
        trial("ext4", "r10_changes_fail_in_a_mount", Compression::Gzip, Victim::Mount, false),
        trial("ext4", "r10_reads_fail_in_a_mount", Compression::Gzip, Victim::Mount, true),
        trial("xfs", "r10_changes_fail_in_a_repair", Compression::Chunked, Victim::Repair, false),
        trial("xfs", "r10_reads_fail_in_a_repair", Compression::Chunked, Victim::Repair, true),
    ]
}

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blow {
    /// One call fails.
    Once(Errno),
    /// So do all that follow.
    From(Errno),
    /// One call moves a single byte of many.
    Short,
}

const BLOWS: [Blow; 10] = [
    Blow::Once(Errno::EIO),
    Blow::Once(Errno::ENOSPC),
    Blow::Once(Errno::EMFILE),
    Blow::From(Errno::EIO),
    Blow::From(Errno::ENOSPC),
    Blow::From(Errno::EMFILE),
    Blow::Once(Errno::ENOMEM),
    Blow::Once(Errno::EDQUOT),
    Blow::Once(Errno::EINTR),
    Blow::Short,
];

const TURNS: u64 = BLOWS.len() as u64;

/// In the short form one call of so many is disturbed; each blow has its turn twice at least.
const STRIDE: u64 = 30;

/// How the command came out of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    /// It could do without the call.
    Success,
    /// An error, and the old state.
    Old,
    /// An error after the last change: the new state, whole.
    New,
    /// What a repair could not read it tells as damage, and not why it could not.
    Damage,
}

/// `REFLAYER_STEPS=1` tries every call with every blow; else they take turns.
fn every_call(
    filesystem: &Filesystem,
    form: Compression,
    victim: Victim,
    reads: bool,
) -> Result<()> {
    let mut scene = Scene::new(filesystem, form, victim)?;
    let watch = if reads {
        let (root, run) = (scene.store.root(), scene.store.run_root());
        Watch::ReadsBelow(vec![root, run, scene.images().to_owned()])
    } else {
        Watch::Changes
    };
    let calls = watched(scene.command()?, &watch).context("undisturbed")?;
    scene.expect_sound(scene.seen()?)?;
    let (mut ends, mut faults) = (BTreeMap::<End, u64>::new(), Vec::new());
    for (turn, blow) in (0..).zip(BLOWS) {
        let reach = calls.iter().filter(|call| blow != Blow::Short || call.moves()).count() as u64;
        let stride = setting_or("REFLAYER_STEPS", (reach / 2).clamp(1, STRIDE * TURNS), 1);
        let first = 1 + turn * stride / TURNS;
        for n in (first..=reach).step_by(usize::try_from(stride)?) {
            let run = Run::of(&scene, &watch, n, blow)?;
            let seen = scene.seen().with_context(|| format!("{blow:?} at call {n}"))?;
            let at = format!("{blow:?} at call {n}, {run}");
            match run.judge(victim, seen, blow) {
                Ok(end) => *ends.entry(end).or_default() += u64::from(run.call.is_some()),
                // All of them are told at the end: one run shows them all.
                Err(error) => faults.push(format!("{at}: {error:#}")),
            }
            scene.expect_sound(seen).with_context(|| format!("after {at}: {}", run.said))?;
        }
    }
    let (kind, victim) = (if reads { "reads" } else { "changes" }, victim.words());
    eprintln!("{} {form:?} {kind} in {victim}: {ends:?}", filesystem.name);
    ensure!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    // The whole is there, or wholly gone, and the command says that something failed.
    for (end, words) in [(End::New, "after the change was whole"), (End::Damage, "told as damage")]
    {
        let count = ends.remove(&end).unwrap_or_default();
        if count > 0 {
            tried(filesystem.name, count, &format!("failing {kind} in {victim} {words}"))?;
        }
    }
    tried(filesystem.name, ends.values().sum(), &format!("failing {kind} in {victim}"))
}

/// What a victim did.
struct Run {
    status: ExitStatus,
    /// What it said, on both ways.
    said: String,
    /// The call that was disturbed; threads may do with fewer calls than usual.
    call: Option<Call>,
    /// Those after it.
    later: Vec<Call>,
}

impl Run {
    /// Runs the victim. A pipe is no file, so that saying something cannot fail.
    fn of(scene: &Scene, watch: &Watch, n: u64, blow: Blow) -> Result<Self> {
        let (mut reader, writer) = std::io::pipe().context("make a pipe")?;
        let mut command = scene.command()?;
        // What a repair leaves undone is part of its report.
        command.stdout(writer.try_clone().context("share a pipe")?).stderr(writer);
        let (outcome, said) = thread::scope(|scope| {
            let said = scope.spawn(move || {
                let mut bytes = Vec::new();
                reader.read_to_end(&mut bytes).map(|_| String::from_utf8_lossy(&bytes).into_owned())
            });
            let outcome = match blow {
                Blow::Once(errno) => run_failing(command, watch, n..=n, errno),
                Blow::From(errno) => run_failing(command, watch, n.., errno),
                Blow::Short => run_short(command, watch, n),
            };
            (outcome, said.join().expect("it only reads"))
        });
        match outcome? {
            Outcome::Ended { status, calls } => {
                let mut calls = calls.into_iter().skip(usize::try_from(n - 1)?);
                let (call, said) = (calls.next(), said.context("read what was said")?);
                Ok(Self { status, said, call, later: calls.collect() })
            }
            Outcome::Killed(call) => bail!("nobody was to be killed: {call}"),
        }
    }

    fn judge(&self, victim: Victim, seen: Seen, blow: Blow) -> Result<End> {
        let Self { status, said, .. } = self;
        ensure!(!said.contains("panicked"), "a panic: {said}");
        if status.success() {
            ensure!(seen.is_done != Some(false), "it reports success and did nothing");
            ensure!(!self.lacks_flush(blow), "a flush failed, and it reports success");
            return Ok(End::Success);
        }
        let (Blow::Once(errno) | Blow::From(errno), Some(_)) = (blow, &self.call) else {
            bail!("{status}, and nothing failed: {said}");
        };
        let is_left = victim == Victim::Repair && status.code() == Some(3);
        ensure!(status.code() == Some(1) || is_left, "{status}: {said}");
        let text = std::io::Error::from_raw_os_error(errno as i32).to_string();
        let words = text.split(" (").next().unwrap_or_default();
        if is_left && !said.contains(words) {
            return Ok(End::Damage);
        }
        ensure!(said.contains(words), "the message does not say {words:?}: {said}");
        Ok(if seen.is_done == Some(true) { End::New } else { End::Old })
    }

    /// Whether a flush failed and was not made again, as one that was interrupted may be.
    fn lacks_flush(&self, blow: Blow) -> bool {
        let is_flush = |call: &&Call| ["fsync", "fdatasync", "syncfs"].contains(&call.name());
        let flush = self.call.as_ref().filter(is_flush);
        let is_interrupted = blow == Blow::Once(Errno::EINTR);
        let is_repeated =
            |call: &Call| is_interrupted && self.later.iter().any(|later| later.repeats(call));
        flush.is_some_and(|call| !is_repeated(call))
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.call {
            Some(call) => write!(f, "{call}: {}", self.status),
            None => write!(f, "which was not made: {}", self.status),
        }
    }
}
