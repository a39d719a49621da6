//! `rmi`, `gc`

use reflayer::{GarbageOptions, Store};

use crate::{exit, report};

pub(crate) fn rmi(store: &Store, image: &str, dry_run: bool, json: bool) -> anyhow::Result<u8> {
    let removed = store.remove_image(image, dry_run)?;
    if json {
        report::json(&removed)?;
        return Ok(exit::SUCCESS);
    }
    for name in &removed.untagged {
        println!("untagged {name}");
    }
    for image in &removed.images {
        println!("removed image {image}");
    }
    for layer in &removed.layers {
        println!("removed layer {layer}");
    }
    Ok(exit::SUCCESS)
}

pub(crate) fn gc(store: &Store, all: bool, dry_run: bool, json: bool) -> anyhow::Result<u8> {
    let garbage = store.collect_garbage(GarbageOptions { all, dry_run })?;
    if json {
        report::json(&garbage)?;
        return Ok(exit::SUCCESS);
    }
    if garbage.dead_directories > 0 {
        println!("removed {} directories of dead processes", garbage.dead_directories);
    }
    for layer in garbage.incomplete_layers.iter().chain(&garbage.unreferenced_layers) {
        println!("removed layer {layer}");
    }
    for orphan in &garbage.orphans {
        println!("removed {orphan}, which had no record");
    }
    Ok(exit::SUCCESS)
}
