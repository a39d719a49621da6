//! How a pull tells its caller where it stands.

use storage_core::BlobDigest;

use crate::report::LayerWay;

/// Is told of the steps of a pull, from several threads.
///
/// Every method has an empty default, so that `&()` follows nothing.
pub trait Progress: Sync {
    /// The image is known: the digests and lengths of its layers' blobs, base first.
    fn layers(&self, layers: &[(BlobDigest, u64)]) {
        drop(layers);
    }

    /// Bytes of layer `index` received so far, of `expected` that are thought to be needed.
    fn fetched(&self, index: usize, bytes: u64, expected: u64) {
        let _: (usize, u64, u64) = (index, bytes, expected);
    }

    /// Layer `index` is complete and proved, or was there before.
    fn done(&self, index: usize, way: LayerWay) {
        let _: (usize, LayerWay) = (index, way);
    }
}

impl Progress for () {}
