//! Files that nobody may touch, above all stores of these tests.
//!
//! All ways out that the cases try lead here and no further, so that a failing test
//! harms nobody.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use rustix::fs::XattrFlags;

static PLACE: LazyLock<String> = LazyLock::new(|| {
    let mut builder = tempfile::Builder::new();
    builder.prefix("reflayer-canary-");
    // In memory, where that takes extended attributes: hundreds of stores are flushed.
    let in_memory = builder.tempdir_in("/dev/shm").ok();
    let in_memory = in_memory.filter(|place| takes_xattrs(place.path()));
    let place = in_memory.map_or_else(|| builder.tempdir(), Ok).expect("a directory");
    let path = place.keep();
    fs::create_dir_all(path.join("directory/inner")).expect("it is new");
    fs::create_dir(path.join("stores")).expect("it is new");
    fs::write(path.join("file"), "untouched").expect("it is new");
    fs::write(path.join("directory/file"), "untouched").expect("it is new");
    std::os::unix::fs::symlink("file", path.join("link")).expect("it is new");
    path.to_str().expect("plain text").to_owned()
});

fn takes_xattrs(path: &Path) -> bool {
    ["user.test", "trusted.test"]
        .iter()
        .all(|key| rustix::fs::setxattr(path, *key, b"1", XattrFlags::empty()).is_ok())
}

static BEFORE: LazyLock<String> = LazyLock::new(state);

/// The directory, whose files `file`, `link` and `directory` are the canaries.
pub(crate) fn out() -> &'static str {
    LazyLock::force(&BEFORE);
    &PLACE
}

/// A new place for stores, three directories below [`out`].
pub(crate) fn place() -> tempfile::TempDir {
    let stores = PathBuf::from(out()).join("stores");
    tempfile::tempdir_in(stores).expect("a directory")
}

/// That all is as it was, the times of the last change included, which nobody can set.
pub(crate) fn untouched() -> Result<(), String> {
    let now = state();
    if now == *BEFORE { Ok(()) } else { Err(format!("files outside were touched:\n{now}")) }
}

fn state() -> String {
    let mut lines = Vec::new();
    for name in ["file", "link", "directory", "directory/file", "directory/inner"] {
        let path = PathBuf::from(&*PLACE).join(name);
        let Ok(stat) = fs::symlink_metadata(&path) else {
            lines.push(format!("{name} is gone"));
            continue;
        };
        let children = fs::read_dir(&path).map_or(0, Iterator::count);
        lines.push(format!(
            "{name} {:o} {}:{} {} {} {}.{} {children}",
            stat.mode(),
            stat.uid(),
            stat.gid(),
            stat.nlink(),
            stat.size(),
            stat.ctime(),
            stat.ctime_nsec(),
        ));
    }
    // What stands beside them.
    let mut beside: Vec<_> = fs::read_dir(&*PLACE)
        .map(|list| list.flatten().map(|entry| entry.file_name()).collect())
        .unwrap_or_default();
    beside.sort();
    lines.push(format!("{beside:?}"));
    lines.join("\n")
}

/// Removes everything, at the end of all tests.
pub(crate) fn remove() {
    // Best effort: the directory may not have been made.
    drop(fs::remove_dir_all(&*PLACE));
}
