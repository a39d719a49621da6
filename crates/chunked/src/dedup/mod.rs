//! Where content that we want may be found locally.

mod map;
mod trees;

pub use map::{Candidate, DedupMap, Wanted, read_candidates};
pub use trees::LocalTrees;
