//! An ordinary user with reflayer and podman, both on the store that is podman's default.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;
use testkit::fs_role::Filesystem;
use testkit::judge;
use testkit::peer::Compression;
use testkit::peer::user::{FIRST_SUBORDINATE, UID, User};

use crate::built::Built;
use crate::needs::on;
use crate::small;
use crate::world;

pub(crate) fn trials() -> Vec<Trial> {
    ["xfs", "ext4"].map(|name| on(name, "a_user_shares_its_store_with_podman", shared)).into()
}

/// What every script begins with.
const TOOLS: &str = "
podman() { command podman --log-level=error \"$@\"; }
in_container() { podman run --rm --network=none --cgroups=disabled --pull=never \"$@\"; }
expect() { [ \"$1\" = \"$2\" ] || { echo \"expected '$2', got '$1'\" >&2; exit 1; }; }
";

/// A user, its images, and the command, all where the user can reach them.
struct Room {
    place: tempfile::TempDir,
    user: User,
    images: Built,
}

impl Room {
    fn new(filesystem: &Filesystem, forms: &[Compression]) -> Result<Self> {
        let place = filesystem.room().context("make a room")?;
        let images = small::make(&place.path().join("small"), forms)?;
        let user = User::new(&world::sid()?, &place.path().join("home"))?;
        let tools = place.path().join("tools");
        fs::create_dir(&tools).context("make a place for the command")?;
        fs::copy(world::binary(), tools.join("reflayer")).context("copy the command")?;
        // A room is its maker's alone.
        judge::run(std::process::Command::new("chmod").args(["-R", "a+rX"]).arg(place.path()))?;
        Ok(Self { place, user, images })
    }

    fn sh(&self, script: &str) -> Result<String> {
        let tools = self.place.path().join("tools");
        let images = self.place.path().join("small");
        let path = format!("PATH={}:$PATH\n", tools.display());
        judge::output(&mut self.user.shell(&[&tools, &images], &[&path, TOOLS, script].concat()))
    }

    fn reference(&self, form: Compression, version: &str) -> String {
        self.images.reference(form, version)
    }

    /// What stands in the records of layers, without what tells only when and by whom.
    fn layers(&self) -> Result<Vec<Value>> {
        let file = self.user.graph_root().join("overlay-layers/layers.json");
        let text = fs::read_to_string(file).context("read the records of layers")?;
        let mut layers: Vec<Value> = serde_json::from_str(&text).context("parse the records")?;
        for layer in layers.iter_mut().filter_map(Value::as_object_mut) {
            layer.retain(|key, _| !["created", "metadata", "big-data-names"].contains(&&**key));
        }
        Ok(layers)
    }

    fn diff(&self, layer: &Value) -> Result<PathBuf> {
        let id = layer["id"].as_str().context("a layer with an id")?;
        Ok(self.user.graph_root().join("overlay").join(id).join("diff"))
    }

    /// What is on disk below the tops of the layers, as root of the machine sees it.
    fn trees(&self, layers: &[Value]) -> Result<BTreeMap<PathBuf, String>> {
        let mut found = BTreeMap::new();
        for layer in layers {
            describe(&self.diff(layer)?, &mut found)?;
        }
        Ok(found)
    }
}

/// Type, mode, owner, size, and the overlay's note that a directory hides what is below.
fn describe(directory: &Path, found: &mut BTreeMap<PathBuf, String>) -> Result<()> {
    for entry in fs::read_dir(directory).context("list a tree")? {
        let path = entry.context("list a tree")?.path();
        let meta = path.symlink_metadata().context("look at a file")?;
        let mut note = [0; 8];
        let opaque = ["user.overlay.opaque", "trusted.overlay.opaque"].map(|key| {
            let length = rustix::fs::lgetxattr(&path, key, &mut note[..]).unwrap_or(0);
            String::from_utf8_lossy(&note[..length]).into_owned()
        });
        let size = if meta.is_dir() { 0 } else { meta.len() };
        let line = format!(
            "{:o} {}:{} {size} {} {opaque:?}",
            meta.mode(),
            meta.uid(),
            meta.gid(),
            meta.rdev()
        );
        found.insert(path.clone(), line);
        if meta.is_dir() {
            describe(&path, found)?;
        }
    }
    Ok(())
}

fn shared(filesystem: &Filesystem) -> Result<()> {
    let room = Room::new(filesystem, &[Compression::Gzip, Compression::Chunked])?;
    let (chunked, gzip) = (Compression::Chunked, Compression::Gzip);
    let [v1, v2] = ["v1", "v2"].map(|version| room.reference(chunked, version));
    // podman's own pull is the measure.
    let theirs = room.reference(gzip, "v1");
    let check = room.sh(&format!(
        "skopeo --insecure-policy copy -q {theirs} containers-storage:localhost/small:v1
         podman system check || true"
    ))?;
    let (theirs, their_trees) = (room.layers()?, room.trees(&room.layers()?)?);
    room.sh("reflayer images; reflayer check; reflayer rmi small:v1; reflayer gc --all")?;
    ensure!(room.layers()?.is_empty(), "layers are left");

    let id = room.images.layout(chunked).image("v1")?.config;
    let found = room.sh(&format!(
        "reflayer --json pull --name localhost/small:v1 {v1}
         expect \"$(podman images -q --no-trunc)\" sha256:{id} >&2
         podman system check || true"
    ))?;
    let ours = room.layers()?;
    expect_alike(&ours, &theirs)?;
    expect_on_disk(&room, &ours, &their_trees)?;
    for line in found.lines().filter(|line| line.trim_start().starts_with("* ")) {
        let place = |line: &str| line.split('(').next().unwrap_or_default().to_owned();
        let known = check.lines().any(|usual| place(usual) == place(line));
        ensure!(known, "podman system check: {line}, and after its own pull {check}");
    }
    room.sh(&format!(
        "report=$(reflayer --json pull --name localhost/small:v2 {v2})
         podman create --name it small:v2 /usr/bin/tool >&2
         podman export it | tar -tf - >list; podman rm it >&2
         for file in etc/os-release opt/new usr/bin/tool; do grep -qx $file list; done
         for file in gone opt/owned; do if grep -qx $file list; then exit 1; fi; done
         reflayer check
         podman rmi small:v1; reflayer rmi small:v2
         expect \"$(reflayer --json layers)\" '[]'"
    ))?;
    mounts(&room, &v1)?;
    ensure!(room.layers()?.is_empty(), "layers are left");
    Ok(())
}

/// The records say the same of both pulls, as far as they come by one way.
fn expect_alike(ours: &[Value], theirs: &[Value]) -> Result<()> {
    ensure!(ours.len() == theirs.len(), "{} layers, podman has {}", ours.len(), theirs.len());
    for (ours, theirs) in ours.iter().zip(theirs) {
        for key in ["id", "parent", "diff-digest", "diff-size", "uidset", "gidset"] {
            let (ours, theirs) = (&ours[key], &theirs[key]);
            ensure!(ours == theirs, "{key} of a layer is {ours}, podman has {theirs}");
        }
    }
    Ok(())
}

fn expect_on_disk(room: &Room, ours: &[Value], theirs: &BTreeMap<PathBuf, String>) -> Result<()> {
    let trees = room.trees(ours)?;
    for (path, theirs) in theirs {
        let ours = trees.get(path);
        ensure!(ours == Some(theirs), "{}: {ours:?}, podman has {theirs}", path.display());
    }
    ensure!(trees.len() == theirs.len(), "{} files, podman has {}", trees.len(), theirs.len());
    let [base, top] = ours else { anyhow::bail!("two layers") };
    let owned = fs::symlink_metadata(room.diff(base)?.join("opt/owned")).context("opt/owned")?;
    ensure!(owned.uid() == FIRST_SUBORDINATE + 999, "an owner is {}", owned.uid());
    let link = fs::symlink_metadata(room.diff(base)?.join("usr/lib/link")).context("a link")?;
    ensure!(link.uid() == UID, "root's files belong to {}", link.uid());
    let gone = fs::symlink_metadata(room.diff(top)?.join("gone")).context("a whiteout")?;
    ensure!(gone.file_type().is_char_device() && gone.rdev() == 0, "not a whiteout");
    let opaque = &trees[&room.diff(top)?.join("opt")];
    ensure!(opaque.contains("[\"y\", \"\"]"), "opt is not opaque: {opaque}");
    Ok(())
}

/// Mounts are seen by those who share a namespace, and elsewhere are refused in plain words.
fn mounts(room: &Room, v1: &str) -> Result<()> {
    room.sh(&format!(
        "reflayer pull --name localhost/small:v1 {v1}; mkdir m
         if said=$(reflayer mount small:v1 m 2>&1); then exit 1; fi
         case $said in *'reflayer unshare'*) ;; *) echo \"$said\" >&2; exit 1; esac
         look='reflayer mount small:v1 m; cat m/etc/os-release; test ! -e m/gone; test -e m/opt/new
             test ! -e m/opt/owned
             if reflayer rmi small:v1 2>/dev/null; then exit 1; fi; reflayer umount m'
         expect \"$(reflayer unshare sh -euc \"$look\")\" 'VERSION=1, patched'
         expect \"$(podman unshare sh -euc \"$look\")\" 'VERSION=1, patched'
         expect \"$(reflayer unshare cat /proc/self/uid_map)\" \"$(podman unshare cat /proc/self/uid_map)\"
         expect \"$(podman unshare sh -euc 'cat $(podman image mount small:v1)/etc/os-release')\" \
             'VERSION=1, patched'
         root=$HOME/other; reflayer --root $root --runroot $root.run pull {v1}
         reflayer --root $root --runroot $root.run check; reflayer unshare rm -r $root $root.run
         podman unshare podman image umount small:v1; podman rmi small:v1"
    ))?;
    Ok(())
}
