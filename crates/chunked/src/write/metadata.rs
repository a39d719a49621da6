//! TOC and tar-split on their way into the blob.

use std::io::{self, Write};
use std::thread::{self, JoinHandle};

use crossbeam::channel::{Receiver, Sender, bounded};
use storage_core::{Digest, Hasher};

use super::frame;

/// Bytes handed over at once.
const BLOCK: usize = 256 * 1024;

/// Blocks that may wait.
const WAITING: usize = 4;

/// A compressed TOC or tar-split: one zstd frame.
#[derive(Debug)]
pub(super) struct Metadata {
    pub(super) frame: Vec<u8>,
    pub(super) digest: Digest,
    /// Bytes before compression.
    pub(super) uncompressed: u64,
}

/// Compresses what is written to it on a thread of its own.
///
/// Only the compressed bytes are kept in memory.
#[derive(Debug)]
pub(super) struct MetadataWriter {
    block: Vec<u8>,
    uncompressed: u64,
    blocks: Sender<Vec<u8>>,
    thread: JoinHandle<io::Result<Vec<u8>>>,
}

impl MetadataWriter {
    pub(super) fn start(name: &str) -> io::Result<Self> {
        let (blocks, queue) = bounded(WAITING);
        let thread = thread::Builder::new().name(name.into()).spawn(move || compress(&queue))?;
        Ok(Self { block: Vec::with_capacity(BLOCK), uncompressed: 0, blocks, thread })
    }

    /// Ends the frame.
    pub(super) fn finish(mut self) -> io::Result<Metadata> {
        let last = std::mem::take(&mut self.block);
        // If the thread has ended, joining it tells why.
        self.blocks.send(last).ok();
        drop(self.blocks);
        let frame = self.thread.join().map_err(|_| io::Error::other("a thread has died"))??;
        let mut hasher = Hasher::new();
        hasher.update(&frame);
        Ok(Metadata { digest: hasher.finish(), frame, uncompressed: self.uncompressed })
    }
}

impl Write for MetadataWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.block.extend_from_slice(bytes);
        self.uncompressed += bytes.len() as u64;
        if self.block.len() >= BLOCK {
            let block = std::mem::replace(&mut self.block, Vec::with_capacity(BLOCK));
            self.blocks.send(block).map_err(|_| io::Error::other("compressing has failed"))?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn compress(queue: &Receiver<Vec<u8>>) -> io::Result<Vec<u8>> {
    let mut encoder = frame::metadata(Vec::new())?;
    for block in queue {
        encoder.write_all(&block)?;
    }
    encoder.finish()
}
