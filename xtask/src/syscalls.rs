//! System calls per file, counted by strace.
//!
//! Two sizes of layer are pulled: what both cost alike is the pull's own, and
//! the difference belongs to the files.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use testkit::judge;
use testkit::versions::Content;
use xshell::{Shell, cmd};

use crate::integration::mounts;
use crate::say::step;
use crate::{made, packages, workspace};

const SMALL: i64 = 1000;
const LARGE: i64 = 6000;

/// Calls by name.
type Counts = BTreeMap<String, i64>;

pub(crate) fn run() -> Result<()> {
    packages::ensure(packages::INTEGRATION)?;
    packages::ensure(packages::SYSCALLS)?;
    let sh = workspace::shell()?;
    step("build", || Ok(cmd!(sh, "cargo build --release --locked --bin reflayer").run()?))?;
    mounts::enter_namespace()?;
    let place = tempfile::Builder::new()
        .prefix("reflayer-syscalls-")
        .tempdir_in("/var/tmp")
        .context("make a place for filesystems")?;
    for name in ["xfs", "ext4"] {
        let filesystem = mounts::make(&sh, place.path(), name)?;
        let counted = [SMALL, LARGE].map(|files| count(&sh, &filesystem.path, files));
        filesystem.unmount(&sh)?;
        let [small, large] = counted;
        let (small, large) = (small?, large?);
        for (index, what) in ["new", "reused"].into_iter().enumerate() {
            print(&format!("{name}, per {what} file"), &small[index], &large[index]);
        }
    }
    Ok(())
}

/// The calls of a cold pull, and of an update that changes one file.
fn count(sh: &Shell, filesystem: &Path, files: i64) -> Result<[Counts; 2]> {
    let files = files.unsigned_abs();
    let layout = made::versions(Content::Tiny { files, every: files })?;
    let program = workspace::target_dir(sh)?.join("release/reflayer");
    let store = filesystem.join("store");
    let pull = |version: &str| -> Result<Counts> {
        let report = tempfile::NamedTempFile::new().context("make a file for strace")?;
        let mut command = Command::new("strace");
        command.args(["-f", "-c", "-U", "calls,name", "-o"]).arg(report.path()).arg(&program);
        command.arg("--root").arg(store.join("root")).arg("--runroot").arg(store.join("run"));
        command.arg("pull").arg(format!("oci:{}:{version}", layout.dir().display()));
        judge::run(&mut command)?;
        let text = std::fs::read_to_string(report.path()).context("read what strace wrote")?;
        Ok(parse(&text))
    };
    let counts = [pull("v1")?, pull("v2")?];
    sh.remove_path(store)?;
    Ok(counts)
}

/// `  5003 fchown`, between lines of dashes and before a total.
fn parse(text: &str) -> Counts {
    let line = |line: &str| {
        let (count, name) = line.trim().split_once(char::is_whitespace)?;
        Some((name.trim().to_owned(), count.parse().ok()?))
    };
    text.lines().filter_map(line).filter(|(name, _)| name != "total").collect()
}

#[expect(clippy::print_stdout, reason = "the table is what was asked for")]
#[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
fn print(title: &str, small: &Counts, large: &Counts) {
    let zero = 0;
    let more = |name: &String| large[name] - small.get(name).unwrap_or(&zero);
    let per_file = |name: &String| more(name) as f64 / (LARGE - SMALL) as f64;
    let mut rows: Vec<(f64, &String)> = large.keys().map(|name| (per_file(name), name)).collect();
    rows.sort_by(|a, b| b.0.total_cmp(&a.0));
    let sum: f64 = rows.iter().map(|row| row.0).sum();
    println!(
        "\n{title}: {sum:.2} system calls\n\n| call | per file | of the pull itself |\n|---|---|---|"
    );
    for (each, name) in rows.iter().filter(|row| row.0 >= 0.005) {
        let own = small.get(*name).unwrap_or(&zero) - more(name) * SMALL / (LARGE - SMALL);
        println!("| {name} | {each:.2} | {own} |");
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_report_of_strace_is_counted() {
        let text = "    calls syscall\n--------- ----------------\n     5003 fchown\n        7 read\n\
                    --------- ----------------\n     5010 total\n";
        let counts = parse(text);
        assert_eq!(counts.len(), 2);
        assert_eq!((counts["fchown"], counts["read"]), (5003, 7));
    }
}
