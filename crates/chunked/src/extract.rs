//! The content of single files of a blob, without the rest of the layer.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;

use storage_core::{
    FsError, FsResultExt, Hasher, LayerPath, RangeReader, RangeSource, SourceError,
};

use crate::assemble::read_range;
use crate::{Chunk, TocFile, ZstdReader};

/// Compressed bytes that are fetched and held at once.
const BATCH: u64 = 8 << 20;

/// Ranges that are asked for at once.
const RANGES: usize = 1024;

const BUFFER: usize = 128 << 10;

/// A file whose content is not what the TOC says, or could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExtractError {
    /// The blob could not be read.
    #[error("fetch files of the blob")]
    Source(#[from] SourceError),
    /// The frames of a chunk cannot be decoded, or hold something else.
    #[error("decode {path}")]
    Decode {
        /// The file.
        path: LayerPath,
        /// What is wrong.
        source: io::Error,
    },
    /// The file could not be written or read back.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// The whole has another digest.
    #[error("{0} has another digest than the TOC says")]
    Digest(LayerPath),
}

/// Fetches the content of files into empty files, and verifies it: nothing of the blob
/// but the chunks of these files, and each of them once. Tells how many compressed bytes
/// each file took.
///
/// Files stand in the order of the TOC. At most 8 MiB of compressed bytes are in
/// memory at once, besides what the source holds.
///
/// # Errors
///
/// With the first thing that is wrong. What the files hold by then means nothing.
pub fn extract(
    blob: &dyn RangeSource,
    files: &[(TocFile<'_>, &File)],
) -> Result<Vec<u64>, ExtractError> {
    let mut fetched = vec![0; files.len()];
    let mut batch = Batch::default();
    for (number, (file, target)) in files.iter().enumerate() {
        let path = file.path();
        target.set_len(file.size()).during("set the length of", path.as_path())?;
        for chunk in file.chunks().filter(|chunk| !chunk.hole) {
            let length = chunk.end - chunk.offset;
            fetched[number] += length;
            if length > BATCH {
                let reader = RangeReader::new(blob, chunk.offset..chunk.end);
                decode(&path, reader, &chunk, target)?;
                continue;
            }
            if batch.bytes + length > BATCH || batch.ranges.len() == RANGES {
                std::mem::take(&mut batch).bring(blob, files)?;
            }
            batch.add(number, chunk);
        }
    }
    batch.bring(blob, files)?;
    for (file, target) in files {
        verify(file, target)?;
    }
    Ok(fetched)
}

/// Chunks that are fetched together.
#[derive(Default)]
struct Batch {
    bytes: u64,
    /// Ascending and apart.
    ranges: Vec<Range<u64>>,
    /// Number of the range, of the file, and the chunk.
    chunks: Vec<(usize, usize, Chunk)>,
}

impl Batch {
    fn add(&mut self, file: usize, chunk: Chunk) {
        self.bytes += chunk.end - chunk.offset;
        match self.ranges.last_mut() {
            Some(last) if last.end == chunk.offset => last.end = chunk.end,
            _ => self.ranges.push(chunk.offset..chunk.end),
        }
        self.chunks.push((self.ranges.len() - 1, file, chunk));
    }

    fn bring(
        self,
        blob: &dyn RangeSource,
        files: &[(TocFile<'_>, &File)],
    ) -> Result<(), ExtractError> {
        if self.ranges.is_empty() {
            return Ok(());
        }
        let mut buffers: Vec<Vec<u8>> = vec![Vec::new(); self.ranges.len()];
        for piece in blob.fetch(self.ranges.clone()) {
            let piece = piece?;
            if let Some(buffer) = buffers.get_mut(piece.range) {
                buffer.extend_from_slice(&piece.bytes);
            }
        }
        for (range, number, chunk) in self.chunks {
            let (file, target) = &files[number];
            let at = |offset: u64| usize::try_from(offset - self.ranges[range].start).ok();
            let frames = at(chunk.offset).zip(at(chunk.end));
            let frames = frames.and_then(|(start, end)| buffers[range].get(start..end));
            decode(&file.path(), frames.unwrap_or_default(), &chunk, target)?;
        }
        Ok(())
    }
}

/// Decodes the frames of a chunk to its place.
fn decode(
    path: &LayerPath,
    frames: impl Read,
    chunk: &Chunk,
    target: &File,
) -> Result<(), ExtractError> {
    let wrong = |source| ExtractError::Decode { path: path.clone(), source };
    let invalid = |what| wrong(io::Error::new(io::ErrorKind::InvalidData, what));
    let mut decoder = ZstdReader::new(BufReader::new(frames)).map_err(wrong)?;
    let (mut buffer, mut hash, mut done) = (vec![0; BUFFER], Hasher::new(), 0);
    loop {
        let count = decoder.read(&mut buffer).map_err(wrong)?;
        if count == 0 {
            break;
        }
        if done + count as u64 > chunk.size {
            return Err(invalid("the chunk is longer than the TOC says"));
        }
        let written = target.write_all_at(&buffer[..count], chunk.file_offset + done);
        written.during("write", path.as_path())?;
        hash.update(&buffer[..count]);
        done += count as u64;
    }
    if done != chunk.size {
        return Err(invalid("the chunk is shorter than the TOC says"));
    }
    match chunk.digest {
        Some(digest) if *digest.digest() != hash.finish() => {
            Err(invalid("the chunk has another digest than the TOC says"))
        }
        _ => Ok(()),
    }
}

fn verify(file: &TocFile<'_>, target: &File) -> Result<(), ExtractError> {
    let mut hash = Hasher::new();
    let read: io::Result<()> = read_range(target, 0..file.size(), |_, bytes| {
        hash.update(bytes);
        Ok(())
    });
    read.during("read", file.path().as_path())?;
    if hash.finish() == *file.digest().digest() {
        Ok(())
    } else {
        Err(ExtractError::Digest(file.path()))
    }
}

#[cfg(test)]
mod tests {
    use storage_core::BytesSource;

    use super::*;
    use crate::Limits;
    use crate::test_blob::blob_of;
    use crate::{Toc, TocLocation};

    fn noise(length: usize, mut seed: u64) -> Vec<u8> {
        let mut next = || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed.to_le_bytes()[3]
        };
        (0..length).map(|_| next()).collect()
    }

    #[test]
    fn single_files_come_and_nothing_else() {
        let with_hole = [noise(300_000, 1), vec![0; 100_000], noise(5000, 2)].concat();
        let contents =
            [("a", noise(1_000_000, 3)), ("b", with_hole), ("c", noise(70_000, 4)), ("d", vec![5])];
        let source = BytesSource::new(blob_of(&contents));
        let location = TocLocation::from_footer(&source).unwrap().unwrap();
        let toc = Toc::fetch(&source, &location, &Limits::default()).unwrap();
        let before = source.usage().bytes;
        let targets: Vec<File> = (0..4).map(|_| tempfile::tempfile().unwrap()).collect();
        let wanted = |file: &TocFile<'_>| ["b", "d"].contains(&&*file.path().to_string());
        let files: Vec<_> = toc.files().filter(wanted).zip(&targets).collect();
        let fetched = extract(&source, &files).unwrap();
        assert_eq!(source.usage().bytes - before, fetched.iter().sum::<u64>());
        assert!(fetched[0] < 320_000, "{fetched:?}");
        for ((file, target), content) in files.iter().zip([&contents[1].1, &contents[3].1]) {
            let mut found = vec![0; usize::try_from(file.size()).unwrap()];
            target.read_exact_at(&mut found, 0).unwrap();
            assert!(found == *content, "{}", file.path());
        }
    }

    #[test]
    fn a_wrong_byte_is_an_error() {
        let mut bytes = blob_of(&[("a", noise(100_000, 1))]);
        let source = BytesSource::new(bytes.clone());
        let location = TocLocation::from_footer(&source).unwrap().unwrap();
        let toc = Toc::fetch(&source, &location, &Limits::default()).unwrap();
        let file = toc.files().next().unwrap();
        let middle = file.chunks().next().unwrap();
        bytes[usize::try_from(u64::midpoint(middle.offset, middle.end)).unwrap()] ^= 1;
        let target = tempfile::tempfile().unwrap();
        let error = extract(&BytesSource::new(bytes), &[(file, &target)]).unwrap_err();
        assert!(matches!(error, ExtractError::Decode { .. } | ExtractError::Digest(_)), "{error}");
    }
}
