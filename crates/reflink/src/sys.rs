#![expect(unsafe_code, reason = "ioctls that no crate offers: FICLONERANGE and FIEMAP")]

//! The calls that take more than a descriptor.

use std::os::fd::{AsRawFd, BorrowedFd};

use linux_raw_sys::general::file_clone_range;
use linux_raw_sys::ioctl::{FICLONERANGE, FS_IOC_FIEMAP};
use rustix::io::Errno;
use rustix::ioctl::{Opcode, Setter, Updater, ioctl};

/// Makes `length` bytes of `src` part of `dst`; zero is all the rest.
pub(crate) fn clone_range(
    src: BorrowedFd<'_>,
    src_offset: u64,
    length: u64,
    dst: BorrowedFd<'_>,
    dst_offset: u64,
) -> Result<(), Errno> {
    let range = file_clone_range {
        src_fd: src.as_raw_fd().into(),
        src_offset,
        src_length: length,
        dest_offset: dst_offset,
    };
    // SAFETY: FICLONERANGE reads one `file_clone_range`, which this type is by the
    // kernel's own headers, and writes to no memory of ours. `src` is borrowed for
    // as long as the call takes.
    unsafe { ioctl(dst, Setter::<{ FICLONERANGE as Opcode }, _>::new(range)) }
}

/// Extents that are asked for with one call: a buffer of 7 KiB.
pub(crate) const EXTENTS: usize = 128;

/// The last extent of the file.
pub(crate) const LAST: u32 = 0x0001;
/// An extent that other files have, too.
pub(crate) const SHARED: u32 = 0x2000;

/// `struct fiemap` of linux/fiemap.h with room for its extents.
#[repr(C)]
#[derive(Debug)]
struct Fiemap {
    start: u64,
    length: u64,
    flags: u32,
    mapped_extents: u32,
    extent_count: u32,
    reserved: u32,
    extents: [Extent; EXTENTS],
}

/// `struct fiemap_extent` of linux/fiemap.h.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Extent {
    pub(crate) logical: u64,
    physical: u64,
    pub(crate) length: u64,
    reserved64: [u64; 2],
    pub(crate) flags: u32,
    reserved: [u32; 3],
}

/// The extents from byte `start` on, as many as one call gives.
pub(crate) fn extents(file: BorrowedFd<'_>, start: u64) -> Result<Vec<Extent>, Errno> {
    let mut map = Fiemap {
        start,
        length: u64::MAX - start,
        flags: 0,
        mapped_extents: 0,
        extent_count: u32::try_from(EXTENTS).expect("a small constant"),
        reserved: 0,
        extents: [Extent::default(); EXTENTS],
    };
    // SAFETY: FS_IOC_FIEMAP reads and writes one `struct fiemap` and after it at
    // most `extent_count` extents, which is what `Fiemap` has room for. Both types
    // are plain numbers, laid out as in the kernel's header.
    unsafe { ioctl(file, Updater::<{ FS_IOC_FIEMAP as Opcode }, _>::new(&mut map)) }?;
    let mapped = usize::try_from(map.mapped_extents).unwrap_or(EXTENTS).min(EXTENTS);
    Ok(map.extents[..mapped].to_vec())
}

const _: () = assert!(size_of::<Extent>() == 56);
const _: () = assert!(size_of::<Fiemap>() == 32 + 56 * EXTENTS);
