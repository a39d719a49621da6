//! Mounting step by step, through a filesystem context.

use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, fsconfig_create, fsconfig_set_fd,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount,
};
use storage_core::FsError;

use super::options::{OpenedPath, Request, escaped};
use super::{Answer, MountError};
use crate::mounts::path_of_fd;

/// The option that adds one lower layer.
const LOWER: &str = "lowerdir+";

/// How layers are told to the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spelling {
    Handle,
    Path,
}

/// Why a step failed.
enum Failure {
    Kernel(Errno),
    Ours(FsError),
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Self::Kernel(errno)
    }
}

impl From<FsError> for Failure {
    fn from(error: FsError) -> Self {
        Self::Ours(error)
    }
}

/// Mounts, unless this kernel does not know how to be told so.
pub(super) fn mount(request: &Request<'_>, spelling: Spelling) -> Result<Answer, MountError> {
    let context = match fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC) {
        Ok(context) => context,
        Err(Errno::NOSYS) => return Ok(Answer::Unsupported),
        Err(errno) => return Err(MountError::refused(request.target, String::new(), errno)),
    };
    let refused = |errno| MountError::refused(request.target, log_of(&context), errno);
    if let Err(failure) = configure(&context, request, spelling) {
        return match failure {
            Failure::Kernel(errno) if is_too_old(errno) => Ok(Answer::Unsupported),
            Failure::Kernel(errno) => Err(refused(errno)),
            Failure::Ours(error) => Err(error.into()),
        };
    }
    match fsconfig_create(&context) {
        // Before 6.5 any option of text is taken, and found to be unknown only now.
        Err(errno) if spelling == Spelling::Path && is_too_old(errno) => {
            return Ok(Answer::Unsupported);
        }
        created => created.map_err(refused)?,
    }
    attach(&context, request).map_err(refused)?;
    Ok(Answer::Mounted)
}

/// The answer of a kernel that does not know an option, or not with such a value.
fn is_too_old(errno: Errno) -> bool {
    errno == Errno::INVAL
}

fn configure(context: &OwnedFd, request: &Request<'_>, spelling: Spelling) -> Result<(), Failure> {
    fsconfig_set_string(context, "source", "overlay")?;
    let home = path_of_fd(&request.home.dir)?;
    // One after the other, so that hundreds of layers need one descriptor.
    for part in &request.stack.parts {
        let fd = part.locate(request.home)?;
        let layer = OpenedPath { fd, path: part.path(&home)? };
        set_directory(context, LOWER, &layer, spelling)?;
    }
    if let Some(upper) = &request.upper {
        set_directory(context, "upperdir", &upper.upper, spelling)?;
        set_directory(context, "workdir", &upper.work, spelling)?;
    }
    if request.user_xattr {
        fsconfig_set_flag(context, "userxattr")?;
    }
    Ok(())
}

fn set_directory(
    context: &OwnedFd,
    key: &str,
    directory: &OpenedPath,
    spelling: Spelling,
) -> Result<(), Errno> {
    match spelling {
        Spelling::Handle => fsconfig_set_fd(context, key, directory.fd.as_fd()),
        Spelling::Path if key == LOWER => fsconfig_set_string(context, key, &directory.path),
        // Unlike `lowerdir+`, these two options are older than the context, and have kept
        // the backslash that protects the next byte.
        Spelling::Path => {
            fsconfig_set_string(context, key, escaped(&directory.path, b"\\").as_slice())
        }
    }
}

fn attach(context: &OwnedFd, request: &Request<'_>) -> Result<(), Errno> {
    let attributes = match request.upper {
        Some(_) => MountAttrFlags::empty(),
        None => MountAttrFlags::MOUNT_ATTR_RDONLY,
    };
    let mount = fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    let by_handles =
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(&mount, "", request.at, "", by_handles)
}

/// What the kernel wrote into the context about what went wrong.
fn log_of(context: &OwnedFd) -> String {
    let mut errors = Vec::new();
    let mut line = [0; 1024];
    // Each read gives one message; at the end there is an error instead.
    while let Ok(length) = rustix::io::read(context, &mut line) {
        let text = String::from_utf8_lossy(&line[..length]);
        errors.extend(text.strip_prefix("e ").map(|error| error.trim().to_owned()));
        if length == 0 {
            break;
        }
    }
    errors.join("; ")
}
