//! Filesystems in files.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, unshare};
use xshell::{Shell, cmd};

/// A filesystem that is mounted.
#[derive(Debug)]
pub(crate) struct Mounted {
    pub(crate) name: &'static str,
    pub(crate) path: PathBuf,
}

const MIB: u64 = 1 << 20;
/// Room for the images in several forms; the files are sparse.
const LARGE: u64 = 12 << 30;
/// Less than a base image needs.
const TINY: u64 = 24 * MIB;

/// Gives this process a mount table of its own: what it mounts, nobody else sees or has to undo.
///
/// The tools that it starts in namespaces of theirs do see it, as long as it is there: what is
/// unmounted here is not kept alive by them.
pub(crate) fn enter_namespace() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNS).context("leave the mount namespace")?;
    let sh = Shell::new()?;
    cmd!(sh, "mount --make-rprivate /").quiet().run()?;
    Ok(cmd!(sh, "mount --make-rshared /").quiet().run()?)
}

/// Makes a filesystem of the kind `name` in a file below `place`, and mounts it there.
pub(crate) fn make(sh: &Shell, place: &Path, name: &'static str) -> Result<Mounted> {
    let image = place.join(format!("{name}.img"));
    let path = place.join(name);
    let size = if name == "tiny" { TINY } else { LARGE };
    File::create_new(&image)
        .and_then(|file| file.set_len(size))
        .with_context(|| format!("make {}", image.display()))?;
    match name {
        "xfs" => cmd!(sh, "mkfs.xfs -q -m reflink=1 {image}").quiet().run()?,
        "btrfs" => cmd!(sh, "mkfs.btrfs -q {image}").quiet().ignore_stdout().run()?,
        _ => cmd!(sh, "mkfs.ext4 -q -F {image}").quiet().run()?,
    }
    sh.create_dir(&path)?;
    // A loop device made in this way goes with its last mount. What is removed on the
    // filesystem takes no room on the machine any more.
    cmd!(sh, "mount -o loop,discard {image} {path}").quiet().run()?;
    Ok(Mounted { name, path })
}

impl Mounted {
    pub(crate) fn unmount(self, sh: &Shell) -> Result<()> {
        let path = self.path;
        Ok(cmd!(sh, "umount -R {path}").quiet().run()?)
    }
}
