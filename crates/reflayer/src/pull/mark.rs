//! The mark by which a pull's own layers are known until an image refers to them.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, Mode, OFlags, mkdirat, openat, statat, unlinkat};
use rustix::io::Errno;
use storage_core::{FsError, FsResultExt as _, Lock};

use super::pulse::Pulse;

/// Where in the run root the locks of pulls live.
const DIRECTORY: &str = "reflayer-pulls";

/// Held while a mark is made, and while dead ones are looked for: one that has no lock yet
/// looks dead. No pull can have this name.
const MUTEX: &str = ".lock";

/// What a layer's `metadata` begins with while its pull's name follows.
const PREFIX: &str = "reflayer-pull:";

/// A pull that lives: its lock is held until this is dropped.
#[derive(Debug)]
pub(crate) struct PullMark {
    directory: OwnedFd,
    name: String,
    lock: Option<Lock>,
}

impl PullMark {
    /// Takes the lock of a new pull.
    pub(crate) fn create(run_root: impl AsFd) -> Result<Self, FsError> {
        let directory = directory(run_root)?;
        let _mutex = Lock::exclusive(&directory, MUTEX)?;
        loop {
            let name = random_name()?;
            if let Some(lock) = Lock::try_exclusive(&directory, &name)? {
                return Ok(Self { directory, name, lock: Some(lock) });
            }
        }
    }

    /// What others know this pull by.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// What shows others that this pull moves; see [`last_beat`].
    pub(super) fn pulse(&self) -> Result<Pulse, FsError> {
        let directory = self.directory.try_clone().during("open directory", DIRECTORY)?;
        Ok(Pulse::new(directory, self.name.clone()))
    }

    /// The `metadata` of this pull's layers.
    pub(crate) fn metadata(&self) -> String {
        format!("{PREFIX}{}", self.name)
    }
}

impl Drop for PullMark {
    fn drop(&mut self) {
        // Best effort: a name without a lock is removed by whoever asks after it.
        let _gone = unlinkat(&self.directory, &self.name, AtFlags::empty());
        drop(self.lock.take());
    }
}

/// The pull that a layer's `metadata` names, if one of ours made it.
pub(crate) fn pull_of(metadata: &str) -> Option<&str> {
    metadata.strip_prefix(PREFIX).filter(|name| is_name(name))
}

/// Whether this may be the name of a pull; such a name is safe in paths.
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// A time that changes as long as the pull of that name moves; `None` if it has ended.
pub(super) fn last_beat(run_root: impl AsFd, name: &str) -> Result<Option<(i64, u64)>, FsError> {
    match statat(directory(run_root)?, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => Ok(None),
        stat => {
            let stat = stat.during("look at the lock of pull", name)?;
            Ok(Some((stat.st_mtime, stat.st_mtime_nsec)))
        }
    }
}

/// Whether the pull of that name still runs.
pub(crate) fn pull_is_alive(run_root: impl AsFd, name: &str) -> Result<bool, FsError> {
    let directory = directory(run_root)?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    match openat(&directory, name, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(false),
        other => drop(other.during("open the lock of pull", name)?),
    }
    let dead = Lock::try_exclusive(&directory, name)?;
    if dead.is_some() {
        let _gone = unlinkat(&directory, name, AtFlags::empty());
    }
    Ok(dead.is_none())
}

/// Removes the marks of pulls that were killed; tells how many.
pub(crate) fn remove_dead_marks(run_root: impl AsFd) -> Result<usize, FsError> {
    let run_root = run_root.as_fd();
    let directory = directory(run_root)?;
    let _mutex = Lock::exclusive(&directory, MUTEX)?;
    let mut dead = 0;
    for entry in Dir::read_from(&directory).during("read directory", DIRECTORY)? {
        let entry = entry.during("read directory", DIRECTORY)?;
        let name = entry.file_name().to_str().ok().filter(|name| is_name(name));
        if let Some(name) = name
            && !pull_is_alive(run_root, name)?
        {
            dead += 1;
        }
    }
    Ok(dead)
}

fn directory(run_root: impl AsFd) -> Result<OwnedFd, FsError> {
    own_directory(run_root, DIRECTORY)
}

/// A directory of ours in the run root, made if it is missing.
pub(super) fn own_directory(run_root: impl AsFd, name: &str) -> Result<OwnedFd, FsError> {
    match mkdirat(&run_root, name, Mode::RWXU) {
        Err(error) if error != Errno::EXIST => {
            return Err(FsError::new("create directory", name, error));
        }
        _ => {}
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    openat(&run_root, name, flags, Mode::empty()).during("open directory", name)
}

fn random_name() -> Result<String, FsError> {
    let id =
        std::fs::read_to_string("/proc/sys/kernel/random/uuid").during("read", "a random id")?;
    Ok(id.chars().filter(char::is_ascii_alphanumeric).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pull_lives_as_long_as_its_mark() {
        let dir = tempfile::tempdir().unwrap();
        let run = std::fs::File::open(dir.path()).unwrap();
        let mark = PullMark::create(&run).unwrap();
        let metadata = mark.metadata();
        let name = pull_of(&metadata).unwrap();
        assert!(pull_is_alive(&run, name).unwrap());
        drop(mark);
        assert!(!pull_is_alive(&run, name).unwrap());
        assert_eq!(marks(dir.path()), [""; 0]);
    }

    #[test]
    fn marks_of_the_dead_are_removed_and_no_others() {
        let dir = tempfile::tempdir().unwrap();
        let run = std::fs::File::open(dir.path()).unwrap();
        let mark = PullMark::create(&run).unwrap();
        // As a pull that was killed leaves it.
        std::fs::write(dir.path().join(DIRECTORY).join("0killed"), "").unwrap();
        assert_eq!(remove_dead_marks(&run).unwrap(), 1);
        assert_eq!(marks(dir.path()), [mark.name()]);
        assert!(pull_is_alive(&run, mark.name()).unwrap());
    }

    fn marks(run_root: &std::path::Path) -> Vec<String> {
        let names = std::fs::read_dir(run_root.join(DIRECTORY)).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| is_name(name)).collect()
    }

    #[test]
    fn only_our_own_metadata_names_a_pull() {
        for metadata in ["", "{}", "reflayer-pull:", "reflayer-pull:../x", "reflayer-pull:a/b"] {
            assert_eq!(pull_of(metadata), None, "{metadata}");
        }
    }
}
