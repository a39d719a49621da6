//! podman on a store of the test's choice.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::Sid;
use crate::judge;

/// podman, with a store.
#[derive(Debug)]
pub struct Podman {
    sid: Sid,
    graph_root: PathBuf,
    run_root: PathBuf,
    /// Additional image stores, and a place of its own for images.
    others: Vec<PathBuf>,
    configuration: tempfile::TempDir,
}

impl Podman {
    /// podman of `sid` on the store at these two directories, which are made if missing.
    ///
    /// It has a configuration of its own, in which partial pulls are on.
    ///
    /// # Errors
    ///
    /// If the directories or the configuration cannot be written.
    pub fn new(sid: &Sid, graph_root: &Path, run_root: &Path) -> Result<Self> {
        fs::create_dir_all(graph_root).context("make the graph root")?;
        fs::create_dir_all(run_root).context("make the run root")?;
        let configuration =
            tempfile::tempdir_in("/tmp").context("make a place for storage.conf")?;
        let text = format!(
            "[storage]\ndriver = \"overlay\"\ngraphroot = \"{}\"\nrunroot = \"{}\"\n\
             [storage.options.pull_options]\nenable_partial_images = \"true\"\n",
            graph_root.display(),
            run_root.display(),
        );
        fs::write(configuration.path().join("storage.conf"), text).context("write storage.conf")?;
        Ok(Self {
            sid: sid.clone(),
            graph_root: graph_root.to_owned(),
            run_root: run_root.to_owned(),
            others: Vec::new(),
            configuration,
        })
    }

    /// The same with an additional image store.
    ///
    /// # Errors
    ///
    /// If the configuration cannot be written.
    pub fn beside(mut self, other: &Path) -> Result<Self> {
        self.others.push(other.to_owned());
        let path = self.configuration.path().join("storage.conf");
        let text = fs::read_to_string(&path).context("read storage.conf")?;
        let stores = format!("additionalimagestores = {:?}\n", self.others);
        // At the end stands the table of pull options, which belongs to the same table.
        let text = text.replace(
            "[storage.options.pull_options]",
            &format!("[storage.options]\n{stores}[storage.options.pull_options]"),
        );
        fs::write(path, text).context("write storage.conf")?;
        Ok(self)
    }

    /// The same with images and their layers in another directory, which is made if it
    /// is missing.
    ///
    /// # Errors
    ///
    /// If the directory or the configuration cannot be written.
    pub fn with_image_store(mut self, image_store: &Path) -> Result<Self> {
        fs::create_dir_all(image_store).context("make the image store")?;
        self.others.push(image_store.to_owned());
        let path = self.configuration.path().join("storage.conf");
        let text = fs::read_to_string(&path).context("read storage.conf")?;
        let line = format!("[storage]\nimagestore = \"{}\"\n", image_store.display());
        fs::write(path, text.replace("[storage]\n", &line)).context("write storage.conf")?;
        Ok(self)
    }

    /// `sh` where podman has this store, to run a script in one mount namespace.
    pub fn shell(&self, script: &str) -> Command {
        self.shell_beside(&[], script)
    }

    /// The same with more directories to be seen.
    pub fn shell_beside(&self, shared: &[&Path], script: &str) -> Command {
        let mut command = self.with_store("sh", shared);
        command.args(["-euc", script]);
        command
    }

    /// `podman`, without arguments.
    pub fn command(&self) -> Command {
        self.with_store("podman", &[])
    }

    /// Runs podman with these arguments, and gives its standard output.
    ///
    /// # Errors
    ///
    /// If it fails.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        judge::output(self.command().args(arguments))
    }

    /// Pulls an image.
    ///
    /// # Errors
    ///
    /// If podman fails.
    pub fn pull(&self, reference: &str) -> Result<()> {
        self.run(&["pull", "--quiet", "--tls-verify=false", reference]).map(drop)
    }

    /// Runs a program in a new container of an image, and gives its standard output.
    ///
    /// # Errors
    ///
    /// If podman or the program fails.
    pub fn run_in(&self, image: &str, program: &[&str]) -> Result<String> {
        let options = ["run", "--rm", "--network=none", "--cgroups=disabled", "--pull=never"];
        judge::output(self.command().args(options).arg(image).args(program))
    }

    /// What `podman system check` says of the store, finding or not.
    ///
    /// # Errors
    ///
    /// If podman cannot be started.
    pub fn check(&self) -> Result<String> {
        let mut command = self.command();
        let out = command.args(["system", "check"]).output().context("start podman")?;
        Ok([out.stdout, out.stderr]
            .map(|part| String::from_utf8_lossy(&part).into_owned())
            .concat())
    }

    /// `skopeo copy` with this store as `containers-storage`, without the two references;
    /// `shared` are the directories that they name.
    pub fn skopeo_copy(&self, shared: &[&Path]) -> Command {
        let mut command = self.with_store("skopeo", shared);
        command.args(["--insecure-policy", "copy", "--src-tls-verify=false"]);
        command
    }

    fn with_store(&self, program: &str, more: &[&Path]) -> Command {
        let store = [&*self.graph_root, &*self.run_root, self.configuration.path()];
        let others: Vec<&Path> = self.others.iter().map(PathBuf::as_path).collect();
        let mut command = self.sid.command(&[&store[..], &others, more].concat(), program);
        command.env("CONTAINERS_STORAGE_CONF", self.configuration.path().join("storage.conf"));
        command
    }
}
