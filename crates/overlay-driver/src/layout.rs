//! The only place that spells the names of files below the driver's directory.

use storage_core::LayerId;

use crate::link::LinkId;

/// The driver's directory in a graph root; always this, whatever a configuration calls the driver.
pub(crate) const HOME: &str = "overlay";
pub(crate) const HOME_MODE: u32 = 0o755;

/// Short links: `l/<link> -> ../<layer>/diff`.
pub(crate) const LINKS: &str = "l";
pub(crate) const LINKS_MODE: u32 = 0o755;

/// Slots of layers in the making.
pub(crate) const STAGING: &str = "staging";
/// Deferred deletes, and slots that are not ready to be seen in `staging`.
pub(crate) const TEMP_DIRS: &str = "tempdirs";

/// Mode of every directory that only the store's owner may enter.
pub(crate) const PRIVATE_MODE: u32 = 0o700;
/// Mode of the small files that describe a layer.
pub(crate) const FILE_MODE: u32 = 0o644;

// In a layer's directory.

/// The layer's root.
pub(crate) const DIFF: &str = "diff";
/// Mode of a root that nobody said anything about.
pub(crate) const DIFF_MODE: u32 = 0o555;
/// The name of the layer's short link.
pub(crate) const LINK: &str = "link";
/// Short links of the layers below, the nearest first.
pub(crate) const LOWER: &str = "lower";
/// Ids of the layers below, the nearest first.
pub(crate) const LOWER_LAYERS: &str = "lower-layers";
/// Workspace that overlayfs wants when the layer is the writable one.
pub(crate) const WORK: &str = "work";
/// Where the layer is mounted.
pub(crate) const MERGED: &str = "merged";
/// The layer below a lowest layer; only the lowest layers have it.
pub(crate) const EMPTY: &str = "empty";
/// Of a layer whose `diff` holds content-addressed files instead of a tree.
pub(crate) const COMPOSEFS: &str = "composefs-data";

// In a staging slot.

/// Held while the slot's owner lives.
pub(crate) const SLOT_LOCK: &str = "staging.lock";
/// Becomes the layer's directory.
pub(crate) const SLOT_LAYER: &str = "layer";
/// Kept beside the layer.
pub(crate) const SLOT_ASIDE: &str = "aside";
/// Never survives.
pub(crate) const SLOT_SCRATCH: &str = "scratch";
/// The tree in a slot that the Go tools made.
pub(crate) const SLOT_FOREIGN_TREE: &str = "dir";

/// At most so many layers may lie below one; what overlayfs can stack.
pub(crate) const MAX_LOWERS: usize = 500;

/// Name of a slot: a decimal number, always of 20 digits.
///
/// The Go tools take at most 10 digits, so a slot's name tells who made it. That
/// matters for a slot without a lock file: one of theirs may have been made this
/// instant, one of ours is seen only once it is locked and is then on its way out.
pub(crate) fn slot_name(random: u64) -> String {
    format!("{random:020}")
}

/// Whether [`slot_name`] gave this name.
pub(crate) fn is_our_slot(name: &str) -> bool {
    name.len() == 20 && name.bytes().all(|b| b.is_ascii_digit())
}

/// What a short link points to.
pub(crate) fn link_target(layer: &LayerId) -> String {
    format!("../{layer}/{DIFF}")
}

/// The layer that a short link points to.
pub(crate) fn layer_of_link_target(target: &str) -> Option<LayerId> {
    target.strip_prefix("../")?.strip_suffix(DIFF)?.strip_suffix('/')?.parse().ok()
}

/// How `lower` names a layer.
pub(crate) fn lower_item(link: &LinkId) -> String {
    format!("{LINKS}/{link}")
}

/// The short link that an item of `lower` stands for.
pub(crate) fn link_of_lower_item(item: &str) -> Option<LinkId> {
    item.strip_prefix(LINKS)?.strip_prefix('/')?.parse().ok()
}

/// Further roots of a layer, below `diff`: left by a change of its id maps.
pub(crate) fn rotated_diff(number: u32) -> String {
    format!("{DIFF}{number}")
}

/// Whether `name`, in a layer's directory, holds a part of what a mount shows.
pub(crate) fn is_mountable_part(name: &str) -> bool {
    let rotated = |name: &str| {
        name.strip_prefix(DIFF).is_some_and(|number| number.bytes().all(|b| b.is_ascii_digit()))
    };
    [EMPTY, MERGED, WORK, "mapped", "composefs-layers", COMPOSEFS].contains(&name) || rotated(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_target_names_its_layer_and_nothing_else_does() {
        let id: LayerId = "ab".repeat(32).parse().unwrap();
        assert_eq!(layer_of_link_target(&link_target(&id)), Some(id.clone()));
        for bad in
            [format!("../{id}"), format!("{id}/diff"), format!("../{id}/diff1"), String::new()]
        {
            assert_eq!(layer_of_link_target(&bad), None, "{bad}");
        }
    }

    #[test]
    fn the_name_of_a_slot_tells_who_made_it() {
        for number in [0, 7, u64::MAX] {
            assert!(is_our_slot(&slot_name(number)));
        }
        assert!(!is_our_slot(&u32::MAX.to_string()));
        assert!(!is_our_slot("lock-12345678901234567"));
    }
}
