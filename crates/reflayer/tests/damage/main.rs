//! R6, R7: what was damaged is named, and nothing else is; and it is mended.

mod check;
mod cuts;
mod kinds;
mod pull;
mod records;
mod repair;
mod stocked;
mod world;
