//! Files that are replaced wholly or not at all.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::Mode;
use rustix::io::Errno;

use crate::dir::{create_at, random_number, rename_at, sync, text_names, unlink_at};
use crate::{FsError, FsResultExt};

/// Whether a change must survive a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// On the disk before the call returns.
    Durable,
    /// Left to the kernel; after a power cut the file may be empty or the old one.
    Volatile,
}

/// Gives the file `name` in `dir` a new content: readers see the old one or the new one.
///
/// The new file has exactly `mode`, whatever the umask. It is written under the
/// name `.tmp-<name><random>` and then renamed; a process that is killed in
/// between leaves that name behind (see [`remove_stale_temporaries`]).
///
/// # Errors
///
/// If any step fails. The old content is still there then, with one exception:
/// when only the last flush of the directory fails, the new content is visible
/// and may not survive a power cut.
pub fn replace_file(
    dir: impl AsFd,
    name: &str,
    content: &[u8],
    mode: u32,
    durability: Durability,
) -> Result<(), FsError> {
    let dir = dir.as_fd();
    Replacement::prepare(dir, name, content, mode, durability)?.place()?;
    match durability {
        Durability::Durable => sync(dir).during("flush the directory of", name),
        Durability::Volatile => Ok(()),
    }
}

/// Removes what killed writers of the file `name` in `dir` left; tells how many.
///
/// The caller must hold the lock under which `name` is replaced, else it removes
/// the temporary file of a living writer, whose replacement then fails.
///
/// # Errors
///
/// If the directory cannot be read or a file in it not be removed.
pub fn remove_stale_temporaries(dir: impl AsFd, name: &str) -> Result<usize, FsError> {
    let prefix = format!("{PREFIX}{name}");
    remove_temporaries(dir.as_fd(), |found| found.strip_prefix(&prefix))
}

/// Removes what killed writers of any file in `dir` left; tells how many.
///
/// As for [`remove_stale_temporaries`].
pub(crate) fn remove_all_temporaries(dir: impl AsFd) -> Result<usize, FsError> {
    remove_temporaries(dir.as_fd(), |found| found.strip_prefix(PREFIX))
}

/// Removes the names that `random` finds to end in a random number.
fn remove_temporaries(
    dir: BorrowedFd<'_>,
    random: impl Fn(&str) -> Option<&str>,
) -> Result<usize, FsError> {
    let mut removed = 0;
    for name in text_names(dir).during("read directory to look for", "temporary files")? {
        if random(&name).is_some_and(|rest| rest.ends_with(|c: char| c.is_ascii_digit())) {
            unlink_at(dir, name.as_str()).during("remove", &name)?;
            removed += 1;
        }
    }
    Ok(removed)
}

const PREFIX: &str = ".tmp-";

/// A new content under a temporary name; removed on drop if it was not placed.
#[must_use = "dropping a replacement removes it"]
pub(crate) struct Replacement<'a> {
    dir: BorrowedFd<'a>,
    name: &'a str,
    temporary: String,
    placed: bool,
}

impl<'a> Replacement<'a> {
    /// Writes the new content and, if it is to be durable, flushes it.
    pub(crate) fn prepare(
        dir: BorrowedFd<'a>,
        name: &'a str,
        mut content: impl Read,
        mode: u32,
        durability: Durability,
    ) -> Result<Self, FsError> {
        let (temporary, mut file) = create(dir, name, mode)?;
        let this = Self { dir, name, temporary, placed: false };
        std::io::copy(&mut content, &mut file).during("write", &this.temporary)?;
        if durability == Durability::Durable {
            // The file is new, so that its size and mode are flushed along.
            file.sync_data().during("flush", &this.temporary)?;
        }
        Ok(this)
    }

    /// Renames it to its final name.
    pub(crate) fn place(mut self) -> Result<(), FsError> {
        rename_at(self.dir, self.temporary.as_str(), self.dir, self.name)
            .during("replace", self.name)?;
        self.placed = true;
        Ok(())
    }
}

impl Drop for Replacement<'_> {
    fn drop(&mut self) {
        if !self.placed {
            // Best effort: whoever sweeps finds what is left.
            let _ = unlink_at(self.dir, self.temporary.as_str());
        }
    }
}

fn create(dir: BorrowedFd<'_>, name: &str, mode: u32) -> Result<(String, File), FsError> {
    loop {
        let random = random_number().during("choose a temporary name for", name)?;
        let temporary = format!("{PREFIX}{name}{random}");
        match create_at(dir, temporary.as_str(), Mode::from_raw_mode(mode)) {
            Err(Errno::EXIST) => {}
            created => {
                let file = created.during("create", &temporary)?;
                return Ok((temporary, file.into()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn names(path: &std::path::Path) -> Vec<String> {
        let mut names = text_names(File::open(path).unwrap()).unwrap();
        names.retain(|name| !matches!(name.as_str(), "." | ".."));
        names.sort();
        names
    }

    #[test]
    fn a_file_is_made_and_replaced_with_its_exact_mode() {
        let root = tempfile::tempdir().unwrap();
        let dir = File::open(root.path()).unwrap();
        for (content, mode, durability) in [
            ("one", 0o600, Durability::Durable),
            ("", 0o666, Durability::Volatile),
            ("three", 0o400, Durability::Durable),
        ] {
            replace_file(&dir, "file", content.as_bytes(), mode, durability).unwrap();
            let path = root.path().join("file");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o7777, mode);
            assert_eq!(names(root.path()), ["file"]);
        }
    }

    #[test]
    fn a_link_is_replaced_and_not_followed() {
        let root = tempfile::tempdir().unwrap();
        let dir = File::open(root.path()).unwrap();
        std::fs::write(root.path().join("target"), "old").unwrap();
        std::os::unix::fs::symlink("target", root.path().join("file")).unwrap();
        replace_file(&dir, "file", b"new", 0o600, Durability::Durable).unwrap();
        assert_eq!(std::fs::read_to_string(root.path().join("target")).unwrap(), "old");
        assert!(root.path().join("file").symlink_metadata().unwrap().is_file());
    }

    #[test]
    fn a_failure_leaves_the_old_state_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let dir = File::open(root.path()).unwrap();
        std::fs::create_dir(root.path().join("file")).unwrap();
        let error = replace_file(&dir, "file", b"new", 0o600, Durability::Durable).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::IsADirectory);
        assert_eq!(names(root.path()), ["file"]);
    }

    #[test]
    fn only_what_dead_writers_left_is_swept() {
        let root = tempfile::tempdir().unwrap();
        let dir = File::open(root.path()).unwrap();
        let kept = [".tmp-", ".tmp-a", ".tmp-b5", "a", "a5"];
        for name in kept.iter().chain(&[".tmp-a5", ".tmp-a123"]) {
            std::fs::write(root.path().join(name), "").unwrap();
        }
        assert_eq!(remove_stale_temporaries(&dir, "a").unwrap(), 2);
        assert_eq!(names(root.path()), kept);
        assert_eq!(remove_all_temporaries(&dir).unwrap(), 1);
    }
}
