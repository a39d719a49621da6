//! Which errors mean "not here".

use rustix::io::Errno;

/// A filesystem's reason for not sharing extents.
///
/// A refusal is an answer, not a failure: the destination is untouched and a
/// plain copy would succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The filesystem, or the kernel, does not do this at all.
    #[error("the filesystem does not share extents")]
    Unsupported,
    /// The files are on two filesystems.
    #[error("the files are on different filesystems")]
    CrossDevice,
    /// It is about this file or this range; the next one may well be shared.
    #[error("these files or ranges can't share extents")]
    ThisFile,
}

impl Refusal {
    /// Whether any other file between the same two filesystems would be refused as well.
    pub fn is_about_the_filesystem(self) -> bool {
        matches!(self, Self::Unsupported | Self::CrossDevice)
    }
}

/// Sorts the errors that mean "not here" from those that mean "broken".
///
/// `EINVAL` speaks of this file or range only: a file without copy-on-write, a
/// range that is not aligned or overlaps. `ETXTBSY` is a swap file.
pub(crate) fn refusal(errno: Errno) -> Option<Refusal> {
    match errno {
        Errno::OPNOTSUPP | Errno::NOTTY | Errno::NOSYS => Some(Refusal::Unsupported),
        Errno::XDEV => Some(Refusal::CrossDevice),
        Errno::INVAL | Errno::TXTBSY => Some(Refusal::ThisFile),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filesystem_without_the_call_does_not_support_it() {
        assert_eq!(refusal(Errno::OPNOTSUPP), Some(Refusal::Unsupported));
    }

    #[test]
    fn a_filesystem_without_such_ioctls_does_not_support_it() {
        assert_eq!(refusal(Errno::NOTTY), Some(Refusal::Unsupported));
    }

    #[test]
    fn a_kernel_without_the_call_does_not_support_it() {
        assert_eq!(refusal(Errno::NOSYS), Some(Refusal::Unsupported));
    }

    #[test]
    fn two_filesystems_share_nothing() {
        assert_eq!(refusal(Errno::XDEV), Some(Refusal::CrossDevice));
    }

    #[test]
    fn an_invalid_range_is_about_this_file() {
        assert_eq!(refusal(Errno::INVAL), Some(Refusal::ThisFile));
    }

    #[test]
    fn a_swap_file_is_about_this_file() {
        assert_eq!(refusal(Errno::TXTBSY), Some(Refusal::ThisFile));
    }

    #[test]
    fn full_broken_and_forbidden_are_no_refusals() {
        for errno in [
            Errno::NOSPC,
            Errno::DQUOT,
            Errno::IO,
            Errno::BADF,
            Errno::PERM,
            Errno::ACCESS,
            Errno::ISDIR,
            Errno::ROFS,
            Errno::NOMEM,
            Errno::INTR,
            Errno::FBIG,
        ] {
            assert_eq!(refusal(errno), None, "{errno}");
        }
    }

    #[test]
    fn refusals_tell_what_to_expect_of_the_next_file() {
        assert!(Refusal::Unsupported.is_about_the_filesystem());
        assert!(Refusal::CrossDevice.is_about_the_filesystem());
        assert!(!Refusal::ThisFile.is_about_the_filesystem());
    }
}
