//! Where the workspace and its products are.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;
use xshell::{Shell, cmd};

/// The workspace's root.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is a folder of the workspace")
}

/// A shell that stands at the workspace's root.
pub(crate) fn shell() -> Result<Shell> {
    let sh = Shell::new()?;
    sh.change_dir(root());
    Ok(sh)
}

/// What `cargo metadata` says of the workspace's own packages.
pub(crate) fn metadata(sh: &Shell) -> Result<Value> {
    let text = cmd!(sh, "cargo metadata --format-version 1 --no-deps --locked").quiet().read()?;
    serde_json::from_str(&text).context("parse what cargo metadata says")
}

/// Where cargo puts what it builds.
pub(crate) fn target_dir(sh: &Shell) -> Result<PathBuf> {
    let metadata = metadata(sh)?;
    let dir = metadata["target_directory"].as_str().context("no target directory")?;
    Ok(dir.into())
}
