//! Zeros that take no room.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::{FallocateFlags, fallocate};

/// What is shorter takes no less room as a hole.
const BLOCK: usize = 4096;

/// Makes `bytes` the content of `target` from `offset` on. If they are many and all zeros,
/// they become a hole, whatever was there before.
///
/// A file that has one chunk says nowhere that this is a hole, so it is seen only here.
pub(crate) fn write_at(target: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    if bytes.len() >= BLOCK && bytes.iter().all(|&byte| byte == 0) {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        let end = offset + bytes.len() as u64;
        // Not every filesystem can do that.
        if fallocate(target, flags, offset, bytes.len() as u64).is_ok() {
            return if target.metadata()?.len() < end { target.set_len(end) } else { Ok(()) };
        }
    }
    target.write_all_at(bytes, offset)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn zeros_replace_what_was_there_and_take_no_room() {
        let file = tempfile::tempfile_in("/var/tmp").unwrap();
        let (ones, zeros) = (vec![1; 1 << 20], vec![0; 1 << 20]);
        for (content, offset) in [(&ones, 0), (&ones, 1), (&zeros, 0), (&zeros, 2)] {
            write_at(&file, content, offset << 20).unwrap();
        }
        let mut read = vec![7; 3 << 20];
        file.read_exact_at(&mut read, 0).unwrap();
        assert_eq!(read, [&*zeros, &ones, &zeros].concat());
        file.sync_all().unwrap();
        assert!(file.metadata().unwrap().blocks() * 512 < 3 << 19);
    }
}
