//! What the C library is told by unsafe calls.

#![expect(unsafe_code, reason = "the allocator is set up by a call of the C library")]

/// Keeps freed memory in one place rather than in one for each thread: pieces that one
/// thread receives and another frees would stay with the first for good, and double what
/// a pull takes. What is large goes back to the system when it is freed: else the allocator
/// would learn from the first large table that such ones stay with it, too.
///
/// To be called before any thread is started.
pub(crate) fn share_freed_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes two numbers, and changes nothing but how the allocator goes about
    // later calls. Where it is refused all stays as it was.
    unsafe {
        nix::libc::mallopt(nix::libc::M_ARENA_MAX, ARENAS);
        nix::libc::mallopt(nix::libc::M_MMAP_THRESHOLD, LARGE);
        nix::libc::mallopt(nix::libc::M_TRIM_THRESHOLD, SPARE);
    }
}

/// One for those who make files, one for the network.
#[cfg(target_env = "gnu")]
const ARENAS: nix::libc::c_int = 2;

/// Bytes of what is large: tables of a layer are, pieces of a blob are not.
#[cfg(target_env = "gnu")]
const LARGE: nix::libc::c_int = 1 << 20;

/// Bytes that are kept of all that was small.
#[cfg(target_env = "gnu")]
const SPARE: nix::libc::c_int = 4 << 20;
