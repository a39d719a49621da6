//! The OCI image layout: a directory, or a tar file of one.

mod archive;
mod error;
mod files;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod read;
mod slice;
mod target;
mod temp;
mod write;
mod write_archive;

pub use error::LayoutError;
pub use read::OciLayout;
pub use target::LayoutTarget;
pub use write::{BlobWriter, LayoutWriter, ManifestDescriptor, StoredBlob};
pub use write_archive::ArchiveTarget;

#[cfg(test)]
mod target_tests;
#[cfg(test)]
mod tests;

use storage_core::BlobDigest;

const LAYOUT_FILE: &str = "oci-layout";
const INDEX_FILE: &str = "index.json";
const BLOBS: &str = "blobs/sha256";
const LAYOUT_VERSION: &str = "1.0.0";
const REF_NAME: &str = "org.opencontainers.image.ref.name";

fn blob_path(digest: &BlobDigest) -> String {
    format!("{BLOBS}/{}", digest.digest().hex())
}
