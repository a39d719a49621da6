//! Whether bytes are those of a file.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use storage_core::{FsError, FsResultExt, Hasher};

use crate::TocFile;

/// The least that a filesystem leaves out where a file is all zeros; what is longer
/// is not kept among the metadata.
pub(super) const BLOCK: usize = 4096;

/// What was seen of a content that is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    /// Whether a block of it is all zeros, so that the filesystem may keep none.
    pub(super) empty_block: bool,
}

/// It is another content, or can't be read.
pub(super) struct Wrong;

/// Reads `content`, and tells whether it is that of `file`.
pub(super) fn see(content: &File, file: TocFile<'_>, buffer: &mut [u8]) -> Result<Seen, Wrong> {
    hash_file(content, file, buffer, |_, _| Ok(())).unwrap_or(Err(Wrong))
}

/// Copies `source`, hashing what is written; holes stay holes.
///
/// The outer error is that of the target.
pub(super) fn copy(
    source: &File,
    target: &File,
    file: TocFile<'_>,
    buffer: &mut [u8],
) -> Result<Result<Seen, Wrong>, FsError> {
    let path = file.path();
    let right = hash_file(source, file, buffer, |offset, bytes| {
        if bytes.iter().all(|&byte| byte == 0) {
            return Ok(());
        }
        target.write_all_at(bytes, offset).during("write", path.as_path())
    })?;
    if right.is_ok() {
        target.set_len(file.size()).during("set the length of", path.as_path())?;
    }
    Ok(right)
}

/// Reads `content`, hands on what it reads and where, and tells whether that is `file`.
///
/// The outer error is that of `take`; what can't be read is of no use.
fn hash_file(
    content: &File,
    file: TocFile<'_>,
    buffer: &mut [u8],
    mut take: impl FnMut(u64, &[u8]) -> Result<(), FsError>,
) -> Result<Result<Seen, Wrong>, FsError> {
    let mut hasher = Hasher::new();
    let mut seen = Seen { empty_block: false };
    let mut at = 0;
    loop {
        let n = match content.read_at(buffer, at) {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return Ok(Err(Wrong)),
        };
        if n as u64 > file.size() - at {
            return Ok(Err(Wrong));
        }
        hasher.update(&buffer[..n]);
        seen.empty_block |= has_empty_block(&buffer[..n]);
        take(at, &buffer[..n])?;
        at += n as u64;
        // A regular file gives less than was asked for only at its end.
        if n < buffer.len() {
            break;
        }
    }
    let right = at == file.size() && hasher.finish() == *file.digest().digest();
    Ok(if right { Ok(seen) } else { Err(Wrong) })
}

fn has_empty_block(bytes: &[u8]) -> bool {
    bytes.chunks(BLOCK).any(|block| block.iter().all(|&byte| byte == 0))
}
