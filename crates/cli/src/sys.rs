//! What the C library is told by unsafe calls.

#![expect(unsafe_code, reason = "the allocator is set up by a call of the C library")]

/// Keeps freed memory in one place rather than in one for each thread: pieces that one
/// thread receives and another frees would stay with the first for good, and double what
/// a pull takes.
///
/// To be called before any thread is started.
pub(crate) fn share_freed_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes two numbers, and changes nothing but how the allocator goes about
    // later calls. Where it is refused all stays as it was.
    unsafe {
        nix::libc::mallopt(nix::libc::M_ARENA_MAX, ARENAS);
    }
}

/// One for those who make files, one for the network.
#[cfg(target_env = "gnu")]
const ARENAS: nix::libc::c_int = 2;
