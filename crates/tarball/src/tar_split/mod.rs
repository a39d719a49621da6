//! tar-split: all of a tar stream but the contents of its files.

mod entries;
mod json;
mod names;
mod read;
mod rebuild;
mod write;

pub use entries::{SplitPart, TarSplitEntries};
pub use read::{Segment, SegmentProblem, TarSplitError, TarSplitReader};
pub use rebuild::{RebuildError, rebuild, tar_size};
pub use write::TarSplitWriter;
