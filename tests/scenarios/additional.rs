//! Stores that are read-only to one tool, and mounts of which another does not know.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use testkit::digest::sha256;
use testkit::fs_role::Filesystem;
use testkit::judge;
use testkit::layout::Image;
use testkit::peer::Compression;

use crate::needs::{on, on_two};
use crate::small;
use crate::store::{Store, said};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        on_two("ext4", "xfs", "an_image_store_is_shared_with_podman", image_store),
        on("ext4", "additional_store_of_podman_serves_us", serves_us),
        on("ext4", "what_podman_has_mounted_is_kept", podmans_mount),
        on("ext4", "what_we_have_mounted_is_unmounted_by_us", our_mount),
    ]
}

/// A directory that shows another one, which cannot be changed by it.
pub(crate) struct ReadOnly(PathBuf);

impl ReadOnly {
    pub(crate) fn of(directory: &Path, place: &Path) -> Result<Self> {
        std::fs::create_dir_all(place).context("make a mount point")?;
        judge::run(Command::new("mount").arg("--bind").args([directory, place]))?;
        let mount = Self(place.to_owned());
        judge::run(Command::new("mount").args(["-o", "remount,bind,ro"]).arg(place))?;
        Ok(mount)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        // A scenario that failed has its own message.
        drop(Command::new("umount").arg(&self.0).status());
    }
}

fn serves_us(filesystem: &Filesystem) -> Result<()> {
    let theirs = Store::new(filesystem)?;
    let form = Compression::Gzip;
    let small = small::make(&theirs.room().join("small"), &[form])?;
    let skopeo = theirs.podman()?;
    let mut copy = skopeo.skopeo_copy(&[small.layout(form).dir()]);
    copy.args([&small.reference(form, "v1"), "containers-storage:localhost/small:v1"]);
    judge::run(&mut copy)?;
    let shared = ReadOnly::of(&theirs.root(), &theirs.room().join("shared"))?;
    let ours = Store::new(filesystem)?;
    let other = shared.0.to_str().context("a plain path")?;
    let beside =
        |arguments: &[&str]| ours.json(&[&["--additional-store", other], arguments].concat());

    let images = beside(&["images"])?;
    ensure!(images[0]["read_only"] == true, "images: {images}");
    let v1 = small.reference(form, "v1");
    let plan = beside(&["plan", &v1])?;
    ensure!(plan["bytes"]["to_fetch"] == 0, "planned: {plan}");
    let report = beside(&["pull", "--name", "localhost/mine:v1", &v1])?;
    let present = |layer: &serde_json::Value| layer["path"] == "present";
    let layers = report["layers"].as_array().context("layers")?;
    ensure!(layers.iter().all(present), "pulled again: {report}");

    // podman, too, takes an image whose layers are all elsewhere.
    let podman = ours.podman()?.beside(&shared.0)?;
    podman.run(&["create", "--name", "it", "localhost/mine:v1", "/usr/bin/tool"])?;
    let tar = ours.room().join("run/it.tar");
    podman.run(&["export", "-o", tar.to_str().context("a plain path")?, "it"])?;
    let list = judge::output(Command::new("tar").arg("-tf").arg(&tar))?;
    for file in ["etc/os-release", "opt/new", "usr/bin/tool"] {
        ensure!(list.lines().any(|line| line == file), "no {file} in {list}");
    }
    let removal = [&["--additional-store", other], &["rmi", "mine:v1"][..]].concat();
    let refused = ours.output(&removal)?;
    ensure!(refused.status.code() == Some(5), "a container has it: {}", said(&refused));
    podman.run(&["rm", "it"])?;
    beside(&["rmi", "mine:v1"])?;
    let refused =
        ours.output(&[&["--additional-store", other], &["rmi", "small:v1"][..]].concat())?;
    ensure!(!refused.status.success(), "an image of another store was removed");
    drop(podman);
    goes_out(&ours, &Store::new(filesystem)?, other, &small.layout(form).image("v1")?)?;
    theirs.expect_clean()?;
    ours.expect_clean()
}

/// What another store has is shown, and leaves as what it is.
fn goes_out(store: &Store, theirs: &Store, other: &str, image: &Image) -> Result<()> {
    let beside = |arguments: &[&str]| {
        let out = store.output(&[&["--additional-store", other], arguments].concat())?;
        ensure!(out.status.success(), "{arguments:?}: {}", said(&out));
        Ok(out.stdout)
    };
    for layer in &image.layers {
        let tar = beside(&["export", &layer.layer_id])?;
        ensure!(sha256(&tar) == layer.diff_id, "another tar of {}", layer.layer_id);
    }
    let target = store.room().join("target");
    std::fs::create_dir(&target).context("make a mount point")?;
    let place = target.to_str().context("a plain path")?;
    beside(&["mount", "small:v1", place])?;
    let there = [target.join("opt/new").exists(), target.join("gone").exists()];
    beside(&["umount", place])?;
    ensure!(there == [true, false], "the mount shows opt/new and gone: {there:?}");
    let archive = store.room().join("sent.tar");
    let to = format!("oci-archive:{}:v1", archive.display());
    beside(&["push", "small:v1", &to])?;
    // skopeo proves blobs, and podman's store the DiffIDs.
    let podman = theirs.podman()?;
    let mut copy = podman.skopeo_copy(&[store.room()]);
    judge::run(copy.args([&to, "containers-storage:localhost/sent:v1"]))?;
    ensure!(
        theirs.image_ids()? == [image.config.clone()],
        "another image: {:?}",
        theirs.image_ids()?
    );
    Ok(())
}

/// Images live on another filesystem than containers, and in one place for both tools.
fn image_store(filesystem: &Filesystem, other: &Filesystem) -> Result<()> {
    let store = Store::new(filesystem)?;
    let room = other.room().context("make room for the image store")?;
    let place = room.path().join("images");
    let forms = [Compression::Gzip, Compression::Chunked];
    let small = small::make(&store.room().join("small"), &forms)?;
    let option = place.to_str().context("a plain path")?.to_owned();
    let ours = |arguments: &[&str]| store.json(&[&["--imagestore", &option], arguments].concat());
    ours(&["pull", "--name", "localhost/ours:v1", &small.reference(Compression::Chunked, "v1")])?;
    let podman = store.podman()?.with_image_store(&place)?;
    let theirs = small.layout(Compression::Gzip);
    let mut copy = podman.skopeo_copy(&[theirs.dir()]);
    let v2 = small.reference(Compression::Gzip, "v2");
    judge::run(copy.args([&v2, "containers-storage:localhost/theirs:v2"]))?;
    for image in ["localhost/ours:v1", "localhost/theirs:v2"] {
        podman.run(&["create", "--name", "it", image, "/usr/bin/tool"])?;
        let tar = store.run_root().join("it.tar");
        podman.run(&["export", "-o", tar.to_str().context("a plain path")?, "it"])?;
        let list = judge::output(Command::new("tar").arg("-tf").arg(&tar))?;
        ensure!(list.lines().any(|line| line == "usr/bin/tool"), "{image} has {list}");
        let refused = store.output(&["--imagestore", &option, "rmi", image])?;
        ensure!(refused.status.code() == Some(5), "a container has it: {}", said(&refused));
        let found = ours(&["check"])?;
        ensure!(found.as_array().is_some_and(Vec::is_empty), "check: {found}");
        podman.run(&["rm", "it"])?;
    }
    let names = ours(&["images"])?;
    let names: Vec<_> = names.as_array().into_iter().flatten().map(|i| &i["names"][0]).collect();
    ensure!(names == ["localhost/ours:v1", "localhost/theirs:v2"], "images: {names:?}");
    let report = ours(&["plan", &small.reference(Compression::Chunked, "v2")])?;
    ensure!(report["bytes"]["to_fetch"] == 0, "podman has its layers: {report}");
    let found = podman.check()?;
    ensure!(!found.contains("not found"), "podman system check: {found}");
    ours(&["rmi", "theirs:v2"])?;
    podman.run(&["rmi", "localhost/ours:v1"])?;
    let left = ours(&["layers"])?;
    ensure!(left.as_array().is_some_and(Vec::is_empty), "layers are left: {left}");
    let dirs = std::fs::read_dir(place.join("overlay")).context("list the image store")?;
    let dirs = dirs.flatten().filter(|entry| entry.file_name().len() == 64).count();
    ensure!(dirs == 0, "{dirs} trees are left");
    Ok(())
}

/// A process that is killed at the end.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// podman mounts an image where nobody else sees it, and dies without a word.
fn podmans_mount(filesystem: &Filesystem) -> Result<()> {
    let store = Store::new(filesystem)?;
    let form = Compression::Gzip;
    let small = small::make(&store.room().join("small"), &[form])?;
    store.json(&["pull", "--name", "localhost/small:v1", &small.reference(form, "v1")])?;
    let podman = store.podman()?;
    let script = "podman image mount small:v1 >&2; echo mounted; exec sleep 1000";
    let mut shell = podman.shell(script);
    let mut running = Running(shell.stdout(Stdio::piped()).spawn().context("start podman")?);
    let mut line = String::new();
    let mut out = std::io::BufReader::new(running.0.stdout.take().context("its output")?);
    std::io::BufRead::read_line(&mut out, &mut line).context("wait for podman")?;
    ensure!(line.trim() == "mounted", "podman said {line:?}");
    let refused = store.output(&["rmi", "small:v1"])?;
    ensure!(refused.status.code() == Some(5), "it is mounted: {}", said(&refused));
    drop(running);
    let record = store.run_root().join("overlay-layers/mountpoints.json");
    let record = std::fs::read_to_string(record).context("read what is recorded of mounts")?;
    ensure!(record.contains("\"count\":1"), "nothing stale is left: {record}");
    store.json(&["rmi", "small:v1"])?;
    ensure!(store.layer_ids()?.is_empty(), "layers are left");
    store.expect_clean()
}

/// podman removes an image that is mounted, even one that it has mounted itself: a mount
/// of ours loses its files with it, but nothing else happens.
fn our_mount(filesystem: &Filesystem) -> Result<()> {
    let store = Store::new(filesystem)?;
    let form = Compression::Gzip;
    let small = small::make(&store.room().join("small"), &[form])?;
    store.json(&["pull", "--name", "localhost/small:v1", &small.reference(form, "v1")])?;
    let target = store.room().join("target");
    std::fs::create_dir(&target).context("make a mount point")?;
    let place = target.to_str().context("a plain path")?;
    let mount = store.output(&["mount", "small:v1", place])?;
    ensure!(mount.status.success(), "mount: {}", said(&mount));
    let open = std::fs::File::open(target.join("usr/lib/big")).context("open a mounted file")?;
    let removed = store.podman()?.run(&["rmi", "small:v1"]);
    let readable = std::io::read_to_string(&open).is_ok() || open.metadata().is_ok();
    drop(open);
    let unmount = store.output(&["umount", place])?;
    ensure!(unmount.status.success(), "umount: {}", said(&unmount));
    ensure!(removed.is_ok(), "podman has learned to look at mounts: {removed:?}");
    ensure!(readable, "what was open is lost");
    ensure!(store.image_ids()?.is_empty(), "the image is left");
    store.expect_clean()
}
