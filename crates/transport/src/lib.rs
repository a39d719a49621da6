//! Gives the manifests of an image, and any range of its blobs, from a registry or an OCI layout;
//! and writes images there.
//!
//! Knows HTTP, tokens, redirects and mirrors as they are given to it, and the OCI image
//! layout as a directory or a tar file of one. Does not know stores, what is inside a
//! layer, or configuration files. Nothing asynchronous shows: an image is an
//! [`ImageSource`], a blob a [`storage_core::RangeSource`], a place to write to an
//! [`ImageTarget`].
//!
//! # Example
//!
//! Write a layout with one layer, and read the layer's last four bytes back:
//!
//! ```
//! use std::io::Read;
//! use storage_core::{Digest, RangeReader};
//! use transport::{LayoutWriter, ManifestDescriptor, Options, Platform, media_type};
//!
//! let tmp = tempfile::tempdir()?;
//! let layout = LayoutWriter::create(std::fs::File::open(tmp.path())?)?;
//! let tar = [0; 1024];
//! let layer = layout.put_bytes(&tar)?;
//! let config = layout.put_bytes(
//!     format!(r#"{{"rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#, Digest::of(&tar)).as_bytes(),
//! )?;
//! let manifest = format!(
//!     r#"{{"schemaVersion":2,"mediaType":"{}",
//!         "config":{{"mediaType":"{}","digest":"{}","size":{}}},
//!         "layers":[{{"mediaType":"{}","digest":"{}","size":{}}}]}}"#,
//!     media_type::OCI_MANIFEST, media_type::OCI_CONFIG, config.digest, config.size,
//!     media_type::OCI_LAYER, layer.digest, layer.size,
//! );
//! let manifest = ManifestDescriptor::new(media_type::OCI_MANIFEST, layout.put_bytes(manifest.as_bytes())?);
//! layout.set_manifest(Some("v1"), &manifest)?;
//!
//! let reference = format!("oci:{}:v1", tmp.path().display()).parse()?;
//! let image = transport::open(&reference, &Options::default())?;
//! let resolved = image.resolve(&Platform::of_machine())?;
//! let blob = image.blob(&resolved.layers[0].digest, resolved.layers[0].size)?;
//! let mut end = Vec::new();
//! RangeReader::new(&*blob, 1020..1024).read_to_end(&mut end)?;
//! assert_eq!(end, [0; 4]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # An OCI layout
//!
//! ```text
//! DIR/
//! ├── oci-layout             {"imageLayoutVersion":"1.0.0"}
//! ├── index.json             descriptors of manifests, each with a tag as its annotation
//! └── blobs/sha256/<64 hex>  manifests, configs and layers, named by their content
//! ```

mod error;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod image;
mod manifest;
mod oci_layout;
mod open;
mod options;
mod platform;
mod reference;
mod registry;
mod target;

pub use error::TransportError;
pub use image::{Compression, ImageSource, LayerDescriptor, RawBlob, RawManifest, ResolvedImage};
pub use manifest::{ManifestError, media_type};
pub use oci_layout::{
    ArchiveTarget, BlobWriter, LayoutError, LayoutTarget, LayoutWriter, ManifestDescriptor,
    OciLayout, StoredBlob,
};
pub use open::open;
pub use options::{Anonymous, Credentials, CredentialsError, Login};
pub use options::{Certificates, Endpoint, Options, Proxies, Retry};
pub use platform::Platform;
pub use reference::{DockerReference, Reference, ReferenceError};
pub use registry::{
    AuthError, RedirectError, Registry, RegistryError, RegistryTarget, RequestError, ServerMessage,
};
pub use target::{Found, ImageTarget, open_target};
