//! What came from the network, to its place.

mod arrivals;
mod contents;
mod decode;

use std::io;
use std::ops::Range;

use storage_core::{FsError, LayerPath, SourceError, VerifyError};
use tree::{TreeError, TreeReport};

use crate::making::Making;
use crate::{Choice, LayerBytes, PinnedPlan};

pub(crate) use arrivals::Arrivals;

/// A layer's tree that is whole, and still to be proved.
#[derive(Debug)]
#[must_use = "an applied layer is not proved yet"]
pub struct Applied {
    pub(crate) uid_set: Vec<u32>,
    pub(crate) gid_set: Vec<u32>,
    pub(crate) report: LayerBytes,
    pub(crate) tree: TreeReport,
    pub(crate) choices: Vec<Choice>,
}

/// A layer's tree that could not be made, or content that could not be had or is not
/// what was promised. No local file is ever the reason.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// The bytes did not come.
    #[error("fetch the layer's content")]
    Source(#[from] SourceError),
    /// Bytes came that were not asked for, or not in order.
    #[error("the source gave bytes from {actual} on, expected those from {expected}")]
    Order {
        /// Offset in the blob of the next byte that was asked for.
        expected: u64,
        /// Offset of the bytes that came.
        actual: u64,
    },
    /// A requested range ended early.
    #[error("the source ended at byte {at}, expected more")]
    Short {
        /// Offset in the blob of the first byte that did not come.
        at: u64,
    },
    /// A chunk is no zstd stream.
    #[error("decompress bytes {}-{} of the blob for {path}", range.start, range.end)]
    Decode {
        /// The file.
        path: LayerPath,
        /// Where the blob has the chunk.
        range: Range<u64>,
        /// What the decoder said.
        source: io::Error,
    },
    /// A chunk or file is not what the TOC says.
    #[error("verify {path}")]
    Content {
        /// The file.
        path: LayerPath,
        /// What differs.
        source: VerifyError,
    },
    /// An entry could not be made.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// A file could not be written or read back.
    #[error(transparent)]
    Fs(#[from] FsError),
}

impl ApplyError {
    /// Whether the TOC may be at fault, so that a full pull may succeed: the digest
    /// of the blob, which only a full pull sees, tells whether it was the blob.
    pub fn is_lie_of_the_toc(&self) -> bool {
        matches!(self, Self::Content { .. } | Self::Decode { .. })
    }
}

impl PinnedPlan<'_, '_> {
    /// Waits for what was asked for, puts it into its place, and finishes the tree.
    ///
    /// Every chunk is decoded and verified as it comes, and every file when it is
    /// whole; the prover hears of it then. What candidates turned out not to give is
    /// fetched as well.
    ///
    /// # Errors
    ///
    /// If bytes are missing or wrong, or the tree can't be written.
    pub fn apply(self) -> Result<Applied, ApplyError> {
        let Self { mut making, mut asked, late, links } = self;
        asked.take_all(&mut making)?;
        let mut choices = vec![asked.choice()];
        if !late.parts.is_empty() {
            let mut late = asked.ask_for(late);
            late.take_all(&mut making)?;
            choices.push(late.choice());
        }
        let Making { toc, mut tree, report, .. } = making;
        for link in links {
            tree.make(&toc.entry(link))?;
        }
        let tree = tree.finish()?;
        Ok(Applied { uid_set: toc.uid_set(), gid_set: toc.gid_set(), report, tree, choices })
    }
}
