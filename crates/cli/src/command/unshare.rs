//! `unshare`

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::Context as _;
use config::Environment;

/// Becomes the program; comes back only if that cannot be.
pub(crate) fn run(program: &[OsString]) -> anyhow::Result<u8> {
    let shell = Environment::of_process().shell().into_os_string();
    let (program, arguments) = match program {
        [program, arguments @ ..] => (program, arguments),
        [] => (&shell, &[][..]),
    };
    let error = Command::new(program).args(arguments).exec();
    Err(error).with_context(|| format!("start {}", program.display()))
}
