//! Zeroed memory aligned to cache lines, disjoint writes from several threads, and scratch rows.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// Types for which all-zero bytes are a value and which need no drop.
#[expect(unsafe_code, reason = "zeroed memory is given out as values of the type")]
/// # Safety
/// All-zero bytes are a valid value, the type has no padding and no drop, and its alignment is at most 64.
pub(crate) unsafe trait Plain: Copy + Send + Sync + 'static {}

#[expect(unsafe_code, reason = "see the trait")]
mod plain {
    use super::Plain;
    use crate::simd::Line;
    // SAFETY: bytes.
    unsafe impl Plain for Line {}
    // SAFETY: integers.
    unsafe impl Plain for u16 {}
    // SAFETY: integers.
    unsafe impl Plain for [u16; 16] {}
    // SAFETY: floats; zero bytes are 0.0.
    unsafe impl Plain for [f32; 16] {}
}

/// From this size on, memory is mapped by itself, lazily zeroed, in huge pages where the system grants them.
#[cfg(unix)]
const MAPPED_BYTES_MIN: usize = 4 << 20;
#[cfg(unix)]
const HUGE_PAGE: usize = 2 << 20;

/// A fixed-size array in zeroed, 64-byte-aligned memory.
pub(crate) struct Aligned<T: Plain> {
    start: NonNull<T>,
    len: usize,
    /// What to give back: the start and the bytes of the mapping, or `None` for the allocator's memory.
    mapping: Option<(NonNull<u8>, usize)>,
}

#[expect(unsafe_code, reason = "owns its memory as a Box would")]
// SAFETY: the memory is owned and T is Send.
unsafe impl<T: Plain> Send for Aligned<T> {}
#[expect(unsafe_code, reason = "owns its memory as a Box would")]
// SAFETY: shared access only reads, and T is Sync.
unsafe impl<T: Plain> Sync for Aligned<T> {}

impl<T: Plain> Aligned<T> {
    /// `len` zeros. Like `Vec`, ends the program if the system has no memory.
    pub(crate) fn zeroed(len: usize) -> Self {
        let bytes = len.checked_mul(size_of::<T>()).expect("the size of an array overflows usize");
        if bytes == 0 {
            return Self { start: NonNull::dangling(), len, mapping: None };
        }
        #[cfg(unix)]
        if bytes >= MAPPED_BYTES_MIN {
            return Self::mapped(len, bytes);
        }
        let layout = Self::layout(bytes);
        #[expect(unsafe_code, reason = "the allocator's interface")]
        // SAFETY: the layout's size is not 0.
        let start = unsafe { std::alloc::alloc_zeroed(layout) };
        let Some(start) = NonNull::new(start) else { std::alloc::handle_alloc_error(layout) };
        Self { start: start.cast(), len, mapping: None }
    }

    fn layout(bytes: usize) -> std::alloc::Layout {
        std::alloc::Layout::from_size_align(bytes, 64).expect("the size of an array overflows isize")
    }

    #[cfg(unix)]
    #[expect(unsafe_code, reason = "maps memory")]
    fn mapped(len: usize, bytes: usize) -> Self {
        let total = bytes.checked_add(HUGE_PAGE).expect("the size of an array overflows usize");
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: an anonymous mapping at an address of the system's choice touches nothing that exists.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), total, protection, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            std::alloc::handle_alloc_error(Self::layout(bytes));
        }
        let base = NonNull::new(base.cast::<u8>()).expect("a mapping is never at 0");
        // SAFETY: `total` has room for moving the start to the next huge page.
        let start = unsafe { base.add(base.align_offset(HUGE_PAGE)) };
        #[cfg(target_os = "linux")]
        // SAFETY: advice on memory that this function has just mapped; a refusal does no harm.
        unsafe {
            libc::madvise(start.as_ptr().cast(), bytes, libc::MADV_HUGEPAGE);
        }
        Self { start: start.cast(), len, mapping: Some((base, total)) }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.len * size_of::<T>()
    }
}

impl<T: Plain> Drop for Aligned<T> {
    fn drop(&mut self) {
        match self.mapping {
            #[cfg(unix)]
            #[expect(unsafe_code, reason = "unmaps what `mapped` mapped")]
            // SAFETY: exactly the mapping that `mapped` made, which nothing refers to any more.
            Some((base, total)) => unsafe {
                libc::munmap(base.as_ptr().cast(), total);
            },
            _ if self.bytes() > 0 => {
                #[expect(unsafe_code, reason = "the allocator's interface")]
                // SAFETY: allocated by `zeroed` with this layout.
                unsafe {
                    std::alloc::dealloc(self.start.as_ptr().cast(), Self::layout(self.bytes()));
                }
            }
            _ => {}
        }
    }
}

impl<T: Plain> Deref for Aligned<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        #[expect(unsafe_code, reason = "owns its memory as a Box would")]
        // SAFETY: `len` values that were zeroed, hence valid (`Plain`), owned by self.
        unsafe {
            std::slice::from_raw_parts(self.start.as_ptr(), self.len)
        }
    }
}

impl<T: Plain> DerefMut for Aligned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        #[expect(unsafe_code, reason = "owns its memory as a Box would")]
        // SAFETY: as for `deref`, and self is borrowed mutably.
        unsafe {
            std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len)
        }
    }
}

impl<T: Plain> std::fmt::Debug for Aligned<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Aligned([_; {}])", self.len)
    }
}

/// A slice whose parts are written by different tasks of a pool, each part by one.
pub(crate) struct Disjoint<'a, T> {
    start: *mut T,
    len: usize,
    slice: PhantomData<&'a mut [T]>,
}

#[expect(unsafe_code, reason = "hands out parts that the caller keeps disjoint")]
// SAFETY: parts are only handed out by `part`, whose callers promise that no two overlap.
unsafe impl<T: Send> Sync for Disjoint<'_, T> {}
#[expect(unsafe_code, reason = "hands out parts that the caller keeps disjoint")]
// SAFETY: stands for a `&mut [T]`.
unsafe impl<T: Send> Send for Disjoint<'_, T> {}

impl<'a, T> Disjoint<'a, T> {
    pub(crate) fn new(slice: &'a mut [T]) -> Self {
        Self { start: slice.as_mut_ptr(), len: slice.len(), slice: PhantomData }
    }

    /// The `len` values from `start` on; bounds are checked.
    ///
    /// # Safety
    /// While the result lives, nothing else may touch these values, in this or another thread.
    #[expect(unsafe_code, reason = "the caller keeps the parts disjoint")]
    #[expect(clippy::mut_from_ref, reason = "the caller keeps the parts disjoint")]
    #[inline]
    pub(crate) unsafe fn part(&self, start: usize, len: usize) -> &mut [T] {
        assert!(
            start <= self.len && len <= self.len - start,
            "part {start}+{len} of a slice of {}",
            self.len
        );
        // SAFETY: in bounds (above), exclusive (the caller's promise), alive for 'a.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), len) }
    }
}

thread_local! {
    static SCRATCH: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer of `len` floats of any value, from those that this thread has used before.
pub(crate) fn take_scratch(len: usize) -> Vec<f32> {
    let mut buffer = SCRATCH.with_borrow_mut(Vec::pop).unwrap_or_default();
    buffer.resize(len, 0.0);
    buffer
}

/// Keeps a buffer for the next [`take_scratch`].
pub(crate) fn give_scratch(buffer: Vec<f32>) {
    const KEPT_MAX: usize = 8;
    SCRATCH.with_borrow_mut(|kept| {
        if kept.len() < KEPT_MAX {
            kept.push(buffer);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::Aligned;

    #[test]
    fn small_and_mapped_arrays_are_zeroed_and_aligned() {
        for len in [0, 1, 77, if cfg!(miri) { 100 } else { 3 << 20 }] {
            let mut array = Aligned::<u16>::zeroed(len);
            assert_eq!(array.len(), len);
            assert!(array.iter().all(|&x| x == 0));
            assert!(len == 0 || array.as_ptr().addr().is_multiple_of(64));
            array.fill(7);
            assert_eq!(array.iter().map(|&x| usize::from(x)).sum::<usize>(), 7 * len);
        }
    }
}
