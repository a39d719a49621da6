//! Reading directories.

use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, FileType, RawDir, statat};
use rustix::io::Errno;

use crate::names::Names;

/// Bytes of directory entries that are read with one call.
const BUFFER: usize = 32 * 1024;

/// Calls `each` with every name in a directory that was just opened.
///
/// The type is `Unknown` where the filesystem does not keep it with the name.
pub(crate) fn list(
    directory: BorrowedFd<'_>,
    mut each: impl FnMut(&[u8], FileType) -> Result<(), Errno>,
) -> Result<(), Errno> {
    let mut buffer = Vec::with_capacity(BUFFER);
    let mut entries = RawDir::new(directory, buffer.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        let entry = entry?;
        match entry.file_name().to_bytes() {
            b"." | b".." => {}
            name => each(name, entry.file_type())?,
        }
    }
    Ok(())
}

/// All names in a directory, sorted.
pub(crate) fn all_names(directory: BorrowedFd<'_>) -> Result<Names, Errno> {
    let mut names = Names::default();
    list(directory, |name, _| {
        names.push(name);
        Ok(())
    })?;
    names.sort();
    Ok(names)
}

/// The names of the directories in a directory, in any order.
pub(crate) fn subdirectories(directory: BorrowedFd<'_>) -> Result<Names, Errno> {
    let mut names = Names::default();
    list(directory, |name, mut file_type| {
        if file_type == FileType::Unknown {
            let stat = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
            file_type = FileType::from_raw_mode(stat.st_mode);
        }
        if file_type == FileType::Directory {
            names.push(name);
        }
        Ok(())
    })?;
    Ok(names)
}
