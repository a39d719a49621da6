//! The root with the peers in it, and those with their older kin.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use testkit::peer::Sid;
use xshell::Shell;

use super::debian::{self, Root};

/// Makes the root with all programs that judge us.
pub(super) fn make(sh: &Shell, root: &Path) -> Result<()> {
    make_with(sh, root, "sid", &["podman", "skopeo", "buildah", "crun", "netavark"])
}

/// Makes a root of an older release, with its podman alone.
pub(super) fn make_old(sh: &Shell, root: &Path, release: &str) -> Result<()> {
    make_with(sh, root, release, &["podman", "crun", "uidmap"])
}

fn make_with(sh: &Shell, root: &Path, release: &str, packages: &[&str]) -> Result<()> {
    let new = root.with_extension("new");
    sh.remove_path(&new)?;
    debian::bootstrap(sh, release, &new)?;
    let place = Root { place: &new, overlay: None };
    place.apt_get(sh, &[&["install"], packages].concat())?;
    place.run(&["apt-get", "clean"])?;
    fs::write(new.join(Sid::READY), "").context("mark the root as whole")?;
    fs::rename(&new, root).context("put the root in its place")
}
