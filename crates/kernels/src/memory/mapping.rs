//! Pages from the system, of zeros or of a file, in huge pages where the system grants them.

#[cfg(unix)]
use std::fs::File;
use std::ptr::NonNull;

#[cfg(unix)]
const HUGE_PAGE: usize = 2 << 20;

/// Pages of its own from the system, lazily zeroed.
#[derive(Debug)]
pub(super) struct Mapping {
    /// What the system gave, and its bytes.
    base: NonNull<u8>,
    total: usize,
    /// The first huge page in it.
    pub(super) start: NonNull<u8>,
}

#[expect(unsafe_code, reason = "owns its memory as a Box would")]
// SAFETY: the memory belongs to the mapping, which hands out nothing by itself.
unsafe impl Send for Mapping {}
#[expect(unsafe_code, reason = "owns its memory as a Box would")]
// SAFETY: as for `Send`.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// At least `bytes`, beginning with a huge page; none where there are no mappings.
    #[cfg(unix)]
    #[expect(unsafe_code, reason = "maps memory")]
    #[expect(clippy::unnecessary_wraps, reason = "elsewhere there is none")]
    pub(super) fn new(bytes: usize) -> Option<Self> {
        let total = bytes.checked_add(HUGE_PAGE).expect("the size of an array overflows usize");
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: an anonymous mapping at an address of the system's choice touches nothing that exists.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), total, protection, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            std::alloc::handle_alloc_error(super::layout(bytes));
        }
        let base = NonNull::new(base.cast::<u8>()).expect("a mapping is never at 0");
        // SAFETY: `total` has room for moving the start to the next huge page.
        let start = unsafe { base.add(base.align_offset(HUGE_PAGE)) };
        #[cfg(target_os = "linux")]
        // SAFETY: advice on memory that this function has just mapped; a refusal does no harm.
        unsafe {
            libc::madvise(start.as_ptr().cast(), bytes, libc::MADV_HUGEPAGE);
        }
        Some(Self { base, total, start })
    }

    #[cfg(not(unix))]
    pub(super) fn new(_: usize) -> Option<Self> {
        None
    }

    /// The first `bytes` of a file, to be read only, where a huge page begins.
    #[cfg(unix)]
    #[expect(unsafe_code, reason = "maps memory")]
    pub(super) fn of_file(file: &File, bytes: usize) -> std::io::Result<Self> {
        use std::os::fd::AsRawFd as _;
        // Its place; what is mapped there goes with it when it is unmapped.
        let place = Self::new(bytes).expect("there are mappings on Unix");
        let (protection, flags) = (libc::PROT_READ, libc::MAP_SHARED | libc::MAP_FIXED);
        let start = place.start.as_ptr().cast::<libc::c_void>();
        // SAFETY: replaces part of `place`, which nobody uses.
        let mapped = unsafe { libc::mmap(start, bytes, protection, flags, file.as_raw_fd(), 0) };
        if mapped == libc::MAP_FAILED {
            return Err(std::io::Error::last_os_error());
        }
        #[cfg(target_os = "linux")]
        // SAFETY: advice on memory that this function has just mapped; a refusal does no harm.
        unsafe {
            libc::madvise(start, bytes, libc::MADV_HUGEPAGE);
        }
        Ok(place)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        #[cfg(unix)]
        #[expect(unsafe_code, reason = "unmaps what `new` mapped")]
        // SAFETY: exactly the mapping that `new` made; every array in it keeps it alive.
        unsafe {
            libc::munmap(self.base.as_ptr().cast(), self.total);
        }
    }
}
