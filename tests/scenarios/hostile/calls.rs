//! R25: the system calls of a pull: no helper, no device, no file of the image as configuration.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use testkit::forged::{Recipe, block_device, char_device, dir, fifo, file};
use testkit::fs_role::Filesystem;

use super::image;
use crate::store::{Store, said};

/// Names that are in the image, and that somebody might run or read as their own.
const TEMPTING: [&str; 8] = [
    "storage.conf",
    "registries.conf",
    "policy.json",
    "auth.json",
    "newuidmap",
    "fuse-overlayfs",
    "ld.so.preload",
    "passwd",
];

pub(super) fn of_a_pull(filesystem: &Filesystem) -> Result<()> {
    let store = Store::new(filesystem)?;
    let mut items = vec![
        dir("evil"),
        char_device("evil/char-device", 1, 3),
        block_device("evil/block-device", 7, 99),
        fifo("evil/named-pipe"),
    ];
    items.extend(
        TEMPTING
            .iter()
            .map(|name| file(format!("evil/{name}"), "#!/bin/sh\nexit 1\n").mode(0o4755)),
    );
    let reference = image(&store, "evil", &[Recipe::of(items).build()])?;
    for (way, number) in [("", 0), ("--full", 1)] {
        let pull = ["pull", way, &reference];
        let pull: Vec<&str> = pull.into_iter().filter(|word| !word.is_empty()).collect();
        let log = store.room().join(format!("log-{number}"));
        let plain = store.command(&pull);
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-s", "4096", "-e", "trace=execve,execveat,open,openat,openat2"]);
        strace.arg("-o").arg(&log).arg(plain.get_program()).args(plain.get_args());
        let out = strace.output().context("start strace")?;
        ensure!(out.status.success(), "{}", said(&out));
        judge(&fs::read_to_string(&log).context("read the log")?, &store)?;
        for command in [&["check"][..], &["export", &store.layer_ids()?[0]]] {
            let plain = store.command(command);
            let mut strace = Command::new("strace");
            strace.args([
                "-f",
                "-qq",
                "-s",
                "4096",
                "-e",
                "trace=execve,execveat,open,openat,openat2",
            ]);
            strace.arg("-o").arg(&log).arg(plain.get_program()).args(plain.get_args());
            let out = strace.output().context("start strace")?;
            ensure!(out.status.success(), "{command:?}: {}", String::from_utf8_lossy(&out.stderr));
            judge(&fs::read_to_string(&log).context("read the log")?, &store)?;
        }
        let removed = store.output(&["rmi", &store.image_ids()?[0]])?;
        ensure!(removed.status.success(), "{}", said(&removed));
    }
    Ok(())
}

/// Looks at each call.
fn judge(log: &str, store: &Store) -> Result<()> {
    let started: Vec<&str> = log.lines().filter(|line| line.contains("exec")).collect();
    ensure!(started.len() == 1, "more than the command was started: {started:#?}");
    let root = store.root();
    let root = root.to_str().context("a plain path")?;
    for line in log.lines().filter(|line| line.contains("open")) {
        let special = ["char-device", "block-device", "named-pipe"];
        if special.iter().any(|name| line.contains(name)) {
            // A handle without rights opens nothing.
            ensure!(line.contains("O_PATH"), "a device or pipe was opened: {line}");
        }
        if TEMPTING.iter().any(|name| line.contains(&format!("{name}\""))) {
            // By its name in a directory of the layer its content is made or hashed; by a
            // whole path it would be somebody's configuration.
            let whole = line.contains("AT_FDCWD") || line.contains("open(");
            ensure!(!(whole && line.contains(root)), "a file of the image was read: {line}");
        }
    }
    // What is looked at must be there, or this looks at nothing.
    ensure!(log.contains("evil"), "the log does not show the layer");
    Ok(())
}
