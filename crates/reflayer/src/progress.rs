//! How a pull tells its caller where it stands.

use storage_core::BlobDigest;

use crate::report::LayerWay;

/// Is told of the steps of a pull, from several threads.
///
/// Every method has an empty default, so that `&()` follows nothing.
pub trait Progress: Sync {
    /// The image is known: the digests and lengths of its layers' blobs, base first.
    fn layers(&self, _layers: &[(BlobDigest, u64)]) {}

    /// Layer `index` is being pulled by another process, whose end is waited for.
    fn waiting(&self, _index: usize) {}

    /// Bytes of layer `index` received so far, of `expected` that are thought to be needed.
    fn fetched(&self, _index: usize, _bytes: u64, _expected: u64) {}

    /// Layer `index` is complete and proved, or was there before.
    fn done(&self, _index: usize, _way: LayerWay) {}
}

impl Progress for () {}
