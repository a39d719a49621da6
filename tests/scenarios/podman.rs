//! podman on a store that reflayer filled.

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use testkit::fs_role::Filesystem;
use testkit::judge;
use testkit::peer::{Compression, Podman};

use crate::needs::on;
use crate::small;
use crate::store::Store;
use crate::world::{self, VERSIONS};

pub(crate) fn trials() -> Vec<Trial> {
    // On ext4, others' tools do more with smaller images: see `citizen`.
    let mut trials = Vec::from(
        ["xfs", "btrfs"].map(|name| on(name, "r23_podman_runs_what_we_pulled", podman_runs)),
    );
    trials.push(on("ext4", "the_judge_agrees_with_podman", judge_agrees));
    trials
}

/// Two independent readers of one image see the same trees: what judges us can be trusted.
fn judge_agrees(filesystem: &Filesystem) -> Result<()> {
    let store = Store::new(filesystem)?;
    let form = Compression::Gzip;
    let small = small::make(&store.room().join("small"), &[form])?;
    let podman = store.podman()?;
    let mut copy = podman.skopeo_copy(&[small.layout(form).dir()]);
    copy.args([&small.reference(form, "v1"), "containers-storage:localhost/small:v1"]);
    judge::run(&mut copy)?;
    // podman's full pulls ignore what a layer says of its top.
    small.expect_below_tops_in(&store, &small.layout(form).image("v1")?)
}

fn podman_runs(filesystem: &Filesystem) -> Result<()> {
    let repository = format!("podman-{}/app", filesystem.name);
    let registry = world::registry_with(&repository)?;
    let names = VERSIONS.map(|version| format!("{}/{repository}:{version}", registry.host()));
    let ours = Store::new(filesystem)?;
    for name in &names {
        ours.pull(&format!("docker://{name}"))?;
    }
    let podman = ours.podman()?;
    expect_listed(&podman, &names)?;
    for image in &names {
        podman.run_in(image, &["true"])?;
        let text = podman.run_in(image, &["cat", "/etc/os-release"])?;
        ensure!(text.contains("VERSION_CODENAME=bookworm"), "os-release in {image}: {text}");
        let python = podman.run_in(image, &["python3", "-c", "print(6 * 7)"])?;
        ensure!(python.trim() == "42", "python in {image}: {python}");
    }
    let theirs = Store::new(filesystem)?;
    let other = theirs.podman()?;
    for name in &names {
        other.pull(&format!("docker://{name}"))?;
    }
    let (found, usual) = (findings(&podman)?, findings(&other)?);
    eprintln!(
        "{} podman system check: {} findings here, {} after its own pull",
        filesystem.name,
        found.len(),
        usual.len()
    );
    let more: Vec<_> = found.iter().filter(|line| !usual.contains(line)).collect();
    ensure!(more.is_empty(), "podman system check finds more than after its own pull: {more:#?}");
    ours.expect_clean()
}

fn expect_listed(podman: &Podman, names: &[String]) -> Result<()> {
    let list = podman.run(&["images", "--format", "{{.Repository}}:{{.Tag}}"])?;
    for name in names {
        ensure!(list.lines().any(|line| line == name), "podman lists {list:?}, not {name}");
    }
    Ok(())
}

/// What podman finds, by layer, path and whether the path is changed, missing or new.
///
/// `* layer ID: +/bin(mtime:0x6b050beb→0x6b051391), layer content modified`
fn findings(podman: &Podman) -> Result<Vec<String>> {
    let text = podman.check().context("podman system check")?;
    let found = text.lines().filter_map(|line| line.trim_start().strip_prefix("* "));
    Ok(found
        .map(|line| line.split_once('(').map_or(line, |(before, _)| before).to_owned())
        .collect())
}
