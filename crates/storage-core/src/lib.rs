//! What the crates of reflayer agree on, so that each can be used without the others.
//!
//! Digests, layer ids, one entry of a layer, the directories a layer is built
//! in, where a blob's bytes come from, and the records and locks of a store in
//! the layout of containers/storage. What only one crate needs is not here.
//!
//! This crate does not know compression, archives, mounts or networks.
//!
//! ```
//! use storage_core::{DiffId, Digest, LayerId};
//!
//! let base = DiffId::from(Digest::of(b"a tar stream"));
//! let next = DiffId::from(Digest::of(b"another"));
//! let bottom = LayerId::of_chain(None, &base);
//! assert_eq!(bottom.as_str(), base.digest().hex());
//! assert_ne!(LayerId::of_chain(Some(&bottom), &next).as_str(), next.digest().hex());
//! ```

mod digest;
mod dirs;
mod entry;
mod error;
mod layer_id;
mod source;
mod verify;

pub use digest::{BlobDigest, ChunkDigest, DiffId, Digest, DigestError, Hasher, TocDigest};
pub use dirs::Dirs;
pub use entry::{Entry, EntryKind, LayerPath, LayerPathError, Time};
pub use error::{FsError, FsResultExt};
pub use layer_id::{ImageId, LayerId, LayerIdError};
pub use source::{
    BytesSource, FileSource, Link, Piece, Pieces, RangeReader, RangeSource, SourceError, Usage,
};
pub use verify::{Verified, VerifyError};
