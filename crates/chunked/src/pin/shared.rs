//! How much is shared, truly.

use std::fs::File;

use reflink::shared_bytes;

/// How many of the `cloned` bytes of `target` share their extents.
///
/// Not all need do: holes have no extents, and some filesystems keep short files
/// among the metadata. So the filesystem is asked; the number of blocks that a
/// file is said to have is no sign, as it may count some twice while they are
/// being written back.
pub(super) fn of_cloned(target: &File, cloned: u64) -> u64 {
    if cloned == 0 {
        return 0;
    }
    shared_bytes(target).map_or(0, |shared| shared.min(cloned))
}
