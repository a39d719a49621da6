//! The files of a layer, as an index lists them.

use std::borrow::Cow;

use super::fingerprint::fingerprint;
use crate::Toc;

/// The files of a layer that have content, in the order of the tar.
pub(super) trait Files {
    /// How many.
    fn count(&self) -> u32;
    /// File number `i`.
    fn file(&self, i: u32) -> FileRow<'_>;
    /// Its fingerprint.
    fn fingerprint(&self, i: u32) -> [u8; 32];
    /// Chunk number `chunk` of file number `i`.
    fn chunk(&self, i: u32, chunk: u32) -> ChunkRow;
}

/// A file.
#[derive(Debug, Clone)]
pub(super) struct FileRow<'a> {
    /// As the tar has it.
    pub(super) name: Cow<'a, [u8]>,
    pub(super) digest: [u8; 32],
    pub(super) size: u64,
    pub(super) chunks: u32,
}

/// A chunk of a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct ChunkRow {
    /// Where there is one that can be looked for.
    pub(super) digest: Option<[u8; 32]>,
    pub(super) offset: u64,
    pub(super) size: u64,
}

impl Files for Toc {
    fn count(&self) -> u32 {
        u32::try_from(self.files().len()).unwrap_or(u32::MAX)
    }

    fn file(&self, i: u32) -> FileRow<'_> {
        let file = self.file_number(i);
        FileRow {
            name: self.name(file.index()).into(),
            digest: *file.digest().digest().as_bytes(),
            size: file.size(),
            chunks: file.chunk_count(),
        }
    }

    fn fingerprint(&self, i: u32) -> [u8; 32] {
        let file = self.file_number(i);
        fingerprint(&file.entry(), file.digest())
    }

    fn chunk(&self, i: u32, chunk: u32) -> ChunkRow {
        let chunk = self.file_number(i).chunk(chunk);
        ChunkRow {
            digest: chunk.digest.map(|digest| *digest.digest().as_bytes()),
            offset: chunk.file_offset,
            size: chunk.size,
        }
    }
}
