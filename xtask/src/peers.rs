//! The programs that judge us, and real images in real versions.
//!
//! Kept between runs, below `REFLAYER_PEERS` (else `/var/cache/reflayer-peers`):
//!
//! ```text
//! sid/                       a Debian root with podman, skopeo, buildah
//! bookworm/ trixie/          older ones, made if `REFLAYER_OLD_PODMANS` is set
//! images/
//! ├── rootfs-{v1,v2}/        bookworm as released, and with its security updates
//! ├── oci-plain/             both images, tags v1 and v2, layers as they are
//! ├── oci-{gzip,zstd,chunked}/   the same, by skopeo
//! └── tars/<DiffID>.tar      what each layer is
//! ```
//!
//! Each directory is made under another name and renamed when it is whole.

mod archives;
mod debian;
mod extras;
mod images;
mod sid;
mod upper;

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use nix::fcntl::{Flock, FlockArg};
use testkit::peer::{Sid, peers_dir};

use crate::say::step;
use crate::{packages, workspace};

/// Makes what is missing.
pub(crate) fn run() -> Result<()> {
    ensure!(packages::is_root(), "the peers' roots can be made by root only");
    packages::ensure(packages::INTEGRATION)?;
    let cache = peers_dir();
    fs::create_dir_all(&cache).with_context(|| format!("make {}", cache.display()))?;
    let _alone = lock(&cache.join("lock"))?;
    let sh = workspace::shell()?;
    let root = cache.join("sid");
    if !root.join(Sid::READY).exists() {
        step("peers: a Debian sid root", || sid::make(&sh, &root))?;
    }
    let sid = Sid::open(&root)?;
    if std::env::var_os("REFLAYER_OLD_PODMANS").is_some() {
        for release in Sid::OLDER {
            let root = cache.join(release);
            if !root.join(Sid::READY).exists() {
                step(&format!("peers: a root of {release}"), || {
                    sid::make_old(&sh, &root, release)
                })?;
            }
        }
    }
    let images = cache.join("images");
    if !images::ready(&images) {
        step("peers: images", || images::make(&sh, &sid, &images))?;
    }
    Ok(())
}

/// Waits until no other task makes peers in this cache.
fn lock(file: &Path) -> Result<Flock<File>> {
    let file = File::create(file).with_context(|| format!("open {}", file.display()))?;
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, error)| anyhow!(error).context("lock"))
}
