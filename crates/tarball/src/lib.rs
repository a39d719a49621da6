//! Tar streams taken apart without losing a byte, and put together again.

mod crc64;
mod error;
mod header;
mod input;
mod limits;
mod parts;
mod read;
mod sink;
mod tar_split;
mod write;

pub use crc64::Crc64;
pub use error::TarError;
pub use limits::{Limits, SplitLimits};
pub use parts::{Part, Parts};
pub use read::{Content, TarReader};
pub use sink::Sink;
pub use tar_split::{
    RebuildError, Segment, SegmentProblem, SplitPart, TarSplitEntries, TarSplitError,
    TarSplitReader, TarSplitWriter, rebuild, tar_size,
};
pub use write::{TarWriteError, TarWriter, Unwritable, WriterOptions};
