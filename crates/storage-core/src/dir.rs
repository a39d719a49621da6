//! System calls relative to a directory handle, with interrupted ones repeated.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, OFlags, RawDir};
use rustix::io::{Errno, retry_on_intr};
use rustix::path::Arg;
use rustix::rand::GetRandomFlags;

use crate::{FsError, FsResultExt};

/// Opens what exists.
pub(crate) fn open_at(
    dir: impl AsFd,
    name: impl Arg + Copy,
    flags: OFlags,
) -> Result<OwnedFd, Errno> {
    let dir = dir.as_fd();
    retry_on_intr(|| rustix::fs::openat(dir, name, flags | OFlags::CLOEXEC, Mode::empty()))
}

/// Creates a file that must not exist, with exactly `mode`, open for reading and writing.
pub(crate) fn create_at(
    dir: impl AsFd,
    name: impl Arg + Copy,
    mode: Mode,
) -> Result<OwnedFd, Errno> {
    let dir = dir.as_fd();
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = retry_on_intr(|| rustix::fs::openat(dir, name, flags, mode))?;
    // The umask has had its say; modes of the layout are exact.
    if let Err(errno) = retry_on_intr(|| rustix::fs::fchmod(&file, mode)) {
        // The first failure is the one to report.
        let _ = unlink_at(dir, name);
        return Err(errno);
    }
    Ok(file)
}

/// Removes a name that is not a directory.
pub(crate) fn unlink_at(dir: impl AsFd, name: impl Arg + Copy) -> Result<(), Errno> {
    let dir = dir.as_fd();
    retry_on_intr(|| rustix::fs::unlinkat(dir, name, AtFlags::empty()))
}

/// Moves a name, which replaces what had the new one.
pub(crate) fn rename_at(
    from: impl AsFd,
    old: impl Arg + Copy,
    to: impl AsFd,
    new: impl Arg + Copy,
) -> Result<(), Errno> {
    let (from, to) = (from.as_fd(), to.as_fd());
    retry_on_intr(|| rustix::fs::renameat(from, old, to, new))
}

/// Makes names in a directory durable.
pub(crate) fn sync(fd: impl AsFd) -> Result<(), Errno> {
    let fd = fd.as_fd();
    retry_on_intr(|| rustix::fs::fsync(fd))
}

/// Opens a directory, `None` if there is none.
pub(crate) fn open_dir(dir: impl AsFd, name: &str) -> Result<Option<OwnedFd>, FsError> {
    match open_at(dir, name, OFlags::RDONLY | OFlags::DIRECTORY) {
        Err(Errno::NOENT) => Ok(None),
        opened => opened.during("open directory", name).map(Some),
    }
}

/// Opens a directory and makes it first, with exactly `mode`, if it is missing.
///
/// Also tells whether it was made.
pub(crate) fn make_dir(dir: impl AsFd, name: &str, mode: Mode) -> Result<(OwnedFd, bool), FsError> {
    let parent = dir.as_fd();
    loop {
        if let Some(existing) = open_dir(parent, name)? {
            return Ok((existing, false));
        }
        match retry_on_intr(|| rustix::fs::mkdirat(parent, name, mode)) {
            // Somebody else was faster: theirs is as good.
            Err(Errno::EXIST) => {}
            result => {
                result.during("create directory", name)?;
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
                let new = open_at(parent, name, flags).during("open directory", name)?;
                retry_on_intr(|| rustix::fs::fchmod(&new, mode)).during("set mode of", name)?;
                return Ok((new, true));
            }
        }
    }
}

/// The names in a directory, those that are text.
pub(crate) fn text_names(dir: impl AsFd) -> Result<Vec<String>, Errno> {
    // Opened anew, since handles that are copies share one position.
    let dir = open_at(dir, ".", OFlags::RDONLY | OFlags::DIRECTORY)?;
    let mut names = Vec::new();
    let mut buffer = [MaybeUninit::uninit(); 8192];
    let mut entries = RawDir::new(&dir, &mut buffer);
    while let Some(entry) = entries.next() {
        match entry {
            Ok(entry) => names.extend(entry.file_name().to_str().ok().map(str::to_owned)),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(names)
}

/// Bytes nobody can guess.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], Errno> {
    let mut bytes = [0; N];
    let mut filled = 0;
    while filled < N {
        filled += retry_on_intr(|| {
            rustix::rand::getrandom(&mut bytes[filled..], GetRandomFlags::empty())
        })?;
    }
    Ok(bytes)
}

/// A decimal number for a name that should be new.
pub(crate) fn random_number() -> Result<u64, Errno> {
    random().map(u64::from_le_bytes)
}
