//! Extended attributes: which ones are stored, and how they are read.

use std::os::fd::BorrowedFd;

use rustix::fs::{fgetxattr, flistxattr, getxattr, listxattr};
use rustix::io::Errno;

use crate::attributes::{Access, magic_path};
use crate::options::Privileges;

/// Keys, or beginnings of keys, of which each would be believed by a program
/// that mounts or unpacks the layer, or belongs to the host.
const PRIVATE: [&[u8]; 6] = [
    b"trusted.overlay.",
    b"user.overlay.",
    b"user.containers.override_",
    b"user.fuseoverlayfs.",
    b"trusted.fuseoverlayfs.",
    b"security.fuseoverlayfs.",
];

const OPAQUE_ROOT: &str = "trusted.overlay.opaque";
const OPAQUE_USER: &str = "user.overlay.opaque";

/// What the names begin with that every filesystem of Linux may have, beside access lists.
/// Others belong to other systems, or to one filesystem alone (`btrfs.compression`).
const NAMESPACES: [&[u8]; 3] = [b"user.", b"trusted.", b"security."];

pub(crate) const DEFAULT_LIST: &[u8] = b"system.posix_acl_default";
/// Access lists: that of a file, and that for what is made in a directory.
pub(crate) const ACCESS_LISTS: [&[u8]; 2] = [b"system.posix_acl_access", DEFAULT_LIST];

/// Whether an extended attribute is never stored from a layer and never read
/// into one.
///
/// These are the attributes that overlay and fuse-overlayfs keep for themselves
/// (an image that could set them would hide, redirect or re-own files), the true
/// owner and mode that containers/storage keeps beside forced ones, and the
/// label that the host's policy gives. And those that not every Linux could keep, of
/// which other systems leave some in layers (`com.apple.provenance`): an image is to be
/// the same tree everywhere.
pub fn is_private_xattr(key: &[u8]) -> bool {
    key == b"security.selinux"
        || PRIVATE.iter().any(|private| key.starts_with(private))
        || !(NAMESPACES.iter().any(|namespace| key.starts_with(namespace))
            || ACCESS_LISTS.contains(&key))
}

/// The key that makes overlay hide what lower layers have in a directory.
pub(crate) fn opaque_key(privileges: Privileges) -> &'static str {
    match privileges {
        Privileges::Root => OPAQUE_ROOT,
        // Such a layer is mounted with the option `userxattr`.
        Privileges::UserNamespace | Privileges::Unprivileged => OPAQUE_USER,
    }
}

/// Whether a program that mounts or unpacks layers keeps this for itself; the marks of opaque
/// directories are none of these.
pub(crate) fn is_private_to_a_tool(key: &[u8]) -> bool {
    let marks = [OPAQUE_ROOT.as_bytes(), OPAQUE_USER.as_bytes()];
    PRIVATE.iter().any(|private| key.starts_with(private)) && !marks.contains(&key)
}

/// Whether a directory with these attributes hides what lower layers have in it,
/// however the overlay is mounted.
pub(crate) fn is_opaque(xattrs: &[(Vec<u8>, Vec<u8>)]) -> bool {
    let keys = [OPAQUE_ROOT.as_bytes(), OPAQUE_USER.as_bytes()];
    xattrs.iter().any(|(key, value)| keys.contains(&key.as_slice()) && value == b"y")
}

/// Whether a refusal is no surprise for a process with these privileges.
pub(crate) fn is_out_of_reach(key: &[u8], errno: Errno, privileges: Privileges) -> bool {
    privileges != Privileges::Root
        && (key.starts_with(b"security.") || key.starts_with(b"trusted."))
        && matches!(errno, Errno::PERM | Errno::OPNOTSUPP)
}

/// Keys and values.
pub(crate) type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// All extended attributes, sorted by key.
pub(crate) fn read(fd: BorrowedFd<'_>, access: Access) -> Result<Xattrs, Errno> {
    let mut keys = match grown(|buffer| match access {
        Access::Open => flistxattr(fd, buffer),
        Access::PathOnly => listxattr(magic_path(fd), buffer),
    }) {
        Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        keys => keys?,
    };
    keys.pop(); // the zero byte after the last key
    let mut xattrs = Vec::new();
    for key in keys.split(|&byte| byte == 0).filter(|key| !key.is_empty()) {
        let value = grown(|buffer| match access {
            Access::Open => fgetxattr(fd, key, buffer),
            Access::PathOnly => getxattr(magic_path(fd), key, buffer),
        });
        match value {
            Ok(value) => xattrs.push((key.to_vec(), value)),
            Err(Errno::NODATA) => {} // removed since it was listed
            Err(errno) => return Err(errno),
        }
    }
    xattrs.sort();
    Ok(xattrs)
}

/// Calls `read` with room for what fits nearly always, then with the most there can be.
fn grown(mut read: impl FnMut(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    /// The kernel's limit for both a value and a list of keys.
    const MAX: usize = 64 * 1024;
    let mut small = [0; 512];
    match read(&mut small) {
        Ok(length) => return Ok(small[..length].to_vec()),
        Err(Errno::RANGE) => {}
        Err(errno) => return Err(errno),
    }
    let mut buffer = vec![0; MAX];
    let length = read(&mut buffer)?;
    buffer.truncate(length);
    Ok(buffer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_of_overlays_and_of_the_host_are_private() {
        for key in [
            "security.selinux",
            "trusted.overlay.opaque",
            "trusted.overlay.redirect",
            "trusted.overlay.overlay.opaque",
            "user.overlay.whiteout",
            "user.containers.override_stat",
            "user.fuseoverlayfs.override_stat",
            "security.fuseoverlayfs.override_stat",
            "com.apple.provenance",
            "btrfs.compression",
            "system.nfs4_acl",
            "system.posix_acl_other",
            "nonsense",
            "",
        ] {
            assert!(is_private_xattr(key.as_bytes()), "{key}");
        }
        for key in [
            "security.capability",
            "security.selinux2",
            "security.ima",
            "trusted.overlay",
            "trusted.overlays",
            "user.overlay",
            "user.containers",
            "user.mime_type",
            "system.posix_acl_access",
        ] {
            assert!(!is_private_xattr(key.as_bytes()), "{key}");
        }
    }

    #[test]
    fn only_who_is_not_root_may_lack_an_attribute() {
        let out = |key: &str, errno, privileges| is_out_of_reach(key.as_bytes(), errno, privileges);
        assert!(out("trusted.x", Errno::PERM, Privileges::UserNamespace));
        assert!(out("security.x", Errno::OPNOTSUPP, Privileges::Unprivileged));
        assert!(!out("user.x", Errno::OPNOTSUPP, Privileges::Unprivileged));
        assert!(!out("trusted.x", Errno::NOSPC, Privileges::UserNamespace));
        assert!(!out("trusted.x", Errno::PERM, Privileges::Root));
    }
}
