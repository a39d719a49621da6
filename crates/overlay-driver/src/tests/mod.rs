//! Tests of the driver as a whole. What concerns one file alone is tested there.

mod commit;
mod fault;
mod locks;
mod modes;
mod mount;
mod process;
mod recover;
mod remove;
mod restate;
mod store;
mod threads;
