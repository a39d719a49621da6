//! The tar stream of a layer of the store, rebuilt from its tree and its tar-split.

use std::fs::File;
use std::io::{self, BufReader, Write};
use std::os::fd::{AsFd as _, OwnedFd};

use flate2::bufread::GzDecoder;
use storage_core::{DiffId, Digest, Hasher, LayerPath};
use tarball::{RebuildError, SplitLimits, TarSplitReader};
use tree::TreeReader;

/// What a layer's tar is rebuilt from. Opened, so that the layer may lose its names.
#[derive(Debug)]
pub(crate) struct LayerTar {
    tree: OwnedFd,
    tar_split: File,
}

/// A tar stream that was rebuilt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RebuiltTar {
    pub(crate) diff_id: DiffId,
    pub(crate) size: u64,
}

impl LayerTar {
    /// The tar of the tree below `tree`; `tar_split` is as a store keeps it: gzip.
    pub(crate) fn new(tree: OwnedFd, tar_split: File) -> Self {
        Self { tree, tar_split }
    }

    /// Writes the stream to `out`, and tells what it was; the caller knows what it should be.
    pub(crate) fn write(self, out: impl Write) -> Result<RebuiltTar, RebuildError> {
        let mut tree = TreeReader::new(self.tree.as_fd());
        let lines = BufReader::new(GzDecoder::new(BufReader::new(self.tar_split)));
        let open = |name: &[u8], _size| {
            let path = LayerPath::parse(name).map_err(io::Error::other)?;
            tree.open(&path).map_err(io::Error::other)
        };
        let segments = TarSplitReader::new(lines, SplitLimits::default());
        let mut out = Hashing::new(out);
        tarball::rebuild(segments, open, &mut out)?;
        out.flush().map_err(RebuildError::Write)?;
        let (diff_id, size) = out.finish();
        Ok(RebuiltTar { diff_id: diff_id.into(), size })
    }
}

/// Hashes and counts what is written.
#[derive(Debug)]
pub(crate) struct Hashing<W> {
    out: W,
    hasher: Hasher,
    size: u64,
}

impl<W> Hashing<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { out, hasher: Hasher::new(), size: 0 }
    }

    /// Digest and length of all that was written.
    pub(crate) fn finish(self) -> (Digest, u64) {
        (self.hasher.finish(), self.size)
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.out.write(bytes)?;
        self.hasher.update(&bytes[..n]);
        self.size += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
