//! Pulls container images into a store that podman, buildah, skopeo and CRI-O
//! share, and takes almost nothing that the machine already has.
//!
//! Knows the order of things: pull, commit, remove, collect, check, send. Does not
//! know terminals, and reads no environment variable.
//!
//! A pull from a layout, and what it says of itself:
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use reflayer::{Progress, PullOptions, Store};
//!
//! let store = Store::open("/var/lib/containers/storage".as_ref(), "/run/containers/storage".as_ref())?;
//! let reference = "oci:app:v2".parse()?;
//! let source = transport::open(&reference, &transport::Options::default())?;
//! let quiet: Arc<dyn Progress + Send + Sync> = Arc::new(());
//! let report = store.pull(&*source, &reference, &PullOptions::default(), &quiet)?;
//! println!("{} bytes fetched, {} reused", report.bytes.fetched, report.bytes.reused_files);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! ```text
//! root/
//! ├── overlay/                trees: see the `overlay-driver` crate
//! ├── overlay-layers/         records of layers, their tar-splits and TOCs
//! ├── overlay-images/         records of images, their configs and manifests
//! └── overlay-containers/     records of containers: read, never written
//! ```

mod blob_toc;
mod build_image;
mod candidates;
mod check;
mod documents;
mod export;
mod gc;
mod image_record;
mod layer_tar;
mod listing;
mod manifest;
mod memory;
mod mount;
mod names;
mod naming;
mod pipeline;
mod progress;
mod pull;
mod remove;
mod repair;
mod report;
mod send;
mod sources;
mod store;
mod unpack;

pub use blob_toc::{BlobToc, BlobTocError, FoundBy};
pub use build_image::{BuildError, BuildOptions, BuiltImage, Contents, build_image};
pub use check::{CheckError, CheckLevel, Finding, Problem};
pub use chunked::{Chunk, Frame, FrameKind, Reuse, Span, Toc, TocFile};
pub use export::{ExportError, ExportedLayer};
pub use gc::{Garbage, GarbageOptions};
pub use listing::{ImageDetails, ImageInfo, InspectError, LayerInfo};
pub use mount::MountImageError;
pub use names::LookupError;
pub use overlay_driver::{MountError, MountOptions, UnmountError, Writable, unmount};
pub use progress::Progress;
pub use pull::{ImagePlan, LayerPlan, LayerShare, PlannedBytes};
pub use pull::{LayerError, PublishError, PullError, PullOptions};
pub use remove::{RemoveError, Removed};
pub use repair::{Mended, Opener, RepairOptions, RepairReport};
pub use report::{ByteCounts, LayerCounts, LayerReport, LayerWay, PullReport};
pub use send::{
    SendAction, SendError, SendLayerError, SendOptions, SendProgress, SendReport, SentLayer,
    convert,
};
pub use storage_core::Durability;
pub use store::{OpenError, Store, StoreOptions};
pub use tree::Aspect;
pub use unpack::UnpackError;
