//! Exit codes; they are part of the command's promise.

/// Everything that was asked for is done.
pub(crate) const SUCCESS: u8 = 0;
/// Something failed; the store is as it was.
pub(crate) const FAILURE: u8 = 1;
/// The command line was not understood (the number is the argument parser's).
pub(crate) const USAGE: u8 = 2;
/// `check` found something that does not add up.
pub(crate) const FINDINGS: u8 = 3;
/// The image, layer or reference named does not exist.
pub(crate) const NOT_FOUND: u8 = 4;
/// What is to be removed is in use, by a container or a mount.
pub(crate) const IN_USE: u8 = 5;

/// The code for an error.
pub(crate) fn of(error: &anyhow::Error) -> u8 {
    use reflayer::{LookupError, RemoveError};
    use transport::{ReferenceError, TransportError};
    let in_use =
        |e: &RemoveError| matches!(e, RemoveError::InUse { .. } | RemoveError::Mounted { .. });
    if crate::report::has::<RemoveError>(error, in_use) {
        IN_USE
    } else if crate::report::has::<LookupError>(error, LookupError::is_not_found)
        || crate::report::has::<TransportError>(error, TransportError::is_not_found)
    {
        NOT_FOUND
    } else if crate::report::has::<ReferenceError>(error, |_| true) {
        USAGE
    } else {
        FAILURE
    }
}
