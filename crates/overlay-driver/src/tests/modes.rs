//! Modes are those of the layout, whatever the umask.

use std::path::Path;

use super::process::run;
use super::store::{Store, file_of, id, modes};
use tempfile::TempDir;

/// Makes two layers, and leaves a third in its slot and a removed one in its temp dir.
pub(super) fn make(root: &Path) {
    let store = Store::at(root);
    store.chain(3);
    std::mem::forget(store.staged(&file_of(&id(9))));
    std::mem::forget(store.driver.remove(&id(2)).unwrap());
}

#[test]
fn modes_do_not_depend_on_the_umask() {
    for umask in ["000", "022", "077", "177"] {
        let dir = TempDir::new().unwrap();
        let shell = ["sh", "-c", &format!("umask {umask}; exec \"$0\" \"$@\"")];
        assert!(run(&shell, "modes", dir.path(), 0).success(), "umask {umask}");
        let found = modes(&dir.path().join("overlay"));
        assert!(found.keys().any(|path| path.ends_with("/scratch")));
        for (path, mode) in found.into_iter().filter(|(path, _)| !is_by_the_test(path)) {
            assert_eq!(mode, expected(&path), "{path} with umask {umask}");
        }
    }
}

fn expected(path: &str) -> u32 {
    let parts: Vec<_> = path.split('/').collect();
    match parts.as_slice() {
        ["l"] => 0o755,
        ["l", _] | ["tempdirs", _, _] if !path.ends_with(id(2).as_str()) => 0o777,
        [.., "link" | "lower" | "lower-layers" | "staging.lock"] => 0o644,
        ["tempdirs", lock] if lock.starts_with("lock-") => 0o644,
        [first, ..] if !["staging", "tempdirs"].contains(first) && parts[1..] == ["diff"] => 0o555,
        ["tempdirs", _, _, "diff"] => 0o555,
        _ => 0o700,
    }
}

/// Files in the layer are not the driver's.
fn is_by_the_test(path: &str) -> bool {
    let name = path.rsplit('/').next().expect("there is a first");
    ["toc", "clone"].contains(&name) || name.starts_with("file-")
}
