//! What layers that are still being made will have.

use super::DedupMap;
use crate::Toc;

impl DedupMap {
    /// Notes where the layer of `toc`, number `layer` of those that are wanted, will
    /// have what layers after it want, too. `source` is the caller's number of its
    /// tree; see [`Plan::with_in_flight`](crate::Plan::with_in_flight).
    pub fn expect(&mut self, toc: &Toc, layer: u32, source: u32) {
        for file in toc.files() {
            let path = file.path();
            let mut offer = |digest, offset, length| {
                if self.wanted().goes_on_from(layer, &digest)
                    && let Some(number) = self.find(digest, length)
                {
                    self.offer(number, source, &path, offset);
                }
            };
            offer(file.digest(), 0, file.size());
            if file.chunk_count() == 1 {
                continue;
            }
            for chunk in file.chunks().filter(|chunk| !chunk.hole) {
                if let Some(digest) = chunk.digest {
                    offer(digest, chunk.file_offset, chunk.size);
                }
            }
        }
    }
}
