//! glibc's heap, told to give large buffers back.
//!
//! Buffers wander from thread to thread here. glibc starts with giving allocations of 128 KiB and more back to the system when
//! they are freed, but raises that limit with every such allocation; then each thread's heap keeps what others freed in it. Converting
//! eight layers at once from one registry to another took 110 MiB beyond the zTOCs that way, and 77 with a fixed limit. mimalloc took
//! twice as much as glibc (`tests/suite/memory.rs`).

#![allow(
    unsafe_code,
    reason = "mallopt has no safe wrapper; this module is nothing else"
)]

/// What glibc starts with.
#[cfg(target_env = "gnu")]
const THRESHOLD: libc::c_int = 128 << 10;

/// Fixes the limit. That it cannot be is no reason to fail.
pub(crate) fn settle() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt may be called at any time from one thread; it is called first thing in main, before there are others,
    // with a parameter and a value that mallopt(3) allows.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, THRESHOLD);
    }
}
