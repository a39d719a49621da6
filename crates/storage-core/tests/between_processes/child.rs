//! This test program, started again to do one thing in a directory.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};

const ROLE: &str = "STORAGE_CORE_TEST_ROLE";
const DIRECTORY: &str = "STORAGE_CORE_TEST_DIRECTORY";

/// Starts another process in a role that `main` knows.
pub(crate) fn start(role: &str, directory: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .env(ROLE, role)
        .env(DIRECTORY, directory)
        .spawn()
        .unwrap()
}

/// The role of this process and its directory, if it was started by [`start`].
pub(crate) fn role() -> Option<(String, PathBuf)> {
    Some((std::env::var(ROLE).ok()?, std::env::var_os(DIRECTORY)?.into()))
}

/// Waits for all, and fails if one failed.
pub(crate) fn join(children: impl IntoIterator<Item = Child>) {
    let mut good = true;
    for mut child in children {
        good &= child.wait().unwrap().success();
    }
    assert!(good, "another process failed");
}
