//! Removing a tree.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, chmod, fchmod, fstat, openat, unlinkat};
use rustix::io::Errno;
use storage_core::{FsError, FsResultExt};

use crate::attributes::magic_path;
use crate::descent::{DIRECTORY, Descent, Id, Left, open_directory};
use crate::list::list;
use crate::names::Names;

/// Removes `name` in `parent`, whatever it is, and all that is below it.
///
/// Works by open directories, so it never leaves the tree through a link, and
/// neither its depth nor the length of its paths matters. Directories that shut
/// their owner out are opened up first. Nothing of that name is no error.
///
/// # Errors
///
/// If something can't be removed; what was before it in the walk is gone then.
pub fn remove_tree(parent: BorrowedFd<'_>, name: &[u8]) -> Result<(), FsError> {
    let top = Path::new(OsStr::from_bytes(name));
    match unlinkat(parent, name, AtFlags::empty()) {
        Err(Errno::ISDIR) => {}
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(FsError::new("remove", top, errno)),
    }
    let mut descent = Descent::default();
    match empty(parent, name).during("remove the content of", top)? {
        Some((directory, id, directories)) => descent.enter(directory, id, name, directories),
        None => return Ok(()),
    }
    loop {
        if let Some(name) = descent.next_name() {
            let path = top.join(descent.path_of(&name));
            let here = descent.current();
            let emptied = empty(here, &name).during("remove the content of", path)?;
            if let Some((directory, id, directories)) = emptied {
                descent.enter(directory, id, &name, directories);
            }
        } else if let Some(Left { path, .. }) = descent.leave()? {
            let (above, name) = match descent.here() {
                Some(above) => (above, path.file_name().map_or(&b""[..], OsStr::as_bytes)),
                None => (parent, name),
            };
            match unlinkat(above, name, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => {
                    return Err(FsError::new("remove directory", top.join(path), errno));
                }
            }
        } else {
            return Ok(());
        }
    }
}

/// Removes all but the directories in the directory `name`; gives it and their names.
fn empty(parent: BorrowedFd<'_>, name: &[u8]) -> Result<Option<(OwnedFd, Id, Names)>, Errno> {
    let directory = match open_for_removal(parent, name) {
        Err(Errno::NOENT) => return Ok(None),
        directory => directory?,
    };
    let stat = fstat(&directory)?;
    if stat.st_mode & 0o700 != 0o700 {
        // Who may remove files here all the same needs no permission; who may not
        // learns it from the next call.
        fchmod(&directory, Mode::RWXU).unwrap_or_default();
    }
    let mut directories = Names::default();
    list(directory.as_fd(), |name, file_type| {
        if file_type != FileType::Directory {
            match unlinkat(&directory, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => return Ok(()),
                Err(Errno::ISDIR) => {}
                Err(errno) => return Err(errno),
            }
        }
        directories.push(name);
        Ok(())
    })?;
    Ok(Some((directory, Id::of(&stat), directories)))
}

fn open_for_removal(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    match open_directory(parent, name) {
        Err(Errno::ACCESS) => {
            let handle = openat(parent, name, DIRECTORY.union(OFlags::PATH), Mode::empty())?;
            chmod(magic_path(&handle), Mode::RWXU)?;
            open_directory(parent, name)
        }
        directory => directory,
    }
}
