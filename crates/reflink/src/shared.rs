//! How much of a file is shared.

use std::io;
use std::os::fd::AsFd;

use rustix::io::retry_on_intr;

use crate::sys::{LAST, SHARED, extents};

/// Bytes of `file` in extents that other files have as well.
///
/// What is not written back yet has no extents and does not count; nothing is
/// flushed. An extent counts with its whole length, so the sum can exceed the
/// length of the file by a part of a block.
///
/// # Errors
///
/// `Unsupported` if the filesystem has no extents to tell of (tmpfs); else if it fails.
pub fn shared_bytes(file: impl AsFd) -> io::Result<u64> {
    let mut start = 0;
    let mut shared = 0;
    loop {
        let extents = retry_on_intr(|| extents(file.as_fd(), start))?;
        shared += extents
            .iter()
            .filter(|extent| extent.flags & SHARED != 0)
            .map(|extent| extent.length)
            .sum::<u64>();
        match extents.last() {
            Some(last) if last.flags & LAST == 0 => {
                let end = last.logical.saturating_add(last.length);
                if end <= start {
                    return Err(io::Error::other("the filesystem lists its extents in circles"));
                }
                start = end;
            }
            _ => return Ok(shared),
        }
    }
}
