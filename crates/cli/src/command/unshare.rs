//! `unshare`

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::Context as _;

/// Becomes the program; comes back only if that cannot be.
pub(crate) fn run(program: &[OsString]) -> anyhow::Result<u8> {
    let shell = std::env::var_os("SHELL").unwrap_or_else(|| "/bin/sh".into());
    let (program, arguments) = match program {
        [program, arguments @ ..] => (program, arguments),
        [] => (&shell, &[][..]),
    };
    let error = Command::new(program).args(arguments).exec();
    Err(error).with_context(|| format!("start {}", program.display()))
}
