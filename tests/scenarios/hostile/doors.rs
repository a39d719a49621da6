//! R24: modes whatever the umask, and what other users can reach.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use testkit::fs_role::Filesystem;
use testkit::peer::Compression;

use crate::small;
use crate::store::{Store, said};

pub(super) fn closed(filesystem: &Filesystem) -> Result<()> {
    let mut seen = Vec::new();
    for umask in ["000", "022", "077", "177"] {
        let store = Store::new(filesystem)?;
        let forms = [Compression::Gzip, Compression::Chunked];
        let small = small::make(&store.room().join("small"), &forms)?;
        for (form, tag) in [(forms[0], "v1"), (forms[1], "v2")] {
            let reference = small.reference(form, tag);
            let mut shell = Command::new("sh");
            let plain = store.command(&["pull", &reference]);
            shell.args(["-c", &format!("umask {umask}; exec \"$@\""), "sh"]);
            let out = shell.arg(plain.get_program()).args(plain.get_args()).output()?;
            ensure!(out.status.success(), "umask {umask}: {}", said(&out));
        }
        let modes = modes_of(&store.root())?;
        for (path, mode) in &modes {
            let wanted = wanted(path);
            ensure!(Some(*mode) == wanted, "umask {umask}: {path} is {mode:04o}");
        }
        seen.push(modes.len());
        nobody_gets_in(&store)?;
    }
    ensure!(seen.iter().all(|count| *count > 30 && *count == seen[0]), "{seen:?} files");
    Ok(())
}

/// As `formats/store-layout.md` has it, section 6.1; `ID` stands for any layer or image.
fn wanted(path: &str) -> Option<u32> {
    const RECORDS: [&str; 3] = ["overlay-layers", "overlay-images", "overlay-containers"];
    let parts: Vec<&str> = path.split('/').collect();
    Some(match parts[..] {
        ["overlay"] | ["overlay", "l"] => 0o755,
        [""]
        | ["overlay", "staging" | "tempdirs" | "ID"]
        | ["overlay", "ID", "work" | "merged" | "empty"] => 0o700,
        ["overlay", ".has-mount-program"] => 0o600,
        ["overlay", "ID", "link" | "lower" | "lower-layers"]
        | [
            ..,
            "storage.lock" | "userns.lock" | "layers.lock" | "images.lock" | "containers.lock",
        ] => 0o644,
        [store] | [store, "ID" | "tmp"] if RECORDS.contains(&store) => 0o700,
        // Records, big data, tar-splits.
        [store, ..] if RECORDS.contains(&store) => 0o600,
        _ => return None,
    })
}

/// The modes of all that is the store's own: what is in `diff` belongs to the image, and
/// links have none.
fn modes_of(root: &Path) -> Result<BTreeMap<String, u32>> {
    let mut modes = BTreeMap::new();
    let mut todo = vec![root.to_owned()];
    while let Some(path) = todo.pop() {
        let meta = path.symlink_metadata().context("stat")?;
        let below = path.strip_prefix(root).context("it is below")?.to_string_lossy().into_owned();
        if meta.is_symlink() || below.ends_with("/diff") {
            continue;
        }
        let is_id = |part: &str| {
            let id = part.get(..64).is_some_and(|id| id.bytes().all(|b| b.is_ascii_hexdigit()));
            if id && part.len() == 64 { "ID".to_owned() } else { part.to_owned() }
        };
        let general: Vec<String> = below.split('/').map(is_id).collect();
        modes.insert(general.join("/"), meta.mode() & 0o7777);
        if meta.is_dir() {
            let list = fs::read_dir(&path).context("list")?;
            todo.extend(list.flatten().map(|entry| entry.path()));
        }
    }
    Ok(modes)
}

/// That another user reaches nothing below the root, setuid files above all.
fn nobody_gets_in(store: &Store) -> Result<()> {
    fs::set_permissions(store.room(), fs::Permissions::from_mode(0o755))?;
    fs::write(store.room().join("visible"), "seen")?;
    fs::set_permissions(store.room().join("visible"), fs::Permissions::from_mode(0o644))?;
    let find = "cd \"$1\" && find root -perm /6000 -type f";
    let out = Command::new("sh").args(["-c", find, "sh"]).arg(store.room()).output()?;
    let list = String::from_utf8_lossy(&out.stdout).into_owned();
    ensure!(list.lines().count() > 1, "no setuid files to look at");
    // The room is entered before: what is above it belongs to whoever runs this.
    let script =
        "cd \"$1\" && shift && exec setpriv --reuid=65534 --regid=65534 --clear-groups cat \"$@\"";
    for (path, reachable) in list.lines().map(|path| (path, false)).chain([("visible", true)]) {
        let mut shell = Command::new("sh");
        let out = shell.args(["-c", script, "sh"]).arg(store.room()).arg(path).output()?;
        ensure!(out.status.success() == reachable, "as another user, {path}: {}", said(&out));
    }
    Ok(())
}
