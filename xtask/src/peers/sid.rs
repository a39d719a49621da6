//! The root with the peers in it.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use testkit::peer::Sid;
use xshell::Shell;

use super::debian::{self, Root};

pub(super) fn make(sh: &Shell, root: &Path) -> Result<()> {
    let new = root.with_extension("new");
    sh.remove_path(&new)?;
    debian::bootstrap(sh, "sid", &new)?;
    let place = Root { place: &new, overlay: None };
    place.apt_get(sh, &["install", "podman", "skopeo", "buildah", "crun", "netavark"])?;
    place.run(&["apt-get", "clean"])?;
    fs::write(new.join(Sid::READY), "").context("mark the root as whole")?;
    fs::rename(&new, root).context("put the root in its place")
}
