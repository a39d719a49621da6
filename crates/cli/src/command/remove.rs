//! `rmi`, `gc`

use reflayer::{GarbageOptions, Store};

use crate::printable::say;
use crate::{exit, report};

pub(crate) fn rmi(store: &Store, image: &str, dry_run: bool, json: bool) -> anyhow::Result<u8> {
    let removed = store.remove_image(image, dry_run)?;
    if json {
        report::json(&removed)?;
        return Ok(exit::SUCCESS);
    }
    let verb = verb(dry_run);
    for name in &removed.untagged {
        say!("{verb} name {name}");
    }
    for image in &removed.images {
        say!("{verb} image {image}");
    }
    for layer in &removed.layers {
        say!("{verb} layer {layer}");
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
        say!("removed {} directories of dead processes", garbage.dead_directories);
    }
    let verb = verb(dry_run);
    for layer in garbage.incomplete_layers.iter().chain(&garbage.unreferenced_layers) {
        say!("{verb} layer {layer}");
    }
    for orphan in &garbage.orphans {
        say!("{verb} {orphan}, which has no record");
    }
    Ok(exit::SUCCESS)
}

fn verb(dry_run: bool) -> &'static str {
    if dry_run { "would remove" } else { "removed" }
}
