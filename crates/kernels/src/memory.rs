//! Zeroed memory aligned to cache lines, disjoint writes from several threads, and scratch rows.

mod image;
mod mapping;

use std::cell::RefCell;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::panic::RefUnwindSafe;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};

pub(crate) use image::Frozen;
pub use image::Image;
use mapping::Mapping;

/// Types for which any bytes are a value and which need no drop.
#[expect(unsafe_code, reason = "zeroed memory and bytes of files are given out as values of the type")]
/// # Safety
/// Any bytes are a valid value, the type has no padding and no drop, and its alignment is at most 64.
pub(crate) unsafe trait Plain: Copy + Send + Sync + RefUnwindSafe + 'static {}

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
    // SAFETY: floats.
    unsafe impl Plain for [f32; 16] {}
}

/// From this size on, memory is mapped by itself, lazily zeroed, in huge pages where the system grants them.
const MAPPED_BYTES_MIN: usize = 4 << 20;
fn layout(bytes: usize) -> std::alloc::Layout {
    std::alloc::Layout::from_size_align(bytes, LINE_BYTES).expect("the size of an array overflows isize")
}

const LINE_BYTES: usize = 64;

/// Room for many arrays one after another in few mappings, so that also those of some 100 KiB, of which a model has
/// hundreds, lie in huge pages: with small ones half the time of a pass over the weights goes into finding pages.
///
/// An array keeps its mapping alive; an arena may go before what was made in it.
#[derive(Debug, Default)]
pub struct Arena {
    /// The mapping that is being filled, and how much of it is taken.
    current: Mutex<Option<(Arc<Mapping>, usize)>>,
}

impl Arena {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// `bytes` of zeros, and the mapping that they lie in; none where there are no mappings.
    fn take(&self, bytes: usize) -> Option<(Arc<Mapping>, NonNull<u8>)> {
        /// Address space of a mapping; memory is taken as it is touched.
        const BYTES: usize = 64 << 20;
        let wanted =
            bytes.checked_next_multiple_of(LINE_BYTES).expect("the size of an array overflows usize");
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.as_ref().is_none_or(|(_, taken)| wanted > BYTES - taken) {
            if wanted > BYTES / 4 {
                let own = Arc::new(Mapping::new(bytes)?);
                let start = own.start;
                return Some((own, start));
            }
            *current = Some((Arc::new(Mapping::new(BYTES)?), 0));
        }
        let (mapping, taken) = current.as_mut()?;
        #[expect(unsafe_code, reason = "hands out parts of a mapping")]
        // SAFETY: `taken + wanted` is at most the mapping's size.
        let start = unsafe { mapping.start.add(*taken) };
        *taken += wanted;
        Some((Arc::clone(mapping), start))
    }
}

/// A fixed-size array in zeroed, 64-byte-aligned memory.
pub(crate) struct Aligned<T: Plain> {
    start: NonNull<T>,
    len: usize,
    /// What the array lies in; `None` for the allocator's memory.
    mapping: Option<Arc<Mapping>>,
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
        if bytes >= MAPPED_BYTES_MIN
            && let Some(mapping) = Mapping::new(bytes)
        {
            return Self { start: mapping.start.cast(), len, mapping: Some(Arc::new(mapping)) };
        }
        let layout = layout(bytes);
        #[expect(unsafe_code, reason = "the allocator's interface")]
        // SAFETY: the layout's size is not 0.
        let start = unsafe { std::alloc::alloc_zeroed(layout) };
        let Some(start) = NonNull::new(start) else { std::alloc::handle_alloc_error(layout) };
        Self { start: start.cast(), len, mapping: None }
    }

    /// `len` zeros beside the arena's other arrays.
    pub(crate) fn zeroed_in(arena: &Arena, len: usize) -> Self {
        let bytes = len.checked_mul(size_of::<T>()).expect("the size of an array overflows usize");
        if bytes > 0
            && let Some((mapping, start)) = arena.take(bytes)
        {
            return Self { start: start.cast(), len, mapping: Some(mapping) };
        }
        Self::zeroed(len)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.len * size_of::<T>()
    }
}

impl<T: Plain> Drop for Aligned<T> {
    fn drop(&mut self) {
        if self.mapping.is_none() && self.bytes() > 0 {
            #[expect(unsafe_code, reason = "the allocator's interface")]
            // SAFETY: allocated by `zeroed` with this layout.
            unsafe {
                std::alloc::dealloc(self.start.as_ptr().cast(), layout(self.bytes()));
            }
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
    static WORDS: RefCell<Vec<Vec<[i32; 8]>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer of `len` floats of any value, from those that this thread has used before.
pub(crate) fn take_scratch(len: usize) -> Vec<f32> {
    let mut buffer = SCRATCH.with_borrow_mut(Vec::pop).unwrap_or_default();
    buffer.resize(len, 0.0);
    buffer
}

/// Keeps a buffer for the next [`take_scratch`].
pub(crate) fn give_scratch(buffer: Vec<f32>) {
    SCRATCH.with_borrow_mut(|kept| keep(kept, buffer));
}

/// A buffer of `len` words of any value, as [`take_scratch`] gives floats.
pub(crate) fn take_words(len: usize) -> Vec<[i32; 8]> {
    let mut buffer = WORDS.with_borrow_mut(Vec::pop).unwrap_or_default();
    buffer.resize(len, [0; 8]);
    buffer
}

/// Keeps a buffer for the next [`take_words`].
pub(crate) fn give_words(buffer: Vec<[i32; 8]>) {
    WORDS.with_borrow_mut(|kept| keep(kept, buffer));
}

fn keep<T>(kept: &mut Vec<Vec<T>>, buffer: Vec<T>) {
    const KEPT_MAX: usize = 8;
    if kept.len() < KEPT_MAX {
        kept.push(buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::{Aligned, Arena};

    #[test]
    fn arrays_of_an_arena_are_zeroed_aligned_apart_and_outlive_it() {
        let arena = Arena::new();
        // The last ones don't fit what is left, or any shared mapping.
        let large = if cfg!(miri) { 100 } else { 20 << 20 };
        let lens = [0, 1, 77, 4096, large, 3, large, large];
        let mut arrays: Vec<_> = lens.iter().map(|&len| Aligned::<u16>::zeroed_in(&arena, len)).collect();
        drop(arena);
        for (index, array) in arrays.iter_mut().enumerate() {
            assert!(array.iter().all(|&x| x == 0));
            assert!(array.is_empty() || array.as_ptr().addr().is_multiple_of(64));
            array.fill(index as u16 + 1);
        }
        for ((index, array), len) in arrays.iter().enumerate().zip(lens) {
            assert_eq!(array.len(), len);
            assert!(array.iter().all(|&x| usize::from(x) == index + 1));
        }
    }

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
