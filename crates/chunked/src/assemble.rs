//! One file, put together from its chunks in whatever order they come.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use storage_core::{FsError, FsResultExt, Hasher, VerifyError};

use crate::{ApplyError, Chunk, TocFile};

const BUFFER: usize = 128 << 10;

static ZEROS: [u8; BUFFER] = [0; BUFFER];

/// The digest of a file whose chunks are put into it in whatever order.
///
/// Chunks are hashed as they come where all before them are there; those that came
/// early are read back when their turn has come.
#[derive(Debug)]
pub(crate) struct Assembly<'a> {
    file: TocFile<'a>,
    /// None until there is something to hash.
    hasher: Option<Box<Hasher>>,
    /// Chunks that the hasher has seen, from the first on.
    hashed: u32,
    /// Whether a chunk is in its place, for each; holes always are.
    there: Box<[bool]>,
    /// How many are not.
    lacking: u32,
}

impl<'a> Assembly<'a> {
    /// Nothing is there yet but holes.
    pub(crate) fn new(file: TocFile<'a>) -> Self {
        let there: Box<[bool]> = file.chunks().map(|chunk| chunk.hole).collect();
        let lacking = (0..).zip(&there).filter(|(_, there)| !**there).count();
        let lacking = u32::try_from(lacking).expect("chunks are counted in 32 bits");
        Self { file, hasher: None, hashed: 0, there, lacking }
    }

    /// Whether every chunk is in its place.
    pub(crate) fn is_whole(&self) -> bool {
        self.lacking == 0
    }

    /// Whether chunk `i`, which is about to come, is the next one: its bytes are to
    /// be hashed as they come.
    pub(crate) fn is_next(&mut self, i: u32, target: &File) -> Result<bool, FsError> {
        self.catch_up(i, target)?;
        Ok(self.hashed == i)
    }

    /// Takes bytes of the chunk that is the next one.
    pub(crate) fn hash(&mut self, bytes: &[u8]) {
        self.hasher.get_or_insert_default().update(bytes);
    }

    /// Forgets what was hashed, which is read back in the end: files that wait are many,
    /// and should take little.
    pub(crate) fn rest(&mut self) {
        (self.hasher, self.hashed) = (None, 0);
    }

    /// Chunk `i` is in its place; `hashed` if it was the next one.
    pub(crate) fn put(&mut self, i: u32, hashed: bool) {
        self.hashed += u32::from(hashed);
        let there = std::mem::replace(&mut self.there[i as usize], true);
        self.lacking -= u32::from(!there);
    }

    /// Hashes what is in `target` before chunk `end`, up to the first that lacks.
    fn catch_up(&mut self, end: u32, target: &File) -> Result<(), FsError> {
        while self.hashed < end && self.there[self.hashed as usize] {
            let (chunk, hasher) =
                (self.file.chunk(self.hashed), self.hasher.get_or_insert_default());
            if chunk.hole {
                hash_zeros(hasher, chunk.size);
            } else {
                let read = read_back(target, chunk, hasher);
                read.during("read", self.file.path().as_path())?;
            }
            self.hashed += 1;
        }
        Ok(())
    }

    /// All chunks are in `target`: gives it its length, and verifies the whole.
    pub(crate) fn finish(mut self, target: &File) -> Result<(), ApplyError> {
        let path = self.file.path();
        // What is written last in a file gives it its length.
        if self.file.chunks().last().is_none_or(|last| last.hole) {
            target.set_len(self.file.size()).during("set the length of", path.as_path())?;
        }
        self.catch_up(self.file.chunk_count(), target)?;
        let expected = *self.file.digest().digest();
        let actual = self.hasher.unwrap_or_default().finish();
        if actual == expected {
            return Ok(());
        }
        Err(ApplyError::Content { path, source: VerifyError::Digest { expected, actual } })
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
    read_range(target, chunk.file_offset..chunk.file_offset + chunk.size, |_, bytes| {
        hasher.update(bytes);
        Ok(())
    })
}

/// Reads a range of `file`, and hands on the bytes and how far into the range they are.
pub(crate) fn read_range<E: From<io::Error>>(
    file: &File,
    range: Range<u64>,
    mut take: impl FnMut(u64, &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut buffer = vec![0; BUFFER];
    let mut at = range.start;
    while at < range.end {
        let n = usize::try_from(range.end - at).map_or(BUFFER, |left| left.min(BUFFER));
        file.read_exact_at(&mut buffer[..n], at)?;
        take(at - range.start, &buffer[..n])?;
        at += n as u64;
    }
    Ok(())
}
