//! Garbage collection beside a pull of podman's.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use testkit::fs_role::Filesystem;

use crate::needs::on;
use crate::store::Store;
use crate::world;

pub(crate) fn trials() -> Vec<Trial> {
    vec![on("ext4", "gc_spares_a_pull_of_podman", spares)]
}

fn spares(filesystem: &Filesystem) -> Result<()> {
    let registry = world::registry_with("gc/app")?;
    let store = Store::new(filesystem)?;
    let podman = store.podman()?;
    let reference = registry.reference("gc/app:v1");
    let mut command = podman.command();
    command.args(["pull", "--quiet", "--tls-verify=false", &reference]);
    let mut pull = command.stdout(Stdio::null()).spawn().context("start podman pull")?;
    let mut rounds = Rounds::default();
    let status = loop {
        if let Some(status) = pull.try_wait().context("wait for podman")? {
            break status;
        }
        rounds.collect(&store)?;
    };
    eprintln!("gc beside podman: {rounds:?}");
    ensure!(status.success(), "podman pull: {status}");
    ensure!(rounds.with_layers_and_no_image > 0, "gc never met a layer without its image");
    podman.run_in(&format!("{}/gc/app:v1", registry.host()), &["true"])?;
    store.expect_clean()
}

#[derive(Debug, Default)]
struct Rounds {
    all: u32,
    with_layers_and_no_image: u32,
}

impl Rounds {
    fn collect(&mut self, store: &Store) -> Result<()> {
        let layers_alone = store.image_ids()?.is_empty() && !store.layer_ids()?.is_empty();
        let garbage = store.json(&["gc"])?;
        for kind in ["incomplete_layers", "unreferenced_layers", "orphans"] {
            let found = garbage[kind].as_array();
            ensure!(found.is_none_or(Vec::is_empty), "gc removed {kind}: {garbage}");
        }
        self.all += 1;
        // Seen before the collection, so it was there during it.
        self.with_layers_and_no_image += u32::from(layers_alone);
        Ok(())
    }
}
