//! Two versions of an image out of this machine's own files, pulled into a fresh store.

mod versions;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use xshell::{Shell, cmd};

use crate::say::step;
use crate::{packages, workspace};

/// Builds both versions, pulls v1, v2, and v2 again, and shows what happened.
pub(crate) fn run() -> Result<()> {
    let sh = workspace::shell()?;
    step(
        "build reflayer",
        || Ok(cmd!(sh, "cargo build --release --locked --bin reflayer").run()?),
    )?;
    let target = workspace::target_dir(&sh)?;
    let demo = Demo { program: target.join("release/reflayer"), place: target.join("demo"), sh };
    demo.clear()?;
    step("two versions of some of /usr", || versions::make(&demo.place))?;
    let layout = demo.place.join("layout");
    for version in ["v1", "v2"] {
        step(&format!("build-image {version}"), || demo.build(&layout, version))?;
    }
    for (version, what) in [
        ("v1", "pull v1 into an empty store"),
        ("v2", "pull v2: what v1 brought is not fetched again"),
        ("v2", "pull v2 again"),
    ] {
        step(what, || demo.pull(&layout, version))?;
    }
    step("the store", || {
        demo.reflayer(&["images"])?;
        demo.reflayer(&["check"])
    })?;
    step("the tree", || demo.show())
}

struct Demo {
    program: PathBuf,
    place: PathBuf,
    sh: Shell,
}

impl Demo {
    /// Removes what an earlier run left.
    fn clear(&self) -> Result<()> {
        if self.place.exists() {
            std::fs::remove_dir_all(&self.place)
                .with_context(|| format!("remove {}", self.place.display()))?;
        }
        std::fs::create_dir_all(&self.place)
            .with_context(|| format!("create {}", self.place.display()))
    }

    fn build(&self, layout: &Path, version: &str) -> Result<()> {
        let (program, directory) = (&self.program, self.place.join(version));
        let reference = format!("oci:{}:{version}", layout.display());
        let build =
            cmd!(self.sh, "{program} build-image --skip-unreadable {directory} {reference}");
        Ok(build.quiet().run()?)
    }

    fn pull(&self, layout: &Path, version: &str) -> Result<()> {
        let reference = format!("oci:{}:{version}", layout.display());
        self.reflayer(&["pull", &reference, "--name", &format!("localhost/demo:{version}")])
    }

    fn reflayer(&self, arguments: &[&str]) -> Result<()> {
        let (root, run) = (self.place.join("root"), self.place.join("run"));
        let program = &self.program;
        let command = cmd!(self.sh, "{program} --root {root} --runroot {run} {arguments...}");
        Ok(command.quiet().run()?)
    }

    /// Mounted where that is allowed, else as it lies in the store.
    fn show(&self) -> Result<()> {
        let mount = self.place.join("mnt");
        std::fs::create_dir(&mount).with_context(|| format!("create {}", mount.display()))?;
        let at = mount.display().to_string();
        if !packages::is_root() || self.reflayer(&["mount", "demo:v2", &at]).is_err() {
            return self.list(&self.tree()?.join("usr"));
        }
        let shown = self.list(&mount.join("usr"));
        self.reflayer(&["umount", &at])?;
        shown
    }

    /// Where the only layer of v2 lies.
    fn tree(&self) -> Result<PathBuf> {
        let (program, root, run) = (&self.program, self.place.join("root"), self.place.join("run"));
        let inspect = cmd!(self.sh, "{program} --root {root} --runroot {run} inspect demo:v2");
        let image: serde_json::Value = serde_json::from_str(&inspect.quiet().read()?)?;
        let layer = image["layers"][0].as_str().context("v2 has a layer")?;
        Ok(root.join("overlay").join(layer).join("diff"))
    }

    fn list(&self, directory: &Path) -> Result<()> {
        Ok(cmd!(self.sh, "ls -l {directory}").quiet().run()?)
    }
}
