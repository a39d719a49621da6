//! Whole files as hard links, where the caller wants that.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, ResolveFlags, fgetxattr, flistxattr, linkat, openat2, renameat,
    unlinkat,
};
use rustix::io::Errno;
use storage_core::{Dirs, Entry, FsError, FsResultExt, LayerPath};

/// Set by the host's policy, not by the layer.
const LABEL: &[u8] = b"security.selinux";

/// Puts a hard link to `source` in the place of the file that was made for
/// `entry`; `false`, and all is as before, if their metadata differ or the
/// filesystem does not want to. For a moment it is `name_aside` in scratch.
///
/// # Errors
///
/// If the link can't be moved from scratch to its place.
pub(super) fn replace(
    source: &File,
    entry: &Entry,
    dirs: Dirs<'_>,
    name_aside: &str,
) -> Result<bool, FsError> {
    if !is_equal(source, entry).unwrap_or(false) {
        return Ok(false);
    }
    let path = LayerPath::parse(&entry.name).expect("the file of this entry was made");
    let Some((parent, name)) = path.split_last() else { return Ok(false) };
    let parent = open_parent(dirs, &parent)?;
    let by_descriptor = format!("/proc/self/fd/{}", source.as_raw_fd());
    if linkat(CWD, by_descriptor, dirs.scratch, name_aside, AtFlags::SYMLINK_FOLLOW).is_err() {
        return Ok(false);
    }
    let moved = renameat(dirs.scratch, name_aside, &parent, name);
    if moved.is_err() {
        unlinkat(dirs.scratch, name_aside, AtFlags::empty()).during("unlink", name_aside)?;
    }
    moved.during("move a link to", path.as_path())?;
    Ok(true)
}

fn open_parent(dirs: Dirs<'_>, parent: &LayerPath) -> Result<OwnedFd, FsError> {
    let path = if parent.is_root() { ".".as_ref() } else { parent.as_path() };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    openat2(dirs.dest, path, flags, Mode::empty(), resolve).during("open directory", path)
}

/// Whether the file's owner, mode, time and xattrs are those of `entry`.
fn is_equal(file: &File, entry: &Entry) -> std::io::Result<bool> {
    let found = file.metadata()?;
    let same = found.mode() & 0o7777 == entry.mode
        && (found.uid(), found.gid()) == (entry.uid, entry.gid)
        && found.mtime() == entry.mtime.seconds
        && found.mtime_nsec() == i64::from(entry.mtime.nanoseconds);
    Ok(same && xattrs_of(file)? == entry.xattrs.iter().cloned().collect())
}

fn xattrs_of(file: &File) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, Errno> {
    let names = read_whole(|buffer| flistxattr(file.as_fd(), buffer))?;
    let names = names.split(|&byte| byte == 0).filter(|name| !name.is_empty() && *name != LABEL);
    let value = |name: &[u8]| read_whole(|buffer| fgetxattr(file.as_fd(), name, buffer));
    names.map(|name| Ok((name.to_vec(), value(name)?))).collect()
}

/// Linux has no longer names or values than 64 KiB.
fn read_whole(read: impl FnOnce(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut buffer = vec![0; 64 << 10];
    let length = read(&mut buffer)?;
    buffer.truncate(length);
    Ok(buffer)
}
