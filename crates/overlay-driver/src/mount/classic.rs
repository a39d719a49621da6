//! Mounting with one page of text, for kernels that know nothing else.

use std::ffi::CString;
use std::os::fd::AsRawFd;

use nix::sched::{CloneFlags, unshare};
use rustix::io::Errno;
use rustix::mount::MountFlags;
use storage_core::FsError;

use super::MountError;
use super::options::{Request, escaped};
use crate::mounts::path_of_fd;

/// The kernel copies one page of options; the last byte of it ends the text.
const PAGE: usize = 4096;

/// Mounts with absolute paths if they fit, else with short ones.
pub(super) fn mount(request: &Request<'_>) -> Result<(), MountError> {
    let long = absolute(request)?;
    if fits(&long) {
        return mount_with(request, long);
    }
    let short = relative(request)?;
    if !fits(&short) {
        return Err(MountError::TooManyLayers { layers: request.stack.parts.len() });
    }
    // A working directory of the layers' own is what makes the short paths right. A thread
    // can have one without the others noticing.
    std::thread::scope(|scope| {
        let in_home = scope.spawn(|| {
            enter(request).map_err(|e| MountError::refused(request.target, String::new(), e))?;
            mount_with(request, short)
        });
        in_home.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn enter(request: &Request<'_>) -> Result<(), std::io::Error> {
    unshare(CloneFlags::CLONE_FS)?;
    Ok(rustix::process::fchdir(&request.home.dir)?)
}

fn fits(options: &[u8]) -> bool {
    options.len() < PAGE
}

/// The options with whole paths, as other tools write them.
fn absolute(request: &Request<'_>) -> Result<Vec<u8>, FsError> {
    let home = path_of_fd(&request.home.dir)?;
    let parts = request.stack.parts.iter();
    let lowers = parts.map(|part| Ok(escaped(&part.path(&home)?, b"\\:,")));
    options(request, lowers)
}

/// The options with the layers' short links, relative to the driver's directory.
fn relative(request: &Request<'_>) -> Result<Vec<u8>, FsError> {
    let parts = request.stack.parts.iter();
    let lowers = parts.map(|part| Ok(escaped(&part.shortest(request.home)?, b"\\:,")));
    options(request, lowers)
}

fn options(
    request: &Request<'_>,
    lowers: impl Iterator<Item = Result<Vec<u8>, FsError>>,
) -> Result<Vec<u8>, FsError> {
    let lowers = lowers.collect::<Result<Vec<_>, _>>()?;
    let mut options = b"lowerdir=".to_vec();
    options.extend(lowers.join(&b':'));
    if let Some(upper) = &request.upper {
        for (key, path) in [(",upperdir=", &upper.upper.path), (",workdir=", &upper.work.path)] {
            options.extend_from_slice(key.as_bytes());
            options.extend(escaped(path, b"\\,"));
        }
    }
    if request.user_xattr {
        options.extend_from_slice(b",userxattr");
    }
    Ok(options)
}

fn mount_with(request: &Request<'_>, options: Vec<u8>) -> Result<(), MountError> {
    let refused = |e: Errno| MountError::refused(request.target, String::new(), e);
    // Paths have no NUL byte in them, so this cannot fail; if it did, it would be their fault.
    let options = CString::new(options).map_err(|_| refused(Errno::INVAL))?;
    let flags = match request.upper {
        Some(_) => MountFlags::empty(),
        None => MountFlags::RDONLY,
    };
    // The mount point that was opened, wherever its path leads by now.
    let at = format!("/proc/self/fd/{}", request.at.as_raw_fd());
    rustix::mount::mount("overlay", at, "overlay", flags, options.as_c_str()).map_err(refused)
}
