//! Calls that open, read or clone files below some directories.

use std::ffi::CString;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::libc;
use nix::unistd::Pid;

use super::Call;
use super::answer::registers;
use super::call::{descriptor, word_at};

/// How a call names the file that it reads.
#[derive(Debug, Clone, Copy)]
enum Names {
    /// The argument of this index is a descriptor of it.
    Descriptor(usize),
    /// A directory's descriptor and a path below it.
    Path,
    /// A clone ioctl: the descriptor is the argument, or what it points at begins with it.
    Clone,
}

const CALLS: &[(i64, &str, Names)] = &[
    (libc::SYS_openat, "openat", Names::Path),
    (libc::SYS_openat2, "openat2", Names::Path),
    (libc::SYS_read, "read", Names::Descriptor(0)),
    (libc::SYS_pread64, "pread64", Names::Descriptor(0)),
    (libc::SYS_readv, "readv", Names::Descriptor(0)),
    (libc::SYS_preadv, "preadv", Names::Descriptor(0)),
    (libc::SYS_copy_file_range, "copy_file_range", Names::Descriptor(0)),
    (libc::SYS_sendfile, "sendfile", Names::Descriptor(1)),
    (libc::SYS_ioctl, "ioctl", Names::Clone),
];

const FICLONE: u64 = 0x4004_9409;
const FICLONERANGE: u64 = 0x4020_940d;
/// The kernel's own limit is 4,096; no test has such names.
const LONGEST_PATH: usize = 1024;

/// The numbers of all calls that may count.
pub(super) fn watched() -> impl Iterator<Item = i64> {
    CALLS.iter().map(|row| row.0)
}

/// The call at whose entry a thread stands, if it reads something below `tops`.
pub(super) fn at(thread: Pid, tops: &[PathBuf]) -> Result<Option<Call>> {
    let (number, arguments) = registers(thread)?;
    let Some(&(_, name, names)) = CALLS.iter().find(|row| row.0 == number) else {
        bail!("stopped at an unknown call {number}")
    };
    let file = match names {
        Names::Descriptor(index) => descriptor(thread, arguments[index]),
        Names::Path => opened(thread, arguments[0], arguments[1]),
        Names::Clone => cloned(thread, arguments[1] & 0xffff_ffff, arguments[2])
            .and_then(|number| descriptor(thread, number)),
    };
    let below = file.filter(|file| tops.iter().any(|top| Path::new(file).starts_with(top)));
    Ok(below.map(|file| Call { name, arguments, file: Some(file) }))
}

/// The descriptor of the file that a clone reads; other ioctls read none.
fn cloned(thread: Pid, request: u64, argument: u64) -> Option<u64> {
    match request {
        FICLONE => Some(argument),
        FICLONERANGE => word_at(thread, argument).ok(),
        _ => None,
    }
}

/// The file as the caller names it: links are not followed.
fn opened(thread: Pid, directory: u64, path: u64) -> Option<String> {
    let path = PathBuf::from(text_at(thread, path).ok()?.into_string().ok()?);
    if path.is_absolute() {
        return Some(path.to_string_lossy().into_owned());
    }
    // AT_FDCWD and what else is no descriptor: no scenario reads sources by its own directory.
    let directory = descriptor(thread, directory)?;
    Some(Path::new(&directory).join(path).to_string_lossy().into_owned())
}

fn text_at(thread: Pid, address: u64) -> Result<CString> {
    let memory = File::open(format!("/proc/{thread}/mem")).context("open a thread's memory")?;
    let mut bytes = vec![0; LONGEST_PATH];
    let mut length = 0;
    // The text may end just before memory does.
    while length < bytes.len() && !bytes[..length].contains(&0) {
        let end = bytes.len().min(length + 64);
        let read = memory.read_at(&mut bytes[length..end], address + length as u64);
        match read.context("read a thread's memory")? {
            0 => break,
            count => length += count,
        }
    }
    let end = bytes.iter().position(|byte| *byte == 0).context("a path without an end")?;
    bytes.truncate(end);
    CString::new(bytes).context("a path with a zero in it")
}
