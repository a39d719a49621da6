//! An open directory that knows what to call itself in errors.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{self, AtFlags, Mode, OFlags, RenameFlags, StatxFlags};
use rustix::io::{Errno, retry_on_intr};
use storage_core::{FsError, FsResultExt};

use crate::fault::before_change;
use crate::layout::PRIVATE_MODE;

/// Files of the layout are small; a larger one is not what it should be.
const LARGEST_FILE: u64 = 1 << 20;

/// An open directory and its path from the graph root, for errors.
///
/// Names are single components, never followed when they are symlinks. Every
/// change that the driver makes on disk, other than by the temp-directory
/// scheme, is made by one of these methods.
#[derive(Debug)]
pub(crate) struct Dir {
    fd: OwnedFd,
    shown: PathBuf,
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Dir {
    /// Takes a handle of the directory that is shown as `shown`.
    pub(crate) fn duplicate(fd: impl AsFd, shown: impl Into<PathBuf>) -> Result<Self, FsError> {
        let shown = shown.into();
        let fd = fd.as_fd().try_clone_to_owned().during("duplicate handle of", &shown)?;
        Ok(Self { fd, shown })
    }

    /// The path of `name` in errors.
    pub(crate) fn shown(&self, name: &str) -> PathBuf {
        self.shown.join(name)
    }

    /// The kernel's number of the mount that this handle goes through.
    pub(crate) fn mount_id(&self) -> Result<u64, FsError> {
        let stat = fs::statx(&self.fd, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID);
        Ok(stat.during("look at", &self.shown)?.stx_mnt_id)
    }

    pub(crate) fn into_fd(self) -> OwnedFd {
        self.fd
    }

    /// Opens the directory `name`.
    pub(crate) fn open(&self, name: &str) -> Result<Self, FsError> {
        let fd = open_dir(&self.fd, name).during("open directory", self.shown(name))?;
        Ok(Self { fd, shown: self.shown(name) })
    }

    /// Opens the directory `name`, if it is there.
    pub(crate) fn open_if_there(&self, name: &str) -> Result<Option<Self>, FsError> {
        match self.open(name) {
            Ok(dir) => Ok(Some(dir)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes the directory `name`, which must not exist, with exactly `mode`.
    pub(crate) fn make(&self, name: &str, mode: u32) -> Result<Self, FsError> {
        before_change();
        let private = Mode::from_raw_mode(PRIVATE_MODE);
        retry_on_intr(|| fs::mkdirat(&self.fd, name, private))
            .during("create directory", self.shown(name))?;
        let dir = self.open(name)?;
        dir.set_mode(mode)?;
        Ok(dir)
    }

    /// Opens the directory `name`, which is made with exactly `mode` if it is missing.
    pub(crate) fn ensure(&self, name: &str, mode: u32) -> Result<Self, FsError> {
        if let Some(dir) = self.open_if_there(name)? {
            return Ok(dir);
        }
        match self.make(name, mode) {
            // Made by somebody else in this instant.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.open(name),
            result => result,
        }
    }

    /// A handle of the directory `name` that serves to name it, but not to read it.
    pub(crate) fn locate(&self, name: &str) -> Result<OwnedFd, FsError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        retry_on_intr(|| fs::openat(&self.fd, name, flags, Mode::empty()))
            .during("find directory", self.shown(name))
    }

    /// Permission bits of `name`.
    pub(crate) fn mode_of(&self, name: &str) -> Result<u32, FsError> {
        let stat = fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW)
            .during("look at", self.shown(name))?;
        Ok(stat.st_mode & 0o7777)
    }

    /// Time of the last change of anything about it, in seconds since 1970.
    pub(crate) fn changed(&self) -> Result<u64, FsError> {
        let stat = fs::fstat(&self.fd).during("look at", &self.shown)?;
        Ok(u64::try_from(stat.st_ctime).unwrap_or(0))
    }

    /// Sets the permission bits, whatever the umask.
    pub(crate) fn set_mode(&self, mode: u32) -> Result<(), FsError> {
        before_change();
        retry_on_intr(|| fs::fchmod(&self.fd, Mode::from_raw_mode(mode)))
            .during("set mode of", &self.shown)
    }

    /// Whether there is anything called `name`.
    pub(crate) fn has(&self, name: &str) -> Result<bool, FsError> {
        match fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(errno).during("look at", self.shown(name)),
        }
    }

    /// Creates or overwrites the file `name`; on request it is on disk on return.
    pub(crate) fn write(
        &self,
        name: &str,
        content: &str,
        mode: u32,
        synced: bool,
    ) -> Result<(), FsError> {
        before_change();
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let shown = || self.shown(name);
        let fd = fs::openat(&self.fd, name, flags, Mode::from_raw_mode(0o600))
            .during("create", shown())?;
        let mut file = File::from(fd);
        file.write_all(content.as_bytes()).during("write", shown())?;
        retry_on_intr(|| fs::fchmod(&file, Mode::from_raw_mode(mode)))
            .during("set mode of", shown())?;
        if synced {
            retry_on_intr(|| fs::fsync(&file)).during("flush", shown())?;
        }
        Ok(())
    }

    /// The text of the file `name`; `None` if there is none.
    pub(crate) fn read(&self, name: &str) -> Result<Option<String>, FsError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = match retry_on_intr(|| fs::openat(&self.fd, name, flags, Mode::empty())) {
            Err(Errno::NOENT) => return Ok(None),
            result => result.during("open", self.shown(name))?,
        };
        let mut text = String::new();
        let mut limited = File::from(fd).take(LARGEST_FILE);
        limited.read_to_string(&mut text).during("read", self.shown(name))?;
        if text.len() as u64 == LARGEST_FILE {
            return Err(Errno::FBIG).during("read", self.shown(name));
        }
        Ok(Some(text))
    }

    /// What the symlink `name` points to; `None` if there is none, or it is not UTF-8.
    pub(crate) fn read_link(&self, name: &str) -> Result<Option<String>, FsError> {
        match fs::readlinkat(&self.fd, name, Vec::new()) {
            Ok(target) => Ok(target.into_string().ok()),
            Err(Errno::NOENT | Errno::INVAL) => Ok(None),
            Err(errno) => Err(errno).during("read link", self.shown(name)),
        }
    }

    /// Makes the symlink `name`.
    pub(crate) fn symlink(&self, target: &str, name: &str) -> Result<(), FsError> {
        before_change();
        retry_on_intr(|| fs::symlinkat(target, &self.fd, name))
            .during("create link", self.shown(name))
    }

    /// Removes the file or symlink `name`, if it is there.
    pub(crate) fn unlink(&self, name: &str) -> Result<(), FsError> {
        self.remove(name, AtFlags::empty())
    }

    /// Removes the empty directory `name`, if it is there.
    pub(crate) fn remove_dir(&self, name: &str) -> Result<(), FsError> {
        self.remove(name, AtFlags::REMOVEDIR)
    }

    fn remove(&self, name: &str, flags: AtFlags) -> Result<(), FsError> {
        before_change();
        match retry_on_intr(|| fs::unlinkat(&self.fd, name, flags)) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno).during("remove", self.shown(name)),
        }
    }

    /// Removes the tree `name`, if it is there.
    pub(crate) fn remove_tree(&self, name: &str) -> Result<(), FsError> {
        before_change();
        storage_core::remove_tree(self.fd.as_fd(), name.as_bytes())
            .map_err(|error| self.below(error))
    }

    /// Moves `name` to `new_name` in `to`, where nothing of that name may exist.
    pub(crate) fn rename(&self, name: &str, to: &Self, new_name: &str) -> Result<(), FsError> {
        before_change();
        let shown = || self.shown(name);
        let flags = RenameFlags::NOREPLACE;
        match retry_on_intr(|| fs::renameat_with(&self.fd, name, &to.fd, new_name, flags)) {
            // This filesystem has no such flag: look first. The caller holds the lock that
            // keeps others from making the same name meanwhile.
            Err(Errno::INVAL) => {
                if to.has(new_name)? {
                    return Err(Errno::EXIST).during("rename", shown());
                }
                fs::renameat(&self.fd, name, &to.fd, new_name).during("rename", shown())
            }
            result => result.during("rename", shown()),
        }
    }

    /// Names of all that is here, in the order of their bytes; those that are not UTF-8 are none of ours.
    pub(crate) fn names(&self) -> Result<Vec<String>, FsError> {
        let entries = fs::Dir::read_from(&self.fd).during("list", &self.shown)?;
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.during("list", &self.shown)?;
            match entry.file_name().to_str() {
                Ok("." | "..") | Err(_) => {}
                Ok(name) => names.push(name.to_owned()),
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Flushes the names in this directory to disk.
    pub(crate) fn sync(&self) -> Result<(), FsError> {
        retry_on_intr(|| fs::fsync(&self.fd)).during("flush directory", &self.shown)
    }

    /// An error of somebody who works in this directory, in our words.
    pub(crate) fn below(&self, mut error: FsError) -> FsError {
        error.path = self.shown.join(error.path);
        error
    }
}

fn open_dir(dir: impl AsFd, name: impl AsRef<Path>) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    retry_on_intr(|| fs::openat(&dir, name.as_ref(), flags, Mode::empty()))
}
