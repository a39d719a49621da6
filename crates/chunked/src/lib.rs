//! Unpacks zstd:chunked layers.

mod annotation;
mod apply;
pub mod aside;
mod assemble;
mod dedup;
mod limits;
mod pin;
mod plan;
mod prove;
mod report;
mod spill;
mod toc;
mod unpack;
pub mod write;

pub use annotation::{AnnotationError, Span, TocLocation};
pub use apply::{Applied, ApplyError};
pub use assemble::AssembleError;
pub use dedup::{Candidate, DedupMap, LocalTrees, Wanted, read_candidates};
pub use limits::Limits;
pub use pin::{PinError, PinnedPlan};
pub use plan::{Plan, PlanSummary, Reuse, Sources, Tally};
pub use prove::{ProveError, Proved, Prover};
pub use report::LayerBytes;
pub use toc::{
    Chunk, Disagreement, EntryProblem, Field, ScanError, Scanned, Toc, TocError, TocFile, scan,
};
pub use unpack::{LocalLayer, UnpackError, UnpackOptions, unpack};
