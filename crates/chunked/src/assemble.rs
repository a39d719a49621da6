//! One file, put together from its chunks in whatever order they come.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use storage_core::{FsError, FsResultExt, Hasher, LayerPath, VerifyError};

use crate::plan::ranges::Part;
use crate::{Chunk, TocFile};

const BUFFER: usize = 128 << 10;

static ZEROS: [u8; BUFFER] = [0; BUFFER];

/// A file that is not what the TOC says.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AssembleError {
    /// The file could not be written or read back.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// Its content has another digest.
    #[error("verify {path}")]
    Content {
        /// The file.
        path: LayerPath,
        /// Both digests.
        source: VerifyError,
    },
}

/// The digest of a file whose chunks arrive.
///
/// Chunks that come in order are hashed as they come, and those that were there
/// before are read back in between; from the first that comes out of order, the
/// file is read back at the end.
#[derive(Debug)]
pub(crate) struct Assembly<'a> {
    file: TocFile<'a>,
    hasher: Hasher,
    /// Chunks that the hasher has seen, from the first on.
    hashed: u32,
    /// Chunks that arrive, but for those that the hasher has seen; all others
    /// are in the file already, or holes.
    arriving: &'a [Part],
}

impl<'a> Assembly<'a> {
    pub(crate) fn new(file: TocFile<'a>, arriving: &'a [Part]) -> Self {
        Self { file, hasher: Hasher::new(), hashed: 0, arriving }
    }

    /// Whether chunk `i` comes in order: its bytes are to be hashed as they come.
    pub(crate) fn begins(&mut self, i: u32, target: &File) -> Result<bool, FsError> {
        if self.arriving.first().is_none_or(|next| next.chunk != i) {
            return Ok(false);
        }
        self.catch_up(i, target)?;
        Ok(true)
    }

    /// Hashes what is in `target` before chunk `end`.
    fn catch_up(&mut self, end: u32, target: &File) -> Result<(), FsError> {
        while self.hashed < end {
            let chunk = self.file.chunk(self.hashed);
            if chunk.hole {
                hash_zeros(&mut self.hasher, chunk.size);
            } else {
                let read = read_back(target, chunk, &mut self.hasher);
                read.during("read", self.file.path().as_path())?;
            }
            self.hashed += 1;
        }
        Ok(())
    }

    /// Takes bytes of the chunk that came in order.
    pub(crate) fn hash(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
    }

    /// All bytes of the chunk that came in order were taken.
    pub(crate) fn ended(&mut self) {
        self.hashed += 1;
        self.arriving = &self.arriving[1..];
    }

    /// All chunks are in `target`: gives it its length, and verifies the whole.
    pub(crate) fn finish(&mut self, target: &File) -> Result<(), AssembleError> {
        let path = self.file.path();
        target.set_len(self.file.size()).during("set the length of", path.as_path())?;
        self.catch_up(self.file.chunk_count(), target)?;
        let expected = *self.file.digest().digest();
        let actual = std::mem::take(&mut self.hasher).finish();
        if actual == expected {
            return Ok(());
        }
        Err(AssembleError::Content { path, source: VerifyError::Digest { expected, actual } })
    }
}

fn hash_zeros(hasher: &mut Hasher, mut left: u64) {
    while left > 0 {
        let n = usize::try_from(left).map_or(BUFFER, |left| left.min(BUFFER));
        hasher.update(&ZEROS[..n]);
        left -= n as u64;
    }
}

fn read_back(target: &File, chunk: Chunk, hasher: &mut Hasher) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    let (mut at, end) = (chunk.file_offset, chunk.file_offset + chunk.size);
    while at < end {
        let n = usize::try_from(end - at).map_or(BUFFER, |left| left.min(BUFFER));
        target.read_exact_at(&mut buffer[..n], at)?;
        hasher.update(&buffer[..n]);
        at += n as u64;
    }
    Ok(())
}
