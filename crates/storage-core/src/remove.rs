//! Trees removed by handles, never by paths.

use std::ffi::OsStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::fs::{AtFlags, FileType, IFlags, Mode, OFlags, RawDir, ResolveFlags, SeekFrom};
use rustix::io::{Errno, retry_on_intr};

use crate::dir::open_at;
use crate::{FsError, FsResultExt};

/// How many directories of the chain from the top are kept open; the others are
/// found again through `..`.
const MAX_OPEN: usize = 32;

/// How often a directory that should be empty is read again.
const MAX_PASSES: u32 = 16;

/// Bytes for one reading of directory entries.
const BUFFER: usize = 16 * 1024;

/// Removes the entry `name` of `parent`, and if it is a directory all that is in it.
///
/// `name` is a single name, not a path. Nothing that is no longer there is an
/// error. Symbolic links are removed, never followed, and what is mounted inside
/// is not entered: a mount point is an error. Missing permissions of directories
/// and immutable flags are overcome where the kernel lets us. The number of
/// descriptors does not depend on the depth.
///
/// # Errors
///
/// The first failure; what was removed by then stays removed.
pub fn remove_tree(parent: impl AsFd, name: &[u8]) -> Result<(), FsError> {
    let parent = parent.as_fd();
    match remove_entry(parent, name, AtFlags::empty()) {
        Err(Errno::ISDIR) => {}
        removed => return removed.during("remove", OsStr::from_bytes(name)),
    }
    let mut remover = Remover { parent, levels: Vec::new() };
    remover.enter(name.into())?;
    while remover.step()? {}
    Ok(())
}

/// One directory on the way from the top to where we are.
struct Level {
    name: Vec<u8>,
    /// `None` where too many are open.
    dir: Option<OwnedFd>,
    /// Device and inode, known once the directory was closed.
    identity: (u64, u64),
    /// Directories inside that were seen and are still to be removed.
    inside: Vec<Vec<u8>>,
    passes: u32,
}

struct Remover<'a> {
    parent: BorrowedFd<'a>,
    levels: Vec<Level>,
}

impl Remover<'_> {
    /// Removes one directory or enters one; `false` when nothing is left.
    fn step(&mut self) -> Result<bool, FsError> {
        let Some(level) = self.levels.last_mut() else { return Ok(false) };
        match level.inside.pop() {
            Some(name) => self.enter(name)?,
            None => self.leave()?,
        }
        Ok(true)
    }

    /// Opens a directory inside the current one and removes all but directories from it.
    fn enter(&mut self, name: Vec<u8>) -> Result<(), FsError> {
        let dir = match open_inside(self.current(), &name) {
            Err(Errno::NOENT) => return Ok(()),
            opened => self.tell("open directory to remove it", Some(&name), opened)?,
        };
        self.close_distant()?;
        let level = Level { name, dir: Some(dir), identity: (0, 0), inside: Vec::new(), passes: 0 };
        self.levels.push(level);
        self.empty()
    }

    /// Goes up and removes the directory where we were.
    fn leave(&mut self) -> Result<(), FsError> {
        self.reopen_parent()?;
        let Some(mut level) = self.levels.pop() else { return Ok(()) };
        match self.remove_here(&level.name, AtFlags::REMOVEDIR) {
            // The kernel may pass over entries while others are removed.
            Err(Errno::NOTEMPTY) if level.passes < MAX_PASSES => {
                level.passes += 1;
                self.levels.push(level);
                self.empty()
            }
            removed => self.tell("remove directory", Some(&level.name), removed),
        }
    }

    /// Reads the current directory: removes what is no directory, notes what is one.
    fn empty(&mut self) -> Result<(), FsError> {
        let dir = self.current();
        let mut inside = Vec::new();
        let mut buffer = [MaybeUninit::uninit(); BUFFER];
        self.tell("rewind directory", None, rustix::fs::seek(dir, SeekFrom::Start(0)))?;
        let mut entries = RawDir::new(dir, &mut buffer);
        while let Some(entry) = entries.next() {
            let entry = match entry {
                Err(Errno::INTR) => continue,
                entry => self.tell("read directory", None, entry)?,
            };
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            if entry.file_type() == FileType::Directory {
                inside.push(name.into());
                continue;
            }
            match self.remove_here(name, AtFlags::empty()) {
                Err(Errno::ISDIR) => inside.push(name.into()),
                removed => self.tell("remove", Some(name), removed)?,
            }
        }
        if let Some(level) = self.levels.last_mut() {
            level.inside = inside;
        }
        Ok(())
    }

    /// Removes one name from the current directory, which is loosened if need be.
    fn remove_here(&self, name: &[u8], flags: AtFlags) -> Result<(), Errno> {
        let dir = self.current();
        match remove_entry(dir, name, flags) {
            // The caller's directory is not ours to change.
            Err(Errno::ACCESS | Errno::PERM) if !self.levels.is_empty() => {
                loosen_directory(dir);
                remove_entry(dir, name, flags)
            }
            result => result,
        }
    }

    /// The directory where we are: the last level, or what the caller gave.
    fn current(&self) -> BorrowedFd<'_> {
        self.levels
            .last()
            .and_then(|level| level.dir.as_ref())
            .map_or(self.parent, |dir| dir.as_fd())
    }

    /// Closes the directory that is too far up to be kept.
    fn close_distant(&mut self) -> Result<(), FsError> {
        let Some(distant) = self.levels.len().checked_sub(MAX_OPEN) else { return Ok(()) };
        let level = &mut self.levels[distant];
        if let Some(dir) = level.dir.take() {
            let stat = rustix::fs::fstat(&dir)
                .during("look at directory", OsStr::from_bytes(&level.name))?;
            level.identity = (stat.st_dev, stat.st_ino);
        }
        Ok(())
    }

    /// Opens the directory above the current one again if it was closed.
    fn reopen_parent(&mut self) -> Result<(), FsError> {
        let Some(above) = self.levels.len().checked_sub(2) else { return Ok(()) };
        if self.levels[above].dir.is_some() {
            return Ok(());
        }
        let op = "return to the directory of";
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let dir = self.tell(op, None, open_at(self.current(), "..", flags))?;
        let stat = self.tell(op, None, rustix::fs::fstat(&dir))?;
        if (stat.st_dev, stat.st_ino) != self.levels[above].identity {
            // Somebody moved the directory: what is above it now is not ours.
            return self.tell(op, None, Err(Errno::STALE));
        }
        self.levels[above].dir = Some(dir);
        Ok(())
    }

    /// Adds to an error the path from the caller's directory, which is put
    /// together only then.
    fn tell<T>(
        &self,
        op: &'static str,
        last: Option<&[u8]>,
        result: Result<T, Errno>,
    ) -> Result<T, FsError> {
        result.map_err(|errno| {
            let names = self.levels.iter().map(|level| level.name.as_slice()).chain(last);
            let path: PathBuf = names.map(OsStr::from_bytes).collect();
            FsError::new(op, path, errno)
        })
    }
}

/// Opens a directory that is neither a symbolic link nor a mount point.
fn open_inside(dir: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
    let open = |flags| {
        loop {
            match rustix::fs::openat2(dir, name, flags, Mode::empty(), resolve) {
                // Some rename elsewhere on the system got in the way.
                Err(Errno::INTR | Errno::AGAIN) => {}
                opened => return opened,
            }
        }
    };
    match open(flags) {
        Err(Errno::ACCESS) => {
            let found = open(flags.difference(OFlags::RDONLY) | OFlags::PATH)?;
            // The only way to a mode that neither follows links nor needs a readable directory.
            let itself = format!("/proc/self/fd/{}", found.as_raw_fd());
            retry_on_intr(|| rustix::fs::chmod(&itself, Mode::RWXU))?;
            open(flags)
        }
        opened => opened,
    }
}

/// Removes one name; a missing one is as good as removed.
fn remove_entry(dir: BorrowedFd<'_>, name: &[u8], flags: AtFlags) -> Result<(), Errno> {
    let unlink = || retry_on_intr(|| rustix::fs::unlinkat(dir, name, flags));
    match unlink() {
        Err(Errno::NOENT) => Ok(()),
        Err(Errno::ACCESS | Errno::PERM) => {
            loosen(dir, name);
            match unlink() {
                Err(Errno::NOENT) => Ok(()),
                again => again,
            }
        }
        result => result,
    }
}

/// Takes away what keeps us from removing things from a directory of the tree.
fn loosen_directory(dir: BorrowedFd<'_>) {
    let _ = rustix::fs::fchmod(dir, Mode::RWXU);
    clear_flags(dir);
}

/// Takes away what protects `name` itself; the next attempt tells whether it worked.
fn loosen(dir: BorrowedFd<'_>, name: &[u8]) {
    let Ok(stat) = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) else { return };
    // Devices and pipes must not be opened; they have no such flags either.
    if matches!(FileType::from_raw_mode(stat.st_mode), FileType::RegularFile | FileType::Directory)
        && let Ok(file) = open_at(dir, name, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK)
    {
        clear_flags(file.as_fd());
    }
}

fn clear_flags(file: BorrowedFd<'_>) {
    let kept = IFlags::IMMUTABLE | IFlags::APPEND;
    if let Ok(flags) = rustix::fs::ioctl_getflags(file)
        && flags.intersects(kept)
    {
        let _ = rustix::fs::ioctl_setflags(file, flags.difference(kept));
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;

    use super::*;

    fn root() -> (tempfile::TempDir, File) {
        let root = tempfile::tempdir().unwrap();
        let handle = File::open(root.path()).unwrap();
        (root, handle)
    }

    /// A chain of directories, deeper than a path can say.
    fn chain(top: &Path, depth: usize) {
        std::fs::create_dir(top).unwrap();
        let mut dir = OwnedFd::from(File::open(top).unwrap());
        for _ in 0..depth {
            rustix::fs::mkdirat(&dir, "down", Mode::RWXU).unwrap();
            drop(crate::dir::create_at(&dir, "file", Mode::RUSR).unwrap());
            dir = open_at(&dir, "down", OFlags::RDONLY).unwrap();
        }
    }

    #[test]
    fn what_is_not_there_is_removed_already() {
        let (_keep, handle) = root();
        remove_tree(&handle, b"none").unwrap();
    }

    #[test]
    fn anything_is_removed_and_nothing_is_followed() {
        let (root, handle) = root();
        let path = |name: &str| root.path().join(name);
        std::fs::create_dir_all(path("outside/kept")).unwrap();
        std::fs::create_dir_all(path("tree/a/b")).unwrap();
        std::fs::create_dir_all(path("tree/c")).unwrap();
        std::fs::write(path("tree/a/file"), "x").unwrap();
        symlink("../../outside", path("tree/a/link")).unwrap();
        symlink("nowhere", path("tree/a/b/dangling")).unwrap();
        rustix::fs::mknodat(&handle, "tree/pipe", FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)
            .unwrap();
        symlink("outside", path("link")).unwrap();
        std::fs::write(path("file"), "x").unwrap();
        for name in ["tree", "link", "file"] {
            remove_tree(&handle, name.as_bytes()).unwrap();
            assert!(path(name).symlink_metadata().is_err(), "{name}");
        }
        assert!(path("outside/kept").exists());
    }

    #[test]
    fn a_tree_deeper_than_any_limit_goes() {
        let (root, handle) = root();
        // Beyond the usual limit of descriptors, and the longest path.
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        let limit = rustix::process::Rlimit { current: Some(1024), ..limit };
        rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
        chain(&root.path().join("deep"), 1100);
        remove_tree(&handle, b"deep").unwrap();
        assert!(!root.path().join("deep").exists());
    }

    #[test]
    fn a_directory_of_many_files_goes() {
        let (root, handle) = root();
        for n in 0..1500 {
            let name = root.path().join(format!("wide/{}/{n}", n % 7));
            std::fs::create_dir_all(name.parent().unwrap()).unwrap();
            std::fs::write(name, "").unwrap();
        }
        remove_tree(&handle, b"wide").unwrap();
        assert!(!root.path().join("wide").exists());
    }

    #[test]
    fn missing_permissions_of_directories_are_overcome() {
        let (root, handle) = root();
        let top = root.path().join("tree");
        for (name, mode) in [("tree/a/b", 0o000), ("tree/c/d", 0o500), ("tree/e/f", 0o100)] {
            let path = root.path().join(name);
            std::fs::create_dir_all(&path).unwrap();
            std::fs::write(path.join("file"), "").unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        }
        std::fs::set_permissions(&top, PermissionsExt::from_mode(0o500)).unwrap();
        let nobody = rustix::process::Uid::from_raw(65534);
        if rustix::process::geteuid().is_root() {
            for entry in
                ["", "tree", "tree/a", "tree/a/b", "tree/c", "tree/c/d", "tree/e", "tree/e/f"]
            {
                let path = root.path().join(entry);
                rustix::fs::chown(path.as_path(), Some(nobody), None).unwrap();
            }
        }
        std::thread::scope(|scope| {
            scope.spawn(|| {
                if rustix::process::geteuid().is_root() {
                    // For this thread only; takes its capabilities, too.
                    rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
                }
                remove_tree(&handle, b"tree").unwrap();
            });
        });
        assert!(!top.exists());
    }

    #[test]
    fn the_directory_of_the_caller_keeps_its_mode() {
        let (root, handle) = root();
        std::fs::create_dir(root.path().join("tree")).unwrap();
        let nobody = rustix::process::Uid::from_raw(65534);
        std::fs::set_permissions(root.path(), PermissionsExt::from_mode(0o555)).unwrap();
        let removed = std::thread::scope(|scope| {
            let remover = scope.spawn(|| {
                if rustix::process::geteuid().is_root() {
                    rustix::fs::fchown(&handle, Some(nobody), None).unwrap();
                    rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
                }
                remove_tree(&handle, b"tree")
            });
            remover.join().unwrap()
        });
        assert_eq!(removed.unwrap_err().kind(), std::io::ErrorKind::PermissionDenied);
        assert_eq!(root.path().metadata().unwrap().permissions().mode() & 0o7777, 0o555);
        std::fs::set_permissions(root.path(), PermissionsExt::from_mode(0o755)).unwrap();
    }

    #[test]
    #[ignore = "needs CAP_SYS_ADMIN to mount and CAP_LINUX_IMMUTABLE"]
    fn mounts_are_not_entered_and_immutable_files_go() {
        let (root, handle) = root();
        std::fs::create_dir_all(root.path().join("tree/mount")).unwrap();
        std::fs::create_dir_all(root.path().join("outside")).unwrap();
        std::fs::write(root.path().join("outside/kept"), "").unwrap();
        let (outside, mount) = (root.path().join("outside"), root.path().join("tree/mount"));
        rustix::mount::mount_bind(&outside, &mount).unwrap();
        let error = remove_tree(&handle, b"tree").unwrap_err();
        rustix::mount::unmount(&mount, rustix::mount::UnmountFlags::DETACH).unwrap();
        assert_eq!(error.path, Path::new("tree/mount"));
        assert_eq!(error.source.raw_os_error(), Some(Errno::XDEV.raw_os_error()));
        assert!(root.path().join("outside/kept").exists());

        std::fs::create_dir_all(root.path().join("tree/dir")).unwrap();
        for name in ["tree/dir/file", "tree/dir"] {
            let path = root.path().join(name);
            if name.ends_with("file") {
                std::fs::write(&path, "").unwrap();
            }
            let file = File::open(&path).unwrap();
            let flags = rustix::fs::ioctl_getflags(&file).unwrap();
            rustix::fs::ioctl_setflags(&file, flags | IFlags::IMMUTABLE).unwrap();
        }
        remove_tree(&handle, b"tree").unwrap();
        assert!(!root.path().join("tree").exists());
    }
}
