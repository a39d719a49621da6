//! Where programs are.

use std::path::PathBuf;

/// The file of a program, if it is installed.
///
/// Root's directories are searched, too: a plain user's `PATH` often lacks them.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let search = std::env::var_os("PATH").unwrap_or_default();
    let more = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&search).chain(more).map(|dir| dir.join(name)).find(|file| file.is_file())
}
