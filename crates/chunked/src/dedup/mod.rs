//! Where content that we want may be found locally.
//!
//! ```text
//! Toc ─► Wanted ─► DedupMap ◄─ find ── Index     the v3 file of a layer
//!                      ▲  └──────────────────── read_candidates: its TOC
//!                      └─ Plan asks
//! ```

mod expected;
mod index;
mod map;
mod toc;
mod trees;
mod wanted;

pub use index::{Index, IndexBuilder, IndexError, LayerIndex, write_index};
pub use map::{Candidate, DedupMap};
pub use toc::{read_candidates, read_candidates_of};
pub use trees::{LocalTrees, open_below};
pub use wanted::Wanted;
