//! All steps in one call.

use std::fs::File;
use std::io::BufReader;
use std::os::fd::BorrowedFd;

use rustix::fs::{Mode, OFlags, openat};
use storage_core::{DiffId, Dirs, RangeSource};
use tree::{Privileges, TreeOptions};

use crate::{
    ApplyError, DedupMap, Limits, LocalTrees, Plan, ProveError, Proved, Prover, Reuse, ScanError,
    TocLocation, Wanted, aside, scan,
};

/// How [`unpack`] goes about it.
#[derive(Debug)]
#[non_exhaustive]
pub struct UnpackOptions<'a> {
    /// Bounds on the layer's metadata.
    pub limits: Limits,
    /// How entries are made.
    pub tree: TreeOptions,
    /// How local files may be reused.
    pub reuse: Reuse,
    /// Layers that were unpacked before, whose files may be reused.
    pub local: Vec<LocalLayer<'a>>,
}

impl UnpackOptions<'_> {
    /// The usual limits, reuse by sharing or copying, and no local layers.
    pub fn new(privileges: Privileges) -> Self {
        Self {
            limits: Limits::default(),
            tree: TreeOptions::new(privileges),
            reuse: Reuse::default(),
            local: Vec::new(),
        }
    }
}

/// A layer that was unpacked before: its tree, and the directory with its TOC.
#[derive(Debug, Clone, Copy)]
pub struct LocalLayer<'a> {
    /// The tree.
    pub dest: BorrowedFd<'a>,
    /// Where [`aside::TOC`] is.
    pub aside: BorrowedFd<'a>,
}

/// A layer that could not be unpacked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnpackError {
    /// TOC or tar-split could not be had, or are not to be trusted.
    #[error("read TOC and tar-split")]
    Scan(#[from] ScanError),
    /// The layer's tree could not be made.
    #[error("make the layer's tree")]
    Apply(#[from] ApplyError),
    /// The layer could not be proved.
    #[error("prove the layer")]
    Prove(#[from] ProveError),
}

impl UnpackError {
    /// Whether only TOC, tar-split or annotations are at fault, so that
    /// unpacking the whole blob as a tar may succeed.
    pub fn is_lie_of_the_toc(&self) -> bool {
        match self {
            Self::Scan(error) => error.is_lie_of_the_toc(),
            Self::Apply(error) => error.is_lie_of_the_toc(),
            Self::Prove(error) => error.is_lie_of_the_toc(),
        }
    }
}

/// Unpacks the layer of a blob into `dirs.dest`, fetching from `source` only what
/// `options.local` does not have.
///
/// Afterwards the tree is proved to be the tar with the given DiffID. TOC and
/// tar-split are kept in `dirs.aside`, so that the layer can serve as a local one
/// later; nothing is left in `dirs.scratch`. Nothing is flushed to the disk.
///
/// # Errors
///
/// As [`UnpackError`] says. The directories then hold whatever was made so far.
pub fn unpack(
    source: &dyn RangeSource,
    location: &TocLocation,
    dirs: Dirs<'_>,
    diff_id: DiffId,
    options: &UnpackOptions<'_>,
) -> Result<Proved, UnpackError> {
    let toc = scan(source, location, dirs, &options.limits)?.toc;
    let prover = Prover::start(dirs, diff_id)?;
    let (trees, map) = look_around(Wanted::of(&toc), &options.local);
    let plan = Plan::new(&toc, &map, options.reuse);
    let applied = plan.pin(source, &trees, dirs, options.tree, &prover)?.apply()?;
    Ok(prover.finish(applied)?)
}

/// Finds what is wanted in local layers; one that can't be read has nothing.
fn look_around(wanted: Wanted, layers: &[LocalLayer<'_>]) -> (LocalTrees, DedupMap) {
    let (mut trees, mut map) = (LocalTrees::new(), DedupMap::new(wanted));
    for layer in layers {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let toc = openat(layer.aside, aside::TOC, flags, Mode::empty());
        let (Ok(toc), Ok(dest)) = (toc, layer.dest.try_clone_to_owned()) else {
            tracing::debug!("a local layer can't be opened");
            continue;
        };
        if let Err(error) = trees.add(dest, BufReader::new(File::from(toc)), &mut map) {
            tracing::debug!(%error, "the TOC of a local layer can't be read");
        }
    }
    (trees, map)
}
