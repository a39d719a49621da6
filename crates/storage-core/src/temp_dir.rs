//! Directories whose content is going away, or not there yet.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

use crate::dir::{open_at, random_number, rename_at, text_names, unlink_at};
use crate::lock::create_new;
use crate::remove::remove_tree;
use crate::{FsError, FsResultExt, Lock};

/// A directory of things to be removed, which any process may finish.
///
/// Moving a tree in is one rename and so quick enough to be done under a lock;
/// the slow physical removal comes with [`TempDir::delete`] or on drop, when the
/// lock is released. Something new can be built inside as well, and be renamed
/// to its place when it is whole.
///
/// Drop is best effort and silent; `delete` reports errors. What a killed
/// process leaves is removed by [`recover_temp_dirs`], which tells the dead from
/// the living by the lock.
///
/// ```text
/// base/
/// ├── lock-<n>              locked while the owner lives
/// └── temp-dir-<n>/         0700
///     └── <counter>-<name>  what was moved in
/// ```
#[derive(Debug)]
#[must_use = "dropping a temp dir removes it"]
pub struct TempDir {
    base: OwnedFd,
    number: String,
    dir: OwnedFd,
    lock: Option<Lock>,
    counter: u64,
}

const LOCK: &str = "lock-";
const DIR: &str = "temp-dir-";

/// How often another number is tried when the names are taken.
const ATTEMPTS: usize = 1000;

impl TempDir {
    /// Makes a new one below `base`, which must exist.
    ///
    /// # Errors
    ///
    /// If the lock or the directory cannot be made.
    pub fn create(base: impl AsFd) -> Result<Self, FsError> {
        let base = base.as_fd();
        let (number, lock) = lock_new(base)?;
        // From here on a failure leaves a pair that recovery finds; but don't wait for that.
        match make(base, &number) {
            Ok((base, dir)) => Ok(Self { base, number, dir, lock: Some(lock), counter: 0 }),
            Err(error) => {
                drop(remove_pair(base, &number));
                Err(error)
            }
        }
    }

    /// The directory itself, to build something in.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Moves the entry `name` of `from` in, under the name that is returned.
    ///
    /// # Errors
    ///
    /// If there is no such entry, or it is on another filesystem.
    pub fn move_in(&mut self, from: impl AsFd, name: impl AsRef<Path>) -> Result<String, FsError> {
        let name = name.as_ref();
        let base = name.file_name().unwrap_or(name.as_os_str()).to_string_lossy();
        let inside = format!("{}-{base}", self.counter);
        rename_at(from, name, &self.dir, inside.as_str()).during("move away", name)?;
        self.counter += 1;
        Ok(inside)
    }

    /// Removes the directory with all that is in it.
    ///
    /// # Errors
    ///
    /// If something cannot be removed; [`recover_temp_dirs`] tries again.
    pub fn delete(mut self) -> Result<(), FsError> {
        self.remove()
    }

    fn remove(&mut self) -> Result<(), FsError> {
        // Released at the end of this function, whatever happens.
        let Some(_lock) = self.lock.take() else { return Ok(()) };
        remove_pair(self.base.as_fd(), &self.number)
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // Best effort, as documented.
        drop(self.remove());
    }
}

/// Removes the temp dirs below `base` whose owners are dead; tells how many.
///
/// Those of the living are not touched.
///
/// # Errors
///
/// The first failure, after all the others have been tried.
pub fn recover_temp_dirs(base: impl AsFd) -> Result<usize, FsError> {
    let base = base.as_fd();
    let (mut recovered, mut first_error) = (0, Ok(()));
    for number in numbers(base)? {
        match recover(base, &number) {
            Ok(done) => recovered += usize::from(done),
            Err(error) if first_error.is_ok() => first_error = Err(error),
            Err(_) => {}
        }
    }
    first_error.map(|()| recovered)
}

/// All numbers that occur in a lock's or a directory's name, each once.
fn numbers(base: BorrowedFd<'_>) -> Result<Vec<String>, FsError> {
    let names = text_names(base).during("read directory of", "temp dirs")?;
    let numbers = names.iter().filter_map(|n| n.strip_prefix(LOCK).or(n.strip_prefix(DIR)));
    let mut numbers: Vec<String> = numbers.filter(|n| !n.is_empty()).map(str::to_owned).collect();
    numbers.sort_unstable();
    numbers.dedup();
    Ok(numbers)
}

/// Removes one pair if its lock can be had.
fn recover(base: BorrowedFd<'_>, number: &str) -> Result<bool, FsError> {
    let name = format!("{LOCK}{number}");
    let file = match open_at(base, name.as_str(), OFlags::RDWR | OFlags::NOFOLLOW) {
        // A directory without a lock: take the lock's name, as its owner would have.
        Err(Errno::NOENT) => match create_new(base, &name) {
            Err(Errno::EXIST) => return Ok(false),
            created => created.during("create lock file", &name)?,
        },
        opened => opened.during("open lock file", &name)?,
    };
    let Some(_lock) = lock_if_named(base, file, &name)? else { return Ok(false) };
    remove_pair(base, number).map(|()| true)
}

/// The directory first: a directory without a lock would belong to nobody.
fn remove_pair(base: BorrowedFd<'_>, number: &str) -> Result<(), FsError> {
    let dir = format!("{DIR}{number}");
    remove_tree(base, dir.as_bytes())?;
    let lock = format!("{LOCK}{number}");
    match unlink_at(base, lock.as_str()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno).during("remove lock file", lock),
    }
}

fn lock_new(base: BorrowedFd<'_>) -> Result<(String, Lock), FsError> {
    for _ in 0..ATTEMPTS {
        let number = random_number().during("choose a name for", "temp dir")?.to_string();
        let name = format!("{LOCK}{number}");
        let file = match create_new(base, &name) {
            Err(Errno::EXIST) => continue,
            created => created.during("create lock file", &name)?,
        };
        if let Some(lock) = lock_if_named(base, file, &name)? {
            return Ok((number, lock));
        }
    }
    Err(Errno::EXIST).during("find a free name for", "temp dir")
}

fn make(base: BorrowedFd<'_>, number: &str) -> Result<(OwnedFd, OwnedFd), FsError> {
    let name = format!("{DIR}{number}");
    let mode = Mode::RWXU;
    retry_on_intr(|| rustix::fs::mkdirat(base, name.as_str(), mode))
        .during("create directory", &name)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    let dir = open_at(base, name.as_str(), flags).during("open directory", &name)?;
    retry_on_intr(|| rustix::fs::fchmod(&dir, mode)).during("set mode of", &name)?;
    let base = base.try_clone_to_owned().during("keep the directory of", &name)?;
    Ok((base, dir))
}

/// Locks an open lock file, unless another process was faster.
///
/// Between opening and locking, a file looks like that of a dead owner, whether it
/// was just created or is about to be recovered: another process may hold its
/// lock by now, or have removed it already. A lock on a file without a name
/// protects nothing.
fn lock_if_named(base: BorrowedFd<'_>, file: OwnedFd, name: &str) -> Result<Option<Lock>, FsError> {
    let Some(lock) = Lock::try_lock(file, name)? else { return Ok(None) };
    let held = rustix::fs::fstat(lock.file()).during("look at lock file", name)?;
    match rustix::fs::statat(base, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(named) if (named.st_dev, named.st_ino) == (held.st_dev, held.st_ino) => Ok(Some(lock)),
        Ok(_) | Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno).during("look at lock file", name),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    fn base() -> (tempfile::TempDir, File) {
        let base = tempfile::tempdir().unwrap();
        let handle = File::open(base.path()).unwrap();
        (base, handle)
    }

    fn names(path: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(path).unwrap();
        let mut names: Vec<_> =
            entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_moved_in_is_removed_with_it() {
        let (base, handle) = base();
        let from = tempfile::tempdir_in(base.path().parent().unwrap()).unwrap();
        std::fs::create_dir_all(from.path().join("tree/a/b")).unwrap();
        std::fs::write(from.path().join("file"), "x").unwrap();
        let from_handle = File::open(from.path()).unwrap();

        let mut temp = TempDir::create(&handle).unwrap();
        assert_eq!(temp.move_in(&from_handle, "tree").unwrap(), "0-tree");
        assert_eq!(temp.move_in(&from_handle, "file").unwrap(), "1-file");
        assert_eq!(
            temp.move_in(&from_handle, "none").unwrap_err().kind(),
            std::io::ErrorKind::NotFound
        );
        assert!(names(from.path()).is_empty());
        let number = temp.number.clone();
        assert_eq!(names(base.path()), [format!("lock-{number}"), format!("temp-dir-{number}")]);
        let inside = base.path().join(format!("temp-dir-{number}"));
        assert_eq!(names(&inside), ["0-tree", "1-file"]);
        temp.delete().unwrap();
        assert!(names(base.path()).is_empty());

        drop(TempDir::create(&handle).unwrap());
        assert!(names(base.path()).is_empty());
    }

    #[test]
    fn recovery_takes_the_dead_and_leaves_the_living() {
        let (base, handle) = base();
        let alive = TempDir::create(&handle).unwrap();
        // Killed with a tree, before the directory was made, after the lock was lost.
        std::fs::write(base.path().join("lock-1"), "").unwrap();
        std::fs::create_dir_all(base.path().join("temp-dir-1/0-x/y")).unwrap();
        std::fs::write(base.path().join("lock-2"), "").unwrap();
        std::fs::create_dir_all(base.path().join("temp-dir-3/0-x")).unwrap();
        std::fs::create_dir(base.path().join("unrelated")).unwrap();

        assert_eq!(recover_temp_dirs(&handle).unwrap(), 3);
        let left = names(base.path());
        assert_eq!(left.len(), 3, "{left:?}");
        assert!(left.contains(&"unrelated".to_owned()));
        alive.delete().unwrap();
        assert_eq!(names(base.path()), ["unrelated"]);
        assert_eq!(recover_temp_dirs(&handle).unwrap(), 0);
    }

    #[test]
    fn one_that_cannot_be_removed_does_not_stop_the_others() {
        let (base, handle) = base();
        // A directory under the lock's name cannot be opened for writing.
        std::fs::create_dir(base.path().join("lock-1")).unwrap();
        std::fs::create_dir(base.path().join("temp-dir-2")).unwrap();
        assert!(recover_temp_dirs(&handle).is_err());
        assert_eq!(names(base.path()), ["lock-1"]);
    }

    #[test]
    fn a_lock_file_that_was_removed_or_taken_meanwhile_is_no_lock() {
        let (base, handle) = base();
        let base = base.path();
        let locked = |file| lock_if_named(handle.as_fd(), file, "lock-1").unwrap();

        let removed = create_new(&handle, "lock-1").unwrap();
        std::fs::remove_file(base.join("lock-1")).unwrap();
        let taken = create_new(&handle, "lock-1").unwrap();
        assert!(locked(removed).is_none());
        let holder = Lock::try_exclusive(&handle, "lock-1").unwrap().unwrap();
        assert!(locked(taken.try_clone().unwrap()).is_none());
        drop(holder);
        assert!(locked(taken).is_some());
    }

    #[test]
    fn recovery_never_takes_one_that_is_being_made() {
        let (base, handle) = base();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        recover_temp_dirs(&handle).unwrap();
                    }
                });
            }
            let makers: Vec<_> = (0..2)
                .map(|_| {
                    scope.spawn(|| {
                        for _ in 0..100 {
                            let temp = TempDir::create(&handle).unwrap();
                            let inside = format!("temp-dir-{}", temp.number);
                            let flags = OFlags::RDONLY;
                            let file = crate::dir::create_at(temp.fd(), "x", Mode::RUSR).unwrap();
                            drop(file);
                            std::thread::yield_now();
                            let path = Path::new(&inside).join("x");
                            open_at(&handle, path.as_path(), flags).unwrap();
                            temp.delete().unwrap();
                        }
                    })
                })
                .collect();
            let results: Vec<_> =
                makers.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
            done.store(true, Ordering::Relaxed);
            assert!(results.iter().all(Result::is_ok));
        });
        recover_temp_dirs(&handle).unwrap();
        assert!(names(base.path()).is_empty());
    }
}
