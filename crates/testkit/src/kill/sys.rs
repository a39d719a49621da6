//! Starting a child that its parent follows from the first instruction on.
#![expect(unsafe_code, reason = "code between fork and exec can't be had otherwise")]

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command};

use nix::sys::ptrace;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

/// The filter that stops at each of these calls, and lets the others pass.
pub(super) fn filter(
    calls: impl IntoIterator<Item = i64>,
) -> Result<BpfProgram, seccompiler::Error> {
    let rules: BTreeMap<i64, Vec<_>> = calls.into_iter().map(|call| (call, Vec::new())).collect();
    let arch = std::env::consts::ARCH.try_into()?;
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Trace(0), arch)?;
    Ok(BpfProgram::try_from(filter)?)
}

/// Starts a command under `filter`, traced by the calling thread, in a process group of its own.
///
/// The child stands still at its `exec` until it is told to go on.
pub(super) fn spawn(command: &mut Command, filter: BpfProgram) -> io::Result<Child> {
    expect_program(command)?;
    command.process_group(0);
    let prepare = move || {
        ptrace::traceme()?;
        seccompiler::apply_filter(&filter).map_err(|_| io::Error::last_os_error())
    };
    // SAFETY: between fork and exec the closure makes three system calls (ptrace, prctl, seccomp)
    // on memory that exists since before the fork; it neither allocates nor locks.
    unsafe { command.pre_exec(prepare) };
    command.spawn()
}

/// A failing exec would want to report itself by a write, at which the filter would stop the
/// child for ever: so the usual reason for one is looked for beforehand.
fn expect_program(command: &Command) -> io::Result<()> {
    let program = Path::new(command.get_program());
    let found = if program.components().count() > 1 {
        executable(program)
    } else {
        let search = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&search).any(|directory| executable(&directory.join(program)))
    };
    if found { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
}

fn executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}
