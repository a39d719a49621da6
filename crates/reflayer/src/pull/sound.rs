//! Layers that were looked into and found sound, so that the next pulls need not look again.
//!
//! That counts for a day, and until the machine starts anew: what a power cut has taken is
//! seen by the first pull after it. Nothing else depends on it, and a note that is lost or
//! wrong is none.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::fs::{Mode, OFlags, fstat, mkdirat, openat};
use rustix::io::Errno;
use storage_core::{FsError, FsResultExt as _, LayerId};

/// Where in the run root the notes are, a file for each layer.
const DIRECTORY: &str = "reflayer-sound";

/// For how long a note counts.
const VALID: Duration = Duration::from_hours(24);

/// The kernel draws it anew at each start.
const BOOT: &str = "/proc/sys/kernel/random/boot_id";

/// The notes of a store.
#[derive(Debug)]
pub(super) struct Sound {
    directory: OwnedFd,
    /// Empty where it can't be told; then nothing is noted.
    boot: String,
}

impl Sound {
    /// Opens the notes in a run root.
    pub(super) fn open(run_root: impl AsFd) -> Result<Self, FsError> {
        match mkdirat(&run_root, DIRECTORY, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(FsError::new("make directory", DIRECTORY, errno)),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = openat(&run_root, DIRECTORY, flags, Mode::empty());
        let directory = directory.during("open directory", DIRECTORY)?;
        Ok(Self { directory, boot: fs::read_to_string(BOOT).unwrap_or_default() })
    }

    /// Whether the layer that has this tree was found sound not long ago.
    pub(super) fn has(&self, layer: &LayerId, tree: impl AsFd) -> bool {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let Ok(file) = openat(&self.directory, layer.as_str(), flags, Mode::empty()) else {
            return false;
        };
        let (mut file, mut noted) = (File::from(file), String::new());
        let age = file.metadata().and_then(|metadata| metadata.modified()).map(|at| at.elapsed());
        // A time to come is not one at which somebody looked.
        let is_recent = matches!(age, Ok(Ok(age)) if age < VALID);
        is_recent
            && file.read_to_string(&mut noted).is_ok()
            && self.note_of(tree).is_some_and(|note| note == noted)
    }

    /// Notes that it was found sound now.
    pub(super) fn note(&self, layer: &LayerId, tree: impl AsFd) {
        let Some(note) = self.note_of(tree) else { return };
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC;
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&self.directory, layer.as_str(), flags, Mode::RUSR | Mode::WUSR);
        let written =
            file.map_err(Into::into).and_then(|file| File::from(file).write_all(note.as_bytes()));
        if let Err(error) = written {
            tracing::debug!(%layer, %error, "that it is sound can't be noted");
        }
    }

    /// What is noted: of this start of the machine, and of this tree and no later one.
    fn note_of(&self, tree: impl AsFd) -> Option<String> {
        let found = fstat(tree).ok().filter(|_| !self.boot.is_empty())?;
        Some(format!("{} {} {}\n", self.boot.trim_end(), found.st_dev, found.st_ino))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_of_one_tree_one_start_and_one_day() {
        let place = tempfile::tempdir().unwrap();
        let open = |name: &str| {
            let path = place.path().join(name);
            fs::create_dir_all(&path).unwrap();
            File::open(path).unwrap()
        };
        let (run_root, tree, other) = (open("run"), open("tree"), open("other"));
        let layer: LayerId = "a".repeat(64).parse().unwrap();
        let mut sound = Sound::open(&run_root).unwrap();
        assert!(!sound.has(&layer, &tree));
        sound.note(&layer, &tree);
        assert!(sound.has(&layer, &tree) && !sound.has(&layer, &other));
        let noted = File::options()
            .write(true)
            .open(place.path().join("run").join(DIRECTORY).join(layer.as_str()));
        let noted = noted.unwrap();
        let now = std::time::SystemTime::now();
        for (at, counts) in [(now - VALID, false), (now + VALID, false), (now, true)] {
            noted.set_modified(at).unwrap();
            assert_eq!(sound.has(&layer, &tree), counts);
        }
        sound.boot = "another".into();
        assert!(!sound.has(&layer, &tree));
        sound.boot = String::new();
        sound.note(&layer, &tree);
        assert!(!sound.has(&layer, &tree));
    }
}
