//! Where each byte of a layer would come from, before anything is touched.

mod disk;
mod missing;
pub(crate) mod ranges;
mod sources;
pub(crate) mod stretch;

pub use disk::DiskUse;
pub(crate) use missing::Missing;
pub use ranges::{Choice, Ranges};
pub use sources::{FromSource, Plan, PlanSummary, Reuse, Sources, Tally};
