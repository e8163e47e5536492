//! How the system's allocator keeps memory that was freed.

/// Lets threads share arenas, two for each core.
///
/// glibc makes up to eight, and what is freed in one is of no use to the others: a stream of ten
/// million rows kept half as much memory again, and more the longer it ran. With one for each core
/// threads wait for each other. Whoever sets `MALLOC_ARENA_MAX` has the last word. Call it before
/// there are threads.
pub(crate) fn share_arenas() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    if std::env::var_os("MALLOC_ARENA_MAX").is_none() {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let arenas = i32::try_from(cores.saturating_mul(2)).unwrap_or(i32::MAX);
        // SAFETY: the setting is a number; one that the allocator won't have changes nothing.
        unsafe { libc::mallopt(libc::M_ARENA_MAX, arenas) };
    }
}
