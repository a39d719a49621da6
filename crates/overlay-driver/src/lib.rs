//! Layer directories on disk: staging, committing, removing, recovering, mounting.
//!
//! The driver decides names and places, in the layout of containers/storage, so
//! that podman and its kin find what it made. It does not look inside layers:
//! what fills a staged directory is the caller's business. It knows nothing of
//! compression, images, networks or records, and takes none of the store's
//! locks; what must happen under one of them says so.
//!
//! # A layer's life
//!
//! ```
//! use overlay_driver::Driver;
//! use storage_core::{Durability, LayerId};
//!
//! # let temporary = tempfile::tempdir()?;
//! # let graph_root = std::fs::File::open(temporary.path())?;
//! let driver = Driver::open(&graph_root)?;
//! let id: LayerId = "5f".repeat(32).parse()?;
//!
//! let mut staged = driver.stage()?;
//! rustix::fs::mkdirat(staged.dirs().dest, "etc", rustix::fs::Mode::from_raw_mode(0o755))?;
//! staged.set_place(&id, None);
//!
//! // Slow, and without a lock: one flush for all the layers of an image.
//! let sealed = driver.seal(vec![staged.finish()?], Durability::Durable)?;
//!
//! // Quick, under the lock of the store's layer records.
//! for layer in sealed {
//!     let aside = driver.commit(layer, &id, None)?;
//!     // Files kept beside the tree would be moved out of `aside` here.
//!     drop(aside);
//! }
//! driver.sync_dirs()?;
//!
//! assert_eq!(driver.layer_dirs()?, [id]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`StagedLayer`] → [`FilledLayer`] → [`SealedLayer`] → [`Aside`]: each step
//! consumes the one before, and dropping any of them leaves nothing behind.
//!
//! # Layout
//!
//! ```text
//! graph root/overlay/            0755
//! ├── l/                         0755
//! │   └── <26 chars>             -> ../<layer id>/diff, the layer's short link
//! ├── <layer id>/                0700  committed: there is nothing else in its life but removal
//! │   ├── diff/                  the layer's root; its own mode, else its parent's, else 0555
//! │   ├── link                   0644  the name of the short link
//! │   ├── lower  lower-layers    0644  the layers below, nearest first: short links, ids
//! │   ├── empty/                 0700  instead of these two in a lowest layer
//! │   └── work/  merged/         0700
//! ├── staging/                   0700
//! │   └── <20 digits>/           0700  one for each layer in the making
//! │       ├── staging.lock       0644  held while its owner lives
//! │       ├── layer/             0700  becomes <layer id>/
//! │       ├── aside/             0700  goes where the caller says
//! │       └── scratch/           0700  never survives
//! └── tempdirs/                  0700
//!     └── lock-<n> temp-dir-<n>/ what is being deleted, and slots that are not locked yet
//! ```
//!
//! # What a kill or a power cut leaves
//!
//! | at this point | is found | by |
//! |---|---|---|
//! | building the slot | a temp dir | [`Driver::recover`] |
//! | filling, sealing | a slot, its lock free | [`Driver::recover`] |
//! | commit, after the short link | the same, and the link that its `layer/link` names | [`Driver::recover`] |
//! | commit, after the rename | a whole layer, and a slot without one | the caller, who knows its record; [`Driver::recover`] |
//! | removal, between the renames | a layer without its short link | the caller, who removes it again |
//! | deleting | a temp dir | [`Driver::recover`] |
//!
//! After a power cut, too: everything in a layer is flushed before it gets its
//! name, by [`Driver::seal`] or by the commit, and [`Driver::sync_dirs`] flushes
//! the names before a record may call the layer complete.

mod below;
mod commit;
mod dir;
mod driver;
mod fault;
mod layout;
mod link;
mod lower;
mod mount;
mod mounts;
mod recover;
mod remove;
mod restate;
mod seal;
mod slot;
mod stage;
#[cfg(test)]
mod tests;
mod trees;

pub use commit::{Aside, CommitError, CommitReason};
pub use driver::Driver;
pub use mount::{MountError, MountOptions, UnmountError, Writable, unmount};
pub use mounts::mounted_anywhere;
pub use recover::{DeadSlot, Recovered};
pub use remove::{RemoveError, RemovedLayers};
pub use seal::SealedLayer;
pub use stage::{FilledLayer, StagedLayer};
pub use trees::LayerTrees;
