//! The store that a command works on.

use anyhow::{Context as _, ensure};
use config::{Environment, StorageConfig};
use reflayer::{Store, StoreOptions};

use crate::args::Global;

/// A store, and how layers are pulled into it if the command line does not say.
pub(crate) struct Opened {
    pub(crate) store: Store,
    pub(crate) pull: config::PullOptions,
}

/// Opens the store named on the command line, else the one that podman would use.
pub(crate) fn store(global: &Global) -> anyhow::Result<Store> {
    store_and_ways(global).map(|opened| opened.store)
}

/// The same with the pull options of storage.conf.
pub(crate) fn store_and_ways(global: &Global) -> anyhow::Result<Opened> {
    let mut options = StoreOptions::default();
    options.additional.clone_from(&global.additional_store);
    let mut pull = config::PullOptions::default();
    let (root, run_root) = match (&global.root, &global.runroot) {
        (Some(root), Some(run_root)) => (root.clone(), run_root.clone()),
        (root, run_root) => {
            let storage = StorageConfig::load(&Environment::of_process())?;
            ensure!(
                matches!(storage.driver.as_str(), "" | "overlay" | "overlay2"),
                "storage.conf asks for the driver {:?}: only overlay stores are written",
                storage.driver
            );
            // As in podman, a root of one's own comes without the options of another.
            if root.is_none() {
                options.image_store = storage.image_store;
                options.additional.extend(storage.additional_image_stores);
                pull = storage.pull_options;
            }
            (
                root.clone().unwrap_or(storage.graph_root),
                run_root.clone().unwrap_or(storage.run_root),
            )
        }
    };
    options.image_store = global.imagestore.clone().or(options.image_store);
    let store = Store::open_with(&root, &run_root, &options)
        .with_context(|| format!("open the store at {}", root.display()))?;
    Ok(Opened { store, pull })
}
