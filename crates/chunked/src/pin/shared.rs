//! How much is shared, truly.

use std::fs::File;
use std::os::fd::AsFd;

use reflink::shared_bytes;
use rustix::fs::fstatfs;

/// `statfs` says this of xfs; see `linux/magic.h`.
const XFS: u64 = 0x5846_5342;

/// Whether the filesystem of `dir` may keep short files among its metadata, where
/// nothing can be shared. Of xfs it is known that it does not.
pub(super) fn may_hide_short_files(dir: impl AsFd) -> bool {
    // The type has another width and sign on other machines.
    fstatfs(dir).map_or(true, |found| u64::try_from(found.f_type).ok() != Some(XFS))
}

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
