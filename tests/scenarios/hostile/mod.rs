//! Forged layers and the command, on real filesystems. The corpus itself, with the
//! verdict on each of some nine hundred layers, is `crates/reflayer/tests/hostile`.

mod calls;
mod doors;
mod layers;
mod memory;

use anyhow::Result;
use libtest_mimic::Trial;
use testkit::forged::{Forged, add_image};
use testkit::layout::Layout;

use crate::needs::{on, on_each};
use crate::store::Store;

pub(crate) fn trials() -> Vec<Trial> {
    let on_all = [
        on_each("r16_r17_r19_forged_layers_are_refused", layers::refused),
        on_each("r15_r18_odd_layers_are_one_tree", layers::one_tree),
    ];
    let on_one = [
        on("ext4", "r20_bombs_end_within_the_memory_that_is_promised", memory::bombs),
        on("xfs", "r20_a_budget_of_memory_is_kept", memory::budget),
        on("xfs", "r24_modes_are_exact_and_doors_are_closed", doors::closed),
        on("ext4", "r25_nothing_of_an_image_is_run_or_opened_or_believed", calls::of_a_pull),
    ];
    on_all.into_iter().flatten().chain(on_one).collect()
}

/// An image of forged layers, as a reference.
fn image(store: &Store, name: &str, layers: &[Forged]) -> Result<String> {
    let dir = store.room().join("layout");
    let layout = if dir.exists() { Layout::open(&dir) } else { Layout::create(&dir)? };
    add_image(&layout, name, layers)?;
    Ok(format!("oci:{}:{name}", dir.display()))
}
