//! Candidates to certainties: the one walk over the tree.

mod chunk;
mod link;
mod local;
mod refused;
mod run;
mod scratch;
mod shared;
mod whole_file;

use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::sync::OnceLock;

use storage_core::{Dirs, FsError, Link};
use tree::{TreeError, TreeOptions, TreeWriter};

use crate::assemble::{AssembleError, Assembly};
use crate::plan::ranges::{Part, Ranges, ranges_for};
use crate::{LayerBytes, Plan, Prover, Sources, Toc, TocFile};

use chunk::Chunks;
use refused::Refused;
use whole_file::WholeFiles;

/// A plan of which all that needs no network was carried out.
///
/// Only this can say what is missing, so nothing is fetched for candidates that
/// were not checked, and nothing is expected of candidates that failed.
#[derive(Debug)]
#[must_use = "a pinned plan still lacks what has to be fetched"]
pub struct PinnedPlan<'t, 'd> {
    pub(crate) toc: &'t Toc,
    pub(crate) tree: TreeWriter<'d>,
    pub(crate) scratch: BorrowedFd<'d>,
    /// Chunks to be fetched, in the order of the blob.
    pub(crate) parts: Vec<Part>,
    /// Numbers of the entries that are hard links: made last, since their
    /// targets may have to be fetched.
    pub(crate) links: Vec<usize>,
    pub(crate) ranges: OnceLock<Ranges>,
    pub(crate) report: LayerBytes,
}

/// Something that could not be made in the layer's tree; no candidate is ever the reason.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PinError {
    /// An entry could not be made.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// A file could not be written or read back.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// A file that is all holes does not have the digest that the TOC says.
    #[error(transparent)]
    Content(AssembleError),
}

impl PinError {
    /// Whether the TOC is at fault, so that a full pull may succeed.
    pub fn is_lie_of_the_toc(&self) -> bool {
        // No byte of the blob was looked at: only the TOC says that it is a hole.
        matches!(self, Self::Content(_))
    }
}

impl<'t> Plan<'t> {
    /// Makes every entry that needs no network, in the order of the tar, and
    /// settles for every file and chunk whether it needs the network.
    ///
    /// Candidates are opened through `sources`, cloned into `dirs.dest` or
    /// `dirs.scratch` or copied to their place, and only then hashed. Whatever
    /// goes wrong with one is a reason to try the next, and then to fetch.
    /// `prover` hears of each file that is whole.
    ///
    /// # Errors
    ///
    /// If the layer's own tree can't be written.
    pub fn pin<'d>(
        self,
        sources: &dyn Sources,
        dirs: Dirs<'d>,
        options: TreeOptions,
        prover: &Prover,
    ) -> Result<PinnedPlan<'t, 'd>, PinError> {
        let mut tree = TreeWriter::new(dirs.dest, options);
        let refused = Refused::default();
        let mut files = WholeFiles::new(&self, sources, dirs, &refused)?;
        let mut chunks = Chunks::new(&self, sources, dirs, &refused)?;
        let mut parts = Vec::new();
        let mut links = Vec::new();
        let mut report = LayerBytes { fetched: self.toc.received(), ..LayerBytes::default() };
        for index in 0..self.toc.len() {
            if self.toc.is_hard_link(index) {
                links.push(index);
                continue;
            }
            let Some(file) = self.toc.file(index) else {
                tree.make(&self.toc.entry(index))?;
                continue;
            };
            if files.take(file, &mut tree, &mut report, prover)? {
                continue;
            }
            if file.chunks().all(|chunk| chunk.hole) {
                make_hole(file, &mut tree, &mut report)?;
                prover.done(file.number());
            } else if chunks.take(file, &mut tree, &mut parts, &mut report)? {
                prover.done(file.number());
            }
        }
        chunks.finish()?;
        Ok(PinnedPlan {
            toc: self.toc,
            tree,
            scratch: dirs.scratch,
            parts,
            links,
            ranges: OnceLock::new(),
            report,
        })
    }
}

impl PinnedPlan<'_, '_> {
    /// The byte ranges of the blob to be fetched: ascending, apart, and merged by
    /// what `link` makes dear.
    ///
    /// The first call decides, later ones repeat its answer:
    /// [`PinnedPlan::apply`] expects the pieces of these ranges.
    pub fn missing(&self, link: &Link) -> Vec<Range<u64>> {
        self.ranges(link).ranges.clone()
    }

    /// The same, with the reason for it.
    pub fn ranges(&self, link: &Link) -> &Ranges {
        self.ranges.get_or_init(|| ranges_for(&self.parts, link))
    }
}

/// Makes a file that has no byte other than zero.
fn make_hole(
    file: TocFile<'_>,
    tree: &mut TreeWriter<'_>,
    report: &mut LayerBytes,
) -> Result<(), PinError> {
    let entry = file.entry();
    let mut assembly = Assembly::new(file, &[]);
    let target = tree.create(&entry)?;
    assembly.finish(&target).map_err(|error| match error {
        AssembleError::Fs(error) => PinError::Fs(error),
        content => PinError::Content(content),
    })?;
    tree.complete(target, &entry)?;
    report.holes += file.size();
    Ok(())
}
