//! The tar stream, from a tar-split and the files.

use std::io::{self, Read, Write};

use crate::{Crc64, Segment, TarSplitError};

/// What is read of a file at once.
const BUFFER: usize = 256 << 10;

/// A tar stream that cannot be rebuilt.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RebuildError {
    /// The tar-split is wrong.
    #[error(transparent)]
    TarSplit(#[from] TarSplitError),
    /// The output failed.
    #[error("write the tar stream")]
    Write(#[source] io::Error),
    /// A file could not be opened or read.
    #[error("read {:?}", String::from_utf8_lossy(.name))]
    File {
        /// Which.
        name: Vec<u8>,
        /// What the reader said.
        source: io::Error,
    },
    /// A file has another size or checksum than the tar-split records. Its bytes
    /// may be in the output already.
    #[error("{:?} is not the file that the tar-split was made of", String::from_utf8_lossy(.name))]
    Changed {
        /// Which.
        name: Vec<u8>,
    },
}

/// Writes the tar stream to `out`, and returns its bytes.
///
/// `open` gives the content of a file by its name, as it was written, and its size; it
/// is asked only for those that have content, in the order of the stream. Every
/// content must have the size and the CRC-64 that the tar-split records; that
/// guards against accidents, not against malice, for which the stream's digest is.
///
/// # Errors
///
/// As [`RebuildError`] says; `out` then has a part of the stream.
pub fn rebuild<R: Read>(
    segments: impl IntoIterator<Item = Result<Segment, TarSplitError>>,
    mut open: impl FnMut(&[u8], u64) -> io::Result<R>,
    mut out: impl Write,
) -> Result<u64, RebuildError> {
    let mut buffer = vec![0; BUFFER];
    let mut total = 0;
    for segment in segments {
        match segment? {
            Segment::Raw(bytes) => {
                out.write_all(&bytes).map_err(RebuildError::Write)?;
                total += bytes.len() as u64;
            }
            Segment::File { size: 0, .. } => {}
            Segment::File { name, size, crc64 } => {
                let file = match open(&name, size) {
                    Ok(file) => file,
                    Err(source) => return Err(RebuildError::File { name, source }),
                };
                if copy(&name, file, size, &mut out, &mut buffer)? != Some(crc64) {
                    return Err(RebuildError::Changed { name });
                }
                total += size;
            }
        }
    }
    Ok(total)
}

/// Copies a file of just this size and returns its checksum; `None` for another size.
fn copy(
    name: &[u8],
    mut file: impl Read,
    size: u64,
    out: &mut impl Write,
    buffer: &mut [u8],
) -> Result<Option<u64>, RebuildError> {
    let mut crc = Crc64::new();
    let mut left = size;
    loop {
        let count = match file.read(buffer) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(source) => return Err(RebuildError::File { name: name.into(), source }),
        };
        if count == 0 || count as u64 > left {
            return Ok((count == 0 && left == 0).then(|| crc.value()));
        }
        left -= count as u64;
        crc.update(&buffer[..count]);
        out.write_all(&buffer[..count]).map_err(RebuildError::Write)?;
    }
}

/// The size of the tar stream that segments stand for.
///
/// # Errors
///
/// Those of the segments.
pub fn tar_size(
    segments: impl IntoIterator<Item = Result<Segment, TarSplitError>>,
) -> Result<u64, TarSplitError> {
    // A reader of segments has made sure that the sum is one.
    segments.into_iter().try_fold(0, |sum: u64, segment| {
        Ok(sum.saturating_add(match segment? {
            Segment::Raw(bytes) => bytes.len() as u64,
            Segment::File { size, .. } => size,
        }))
    })
}
