//! Where a layer is built.

use std::os::fd::BorrowedFd;

/// The places a layer is built from, all on one filesystem.
///
/// Whoever fills them neither creates nor removes them, and writes nowhere else.
#[derive(Debug, Clone, Copy)]
pub struct Dirs<'a> {
    /// The layer's final tree.
    pub dest: BorrowedFd<'a>,
    /// What will be kept beside the tree: TOC, tar-split, chunk index.
    pub aside: BorrowedFd<'a>,
    /// Room for clones of sources and other intermediate files; never survives.
    pub scratch: BorrowedFd<'a>,
}
