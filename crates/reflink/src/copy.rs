//! Copying, in the kernel if it can.

use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::copy_file_range;
use rustix::io::{Errno, pread, pwrite, retry_on_intr};

/// Most bytes that are asked for at once, so that a copy can be interrupted.
const AT_ONCE: u64 = 1 << 30;

/// Bytes that go through our own memory at once.
const BUFFER: usize = 128 * 1024;

/// Copies all of `src` into `dst`, each from its first byte, and gives the number of bytes.
///
/// What `dst` has behind them stays. Neither cursor matters or moves.
///
/// # Errors
///
/// If reading or writing fails; a part is copied then.
pub fn copy(src: impl AsFd, dst: impl AsFd) -> io::Result<u64> {
    copy_range(src, 0..u64::MAX, dst, 0)
}

/// Copies a range of `src` into `dst` from `dst_offset` on, and gives the number of bytes.
///
/// There are fewer bytes than in the range only if `src` ends before it does.
/// Neither cursor matters or moves.
///
/// # Errors
///
/// If reading or writing fails; a part is copied then.
pub fn copy_range(
    src: impl AsFd,
    src_range: Range<u64>,
    dst: impl AsFd,
    dst_offset: u64,
) -> io::Result<u64> {
    let (src, dst) = (src.as_fd(), dst.as_fd());
    let mut rest = Rest { src_offset: src_range.start, src_end: src_range.end, dst_offset };
    in_kernel(src, dst, &mut rest)?;
    through_memory(src, dst, &mut rest)?;
    Ok(rest.src_offset.saturating_sub(src_range.start))
}

/// What is still to be copied.
struct Rest {
    src_offset: u64,
    src_end: u64,
    dst_offset: u64,
}

impl Rest {
    fn length(&self) -> u64 {
        self.src_end.saturating_sub(self.src_offset)
    }

    fn advance(&mut self, bytes: usize) {
        self.src_offset += bytes as u64;
        self.dst_offset += bytes as u64;
    }
}

/// Copies until the end, or until the kernel would rather not.
///
/// Some files (those of `/proc`) look empty to this call and are not, so the end
/// is left to be found by reading.
fn in_kernel(src: BorrowedFd<'_>, dst: BorrowedFd<'_>, rest: &mut Rest) -> io::Result<()> {
    while rest.length() > 0 {
        let length =
            usize::try_from(rest.length().min(AT_ONCE)).expect("a gigabyte can be counted");
        let (mut from, mut to) = (rest.src_offset, rest.dst_offset);
        match copy_file_range(src, Some(&mut from), dst, Some(&mut to), length) {
            Ok(0) => break,
            Ok(bytes) => rest.advance(bytes),
            Err(Errno::INTR) => {}
            Err(errno) if is_refused(errno) => break,
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// Whether reading and writing may do what the kernel does not do in one call.
///
/// `EINVAL` and `EOPNOTSUPP`: not these kinds of file; `EXDEV`: not between these
/// filesystems, before Linux 5.3 between any; `ENOSYS`: not this kernel.
fn is_refused(errno: Errno) -> bool {
    matches!(errno, Errno::INVAL | Errno::XDEV | Errno::NOSYS | Errno::OPNOTSUPP)
}

fn through_memory(src: BorrowedFd<'_>, dst: BorrowedFd<'_>, rest: &mut Rest) -> io::Result<()> {
    if rest.length() == 0 {
        return Ok(());
    }
    let mut buffer = vec![0; BUFFER];
    while rest.length() > 0 {
        let wanted = usize::try_from(rest.length()).unwrap_or(BUFFER).min(BUFFER);
        let bytes = retry_on_intr(|| pread(src, &mut buffer[..wanted], rest.src_offset))?;
        if bytes == 0 {
            break;
        }
        write_all(dst, &buffer[..bytes], rest.dst_offset)?;
        rest.advance(bytes);
    }
    Ok(())
}

fn write_all(dst: BorrowedFd<'_>, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = retry_on_intr(|| pwrite(dst, bytes, offset))?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        bytes = &bytes[written..];
        offset += written as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Seek, SeekFrom, Write};

    use super::*;

    /// More than one buffer, and no two parts alike.
    fn content() -> Vec<u8> {
        (0..300_000_u32).flat_map(|n| n.to_le_bytes()[..3].to_vec()).take(400_001).collect()
    }

    fn file_with(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn read(file: &File) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
        rustix::io::pread(file, &mut bytes[..], 0).unwrap();
        bytes
    }

    #[test]
    fn copies_count_from_offset_zero_wherever_the_cursors_are() {
        let content = content();
        let (mut src, mut dst) = (file_with(&content), tempfile::tempfile().unwrap());
        src.seek(SeekFrom::Start(17)).unwrap();
        dst.seek(SeekFrom::Start(99)).unwrap();
        assert_eq!(copy(&src, &dst).unwrap(), content.len() as u64);
        assert!(read(&dst) == content);
        assert_eq!((src.stream_position().unwrap(), dst.stream_position().unwrap()), (17, 99));
    }

    #[test]
    fn both_ways_copy_the_same_range() {
        let content = content();
        let src = file_with(&content);
        let (kernel, memory) = (file_with(b"before"), file_with(b"before"));
        let rest = || Rest { src_offset: 5, src_end: 300_005, dst_offset: 3 };
        let mut by_kernel = rest();
        in_kernel(src.as_fd(), kernel.as_fd(), &mut by_kernel).unwrap();
        through_memory(src.as_fd(), kernel.as_fd(), &mut by_kernel).unwrap();
        through_memory(src.as_fd(), memory.as_fd(), &mut rest()).unwrap();
        let expected = [b"bef", &content[5..300_005]].concat();
        assert!(read(&kernel) == expected);
        assert!(read(&memory) == expected);
    }

    #[test]
    fn a_range_beyond_the_end_is_copied_as_far_as_it_goes() {
        let src = file_with(b"0123456789");
        let dst = tempfile::tempfile().unwrap();
        assert_eq!(copy_range(&src, 7..100, &dst, 1).unwrap(), 3);
        assert_eq!(read(&dst), b"\x00789");
        assert_eq!(copy_range(&src, 100..200, &dst, 0).unwrap(), 0);
        assert_eq!(copy_range(&src, 4..4, &dst, 0).unwrap(), 0);
    }

    #[test]
    fn a_file_that_looks_empty_is_copied() {
        let src = File::open("/proc/self/status").unwrap();
        let dst = tempfile::tempfile().unwrap();
        let bytes = copy(&src, &dst).unwrap();
        assert!(bytes > 0);
        assert!(read(&dst).starts_with(b"Name:"));
    }

    #[test]
    fn the_kernel_may_refuse_but_not_fail() {
        for errno in [Errno::INVAL, Errno::XDEV, Errno::NOSYS, Errno::OPNOTSUPP] {
            assert!(is_refused(errno), "{errno}");
        }
        for errno in [Errno::NOSPC, Errno::IO, Errno::DQUOT, Errno::BADF, Errno::PERM] {
            assert!(!is_refused(errno), "{errno}");
        }
    }

    #[test]
    fn a_full_disk_is_an_error() {
        let src = file_with(b"bytes");
        let full = File::options().write(true).open("/dev/full").unwrap();
        assert_eq!(copy(&src, &full).unwrap_err().kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn a_file_that_is_not_open_for_writing_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("f"), "").unwrap();
        let dst = File::open(dir.path().join("f")).unwrap();
        assert!(copy(file_with(b"bytes"), &dst).is_err());
    }
}
