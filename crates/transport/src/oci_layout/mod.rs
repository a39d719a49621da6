//! The OCI image layout: a directory, or a tar file of one.

mod archive;
mod error;
mod files;
mod read;
mod slice;
mod temp;
mod write;

pub use error::LayoutError;
pub use read::OciLayout;
pub use write::{BlobWriter, LayoutWriter, ManifestDescriptor, StoredBlob};

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
