//! A command, looked at again and again while it runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::bench::measure::{Usage, timed};

/// What a command took, and the most that was seen of it.
#[derive(Debug)]
pub(crate) struct Seen {
    usage: Usage,
    /// Open descriptors of one process.
    descriptors: usize,
    /// Names in scratch directories of a store.
    scratch: usize,
}

/// Often enough for what lasts a moment, seldom enough to cost nothing.
const PAUSE: Duration = Duration::from_millis(5);

/// Runs a command that works on the store at `root`.
pub(crate) fn watch(command: &Command, root: &Path) -> Result<Seen> {
    let mut timed = timed(command)?;
    let (mut descriptors, mut scratch, mut round) = (0, 0, 0_u32);
    while timed.child.try_wait().context("wait")?.is_none() {
        for process in below(timed.child.id()) {
            // It may have ended just now.
            let open = fs::read_dir(format!("/proc/{process}/fd")).map_or(0, Iterator::count);
            descriptors = descriptors.max(open);
        }
        // Thousands of names are not counted all the time.
        if round.is_multiple_of(10) {
            scratch = scratch.max(in_scratch(&root.join("overlay")));
        }
        round += 1;
        thread::sleep(PAUSE);
    }
    let Some(usage) = timed.usage()? else { bail!("{command:?} failed:\n{}", timed.said()?) };
    Ok(Seen { usage, descriptors, scratch })
}

impl Seen {
    pub(crate) const HEAD: &str = "| what | wall s | CPU s | memory MiB | µs of CPU per file | \
                                   open files | scratch entries |\n|---|---|---|---|---|---|---|";

    /// A line of a table.
    #[expect(clippy::cast_precision_loss, reason = "a few digits are shown")]
    pub(crate) fn line(&self, what: &str, files: u64) -> String {
        let Usage { wall, cpu, memory } = self.usage;
        let each = cpu * 1e6 / files as f64;
        format!(
            "| {what} | {wall:.2} | {cpu:.2} | {:.1} | {each:.1} | {} | {} |",
            memory / 1024.0,
            self.descriptors,
            self.scratch
        )
    }
}

/// The processes that a process started, and theirs.
fn below(process: u32) -> Vec<u32> {
    let mut found = vec![process];
    let mut next = 0;
    while let Some(process) = found.get(next) {
        let tasks = PathBuf::from(format!("/proc/{process}/task"));
        for task in tasks.read_dir().into_iter().flatten().flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            found.extend(children.split_whitespace().filter_map(|id| id.parse::<u32>().ok()));
        }
        next += 1;
    }
    // Not `time` itself.
    found.split_off(1)
}

/// Names below every directory `scratch` of a slot; slots are at most so deep.
fn in_scratch(overlay: &Path) -> usize {
    let mut sum = 0;
    for place in ["staging", "tempdirs"] {
        let mut todo = vec![(overlay.join(place), 3)];
        while let Some((directory, depth)) = todo.pop() {
            for entry in directory.read_dir().into_iter().flatten().flatten() {
                if entry.file_name() == "scratch" {
                    sum += count(&entry.path());
                } else if depth > 0 && entry.file_name() != "dest" {
                    todo.push((entry.path(), depth - 1));
                }
            }
        }
    }
    sum
}

fn count(directory: &Path) -> usize {
    let entries = directory.read_dir().into_iter().flatten().flatten();
    entries
        .map(|entry| {
            let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
            1 + if is_dir { count(&entry.path()) } else { 0 }
        })
        .sum()
}
