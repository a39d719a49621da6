//! What the crates of reflayer agree on, so that each can be used without the others.
//!
//! Digests, ids, one entry of a layer, the directories a layer is built in, where
//! a blob's bytes come from; and of a store in the layout of containers/storage
//! its records, its locks, how a file is replaced and how a tree is removed. What
//! only one crate needs is not here.
//!
//! This crate does not know compression, archives, mounts, networks, or what is
//! in a layer.
//!
//! ```
//! use storage_core::{DiffId, Digest, LayerId, LayerRecord, LayerStore};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let root = std::fs::File::open(directory.path())?;
//! let diff_id = DiffId::from(Digest::of(b"a tar stream"));
//! let id = LayerId::of_chain(None, &diff_id);
//!
//! let store = LayerStore::open(&root)?;
//! let mut layers = store.write()?; // waits for the lock, reads the records
//! let mut record = LayerRecord::new(id.clone());
//! record.diff_digest = Some(diff_id);
//! layers.records_mut().push(record);
//! layers.save()?; // tells other processes, then replaces the file, durably
//! drop(layers); // releases the lock
//!
//! assert_eq!(store.read()?.get(&id).and_then(|layer| layer.diff_digest), Some(diff_id));
//! # Ok(())
//! # }
//! ```
//!
//! # Layout
//!
//! ```text
//! ROOT/
//! ├── overlay-layers/        0700  [`LayerStore`]
//! │   ├── layers.json  volatile-layers.json          0600
//! │   ├── layers.lock                                0644  [`Lock`]
//! │   ├── <layer id>.tar-split.gz                    0600
//! │   ├── <layer id>/<big data>                      0700/0600  [`big_data_file_name`]
//! │   └── tmp/                                       0700  [`TempDir`]
//! ├── overlay-images/        0700  [`ImageStore`]
//! │   ├── images.json  images.lock
//! │   └── <image id>/<big data>
//! └── overlay-containers/    0700  [`ContainerStore`]
//!     └── containers.json  volatile-containers.json  containers.lock
//! RUN/
//! └── overlay-layers/        0700  [`MountStore`]
//!     └── mountpoints.json  mountpoints.lock
//! ```
//!
//! A record file that is empty, cut or broken is an error that names it, never an
//! empty store; a missing one is an empty store. Fields that this crate does not
//! know survive being rewritten. Modes are exact, whatever the umask.
//!
//! Locks are taken in this order and never in another: layers, mount points
//! inside layers, images, containers.

mod atomic;
mod digest;
mod dir;
mod dirs;
mod entry;
mod error;
mod layer_id;
mod lock;
mod names;
mod record;
mod remove;
mod source;
mod temp_dir;
mod verify;

pub use atomic::{Durability, remove_stale_temporaries, replace_file};
pub use digest::{BlobDigest, ChunkDigest, DiffId, Digest, DigestError, Hasher, TocDigest};
pub use dirs::Dirs;
pub use entry::{Entry, EntryKind, LayerPath, LayerPathError, Time};
pub use error::{FsError, FsResultExt, is_for_want_of_room};
pub use layer_id::{ContainerId, ImageId, LayerId, LayerIdError};
pub use lock::{Lock, Token};
pub use names::Names;
#[cfg(fuzzing)]
#[doc(hidden)]
pub use record::fuzzing;
pub use record::{
    AnyDigest, ContainerRecord, ContainerStore, Containers, Extra, Flags, IdMapping, ImageRecord,
    ImageStore, Images, ImagesRead, ImagesWrite, LayerCompression, LayerFile, LayerRecord,
    LayerStore, Layers, LayersRead, LayersWrite, MountRecord, MountStore, Mounts, MountsWrite,
    RecordError, RecordTime, Rescued, big_data_file_name,
};
pub use remove::remove_tree;
pub use source::{
    Arriving, BytesSource, FileSource, Link, Piece, Pieces, RangeReader, RangeSource, SourceError,
    Usage,
};
pub use temp_dir::{TempDir, recover_temp_dirs};
pub use verify::{Verified, VerifyError};
