//! Parts of tests that need a process of their own.
//!
//! The process is this test program again: it is started with the name of
//! [`entry`] and, in its environment, with what that is to do.

use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

const ROLE: &str = "OVERLAY_DRIVER_TEST_ROLE";
const ROOT: &str = "OVERLAY_DRIVER_TEST_ROOT";
const NUMBER: &str = "OVERLAY_DRIVER_TEST_NUMBER";

/// Not a test but the way into another process.
#[test]
fn entry() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let root = std::env::var(ROOT).expect("set with the role");
    let number = std::env::var(NUMBER).expect("set with the role").parse().expect("a number");
    let root = Path::new(&root);
    match role.as_str() {
        "commit" => super::fault::commit(root, number),
        "remove" => super::fault::remove(root, number),
        "recover" => super::fault::recover(root, number),
        "hold" => super::recover::hold(root),
        "modes" => super::modes::make(root),
        "mount" => super::mount::all(root, number == 1),
        _ => panic!("no role {role}"),
    }
}

/// A command that plays `role` on the store at `root`; `before` are words to put in front.
pub(super) fn command(before: &[&str], role: &str, root: &Path, number: u64) -> Command {
    let program = std::env::current_exe().unwrap();
    let mut words = before.iter().map(std::ffi::OsStr::new).chain([program.as_os_str()]);
    let mut command = Command::new(words.next().expect("the program at least"));
    command.args(words).args(["--exact", "tests::process::entry", "--nocapture"]);
    command.env(ROLE, role).env(ROOT, root).env(NUMBER, number.to_string());
    command.stdout(Stdio::null());
    command
}

/// Plays `role` to its end.
pub(super) fn run(before: &[&str], role: &str, root: &Path, number: u64) -> ExitStatus {
    command(before, role, root, number).status().unwrap()
}
