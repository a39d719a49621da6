//! Digests of a file and of its chunks, without writing a blob.

use std::convert::Infallible;

use storage_core::{ChunkDigest, Hasher};

use super::chunker::{Chunker, Step};

/// Files up to this size are not cut: most of them are one chunk.
const UNCUT: u64 = 64 << 10;

/// Computes the digest of a file and, if it is larger than 64 KiB, of its chunks,
/// cut as in a blob, while the content passes.
#[derive(Debug)]
pub struct ContentDigests {
    file: Hasher,
    cutting: Option<Box<Cutting>>,
}

/// What [`ContentDigests`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileDigests {
    /// Of the whole content.
    pub digest: ChunkDigest,
    /// Its chunks in order, without a gap; none for a small file, and no more than
    /// [`ContentDigests::MOST_CHUNKS`].
    pub chunks: Vec<FileChunk>,
}

/// A chunk of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileChunk {
    /// Of its bytes; `None` for a hole, which is nothing but zeros.
    pub digest: Option<ChunkDigest>,
    /// Where it starts.
    pub offset: u64,
    /// How many bytes it has, at least one.
    pub size: u64,
}

#[derive(Debug)]
struct Cutting {
    chunker: Chunker,
    chunks: Chunks,
}

#[derive(Debug, Default)]
struct Chunks {
    done: Vec<FileChunk>,
    /// Where the current chunk starts, and what is in it.
    offset: u64,
    size: u64,
    hasher: Hasher,
}

impl ContentDigests {
    /// Most chunks of a file of which the digests are kept; 4 GB of usual content. A file
    /// can be such that a thousand bytes have two.
    pub const MOST_CHUNKS: usize = 1 << 16;

    /// For a file of that size, of which nothing has passed yet.
    pub fn new(size: u64) -> Self {
        let cutting = || Box::new(Cutting { chunker: Chunker::new(), chunks: Chunks::default() });
        Self { file: Hasher::new(), cutting: (size > UNCUT).then(cutting) }
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.file.update(bytes);
        if let Some(cutting) = &mut self.cutting {
            let Cutting { chunker, chunks } = &mut **cutting;
            let Ok(()) = chunker.feed(bytes, chunks.sink());
        }
    }

    /// The digests of all that was taken.
    pub fn finish(self) -> FileDigests {
        let mut chunks = Vec::new();
        if let Some(cutting) = self.cutting {
            let Cutting { mut chunker, chunks: mut found } = *cutting;
            let Ok(()) = chunker.finish(found.sink());
            chunks = found.done;
        }
        FileDigests { digest: self.file.finish().into(), chunks }
    }
}

impl Chunks {
    fn sink(&mut self) -> impl FnMut(Step<'_>) -> Result<(), Infallible> {
        |step| {
            self.step(step);
            Ok(())
        }
    }

    fn step(&mut self, step: Step<'_>) {
        match step {
            Step::Data(bytes) => {
                self.hasher.update(bytes);
                self.size += bytes.len() as u64;
            }
            Step::EndOfData => {
                let digest = std::mem::take(&mut self.hasher).finish();
                self.end(Some(digest.into()));
            }
            Step::Hole(size) => {
                self.size = size;
                self.end(None);
            }
        }
    }

    fn end(&mut self, digest: Option<ChunkDigest>) {
        let size = std::mem::take(&mut self.size);
        if self.done.len() < ContentDigests::MOST_CHUNKS {
            self.done.push(FileChunk { digest, offset: self.offset, size });
        }
        self.offset += size;
    }
}

#[cfg(test)]
mod unit {
    use storage_core::Digest;

    use super::*;

    #[test]
    fn chunks_tile_the_file_and_have_its_bytes() {
        let mut content: Vec<u8> =
            (0..9000_u64).flat_map(|i| *Digest::of(&i.to_le_bytes()).as_bytes()).collect();
        content.splice(100_000..100_000, vec![0; 5000]);
        let mut digests = ContentDigests::new(content.len() as u64);
        content.chunks(777).for_each(|piece| digests.update(piece));
        let found = digests.finish();
        assert_eq!(found.digest, Digest::of(&content).into());
        assert!(found.chunks.len() > 3, "{found:?}");
        let mut at = 0;
        for chunk in &found.chunks {
            assert_eq!(chunk.offset, at as u64);
            let bytes = &content[at..][..usize::try_from(chunk.size).unwrap()];
            match chunk.digest {
                Some(digest) => assert_eq!(digest, Digest::of(bytes).into()),
                None => assert_eq!(bytes, vec![0; 5000]),
            }
            at += bytes.len();
        }
        assert_eq!(at, content.len());
        let holes = found.chunks.iter().filter(|chunk| chunk.digest.is_none());
        assert_eq!(holes.count(), 1);
    }

    #[test]
    fn a_small_file_is_not_cut() {
        let mut digests = ContentDigests::new(5);
        digests.update(b"hello");
        let digest = Digest::of(b"hello").into();
        assert_eq!(digests.finish(), FileDigests { digest, chunks: Vec::new() });
    }
}
