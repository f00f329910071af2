//! Arrays that no longer change, made here or lying in a file.

use std::fs::File;
use std::ops::Deref;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::ptr::NonNull;
use std::sync::Arc;

use super::mapping::Mapping;
use super::{Aligned, LINE_BYTES, Plain};

/// An array that nobody changes any more; clones share it.
pub(crate) struct Frozen<T: Plain> {
    start: NonNull<T>,
    len: usize,
    /// What it lies in.
    memory: Arc<dyn Send + Sync + UnwindSafe + RefUnwindSafe>,
}

#[expect(unsafe_code, reason = "shares memory as an Arc would")]
// SAFETY: the memory is kept alive, is only read, and T is Send and Sync (`Plain`).
unsafe impl<T: Plain> Send for Frozen<T> {}
#[expect(unsafe_code, reason = "shares memory as an Arc would")]
// SAFETY: as for `Send`.
unsafe impl<T: Plain> Sync for Frozen<T> {}

impl<T: Plain> Frozen<T> {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        #[expect(unsafe_code, reason = "values without padding are bytes")]
        // SAFETY: `len` values without padding (`Plain`), kept alive by self.
        unsafe {
            std::slice::from_raw_parts(self.start.as_ptr().cast(), self.len * size_of::<T>())
        }
    }
}

impl<T: Plain> From<Aligned<T>> for Frozen<T> {
    fn from(array: Aligned<T>) -> Self {
        Self { start: array.start, len: array.len, memory: Arc::new(array) }
    }
}

impl<T: Plain> Clone for Frozen<T> {
    fn clone(&self) -> Self {
        Self { start: self.start, len: self.len, memory: Arc::clone(&self.memory) }
    }
}

impl<T: Plain> Deref for Frozen<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        #[expect(unsafe_code, reason = "shares memory as an Arc would")]
        // SAFETY: `len` values, of any bytes (`Plain`), kept alive by self and never changed.
        unsafe {
            std::slice::from_raw_parts(self.start.as_ptr(), self.len)
        }
    }
}

impl<T: Plain> std::fmt::Debug for Frozen<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Frozen([_; {}])", self.len)
    }
}

/// A whole file in memory, on huge pages where the system has them, from which packed matrices are taken.
///
/// It is mapped if the system then grants huge pages, so that a start costs nothing and processes share the memory.
/// Otherwise it is read: on small pages a pass over the weights takes twice as long.
#[derive(Debug, Clone)]
pub struct Image {
    memory: Arc<Mapping>,
    len: usize,
    mapped: bool,
}

impl Image {
    /// Maps or reads a file, which must not be changed or made shorter while the image lives: its bytes would be
    /// others, or the process be ended by a signal, as for whoever maps a file.
    ///
    /// # Errors
    /// What the system says, and where it has no mappings.
    pub fn open(file: &File) -> std::io::Result<Self> {
        let len = usize::try_from(file.metadata()?.len()).map_err(std::io::Error::other)?;
        if len == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        #[cfg(unix)]
        {
            let mapping = Mapping::of_file(file, len)?;
            if huge(&mapping) {
                return Ok(Self { memory: Arc::new(mapping), len, mapped: true });
            }
        }
        Self::read(file, len)
    }

    /// The first `len` bytes of a file in memory of its own.
    fn read(file: &File, len: usize) -> std::io::Result<Self> {
        use std::io::{Read as _, Seek as _};
        let memory = Mapping::new(len).ok_or(std::io::ErrorKind::Unsupported)?;
        #[expect(unsafe_code, reason = "the only user of memory that was mapped a moment ago")]
        // SAFETY: `len` zeros, which nothing else knows of.
        let bytes = unsafe { std::slice::from_raw_parts_mut(memory.start.as_ptr(), len) };
        let mut file = file;
        file.rewind()?;
        file.read_exact(bytes)?;
        Ok(Self { memory: Arc::new(memory), len, mapped: false })
    }

    /// The file's bytes.
    pub fn bytes(&self) -> &[u8] {
        #[expect(unsafe_code, reason = "a mapping that lives as long as self")]
        // SAFETY: `len` bytes that are readable as long as the mapping lives.
        unsafe {
            std::slice::from_raw_parts(self.memory.start.as_ptr(), self.len)
        }
    }

    /// Whether it is mapped, and shared with others who map it.
    pub fn is_mapped(&self) -> bool {
        self.mapped
    }

    /// The arrays that lie in the file from byte `offset` on.
    pub(crate) fn arrays(&self, offset: usize) -> Arrays<'_> {
        Arrays { image: self, offset }
    }
}

/// Arrays that lie one after another in an image, each on a cache line.
pub(crate) struct Arrays<'a> {
    image: &'a Image,
    offset: usize,
}

impl Arrays<'_> {
    /// The next `len` values; none where they don't lie in the file, or not on a cache line.
    pub(crate) fn next<T: Plain>(&mut self, len: usize) -> Option<Frozen<T>> {
        let Self { image, offset } = *self;
        let end = len.checked_mul(size_of::<T>())?.checked_add(offset)?;
        if end > image.len || !offset.is_multiple_of(LINE_BYTES) {
            return None;
        }
        #[expect(unsafe_code, reason = "hands out parts of a mapping")]
        // SAFETY: within the mapping (above), whose start is aligned to a page.
        let start = unsafe { image.memory.start.add(offset) };
        self.offset = end.checked_next_multiple_of(LINE_BYTES)?;
        Some(Frozen { start: start.cast(), len, memory: Arc::<Mapping>::clone(&image.memory) })
    }
}

/// Whether a mapped file's first page is a huge one, as the system accounts for it.
#[cfg(target_os = "linux")]
fn huge(mapping: &Mapping) -> bool {
    #[expect(unsafe_code, reason = "asks for a page of a file that was mapped a moment ago")]
    // SAFETY: the file has at least one byte.
    unsafe {
        mapping.start.read_volatile();
    }
    let Ok(maps) = std::fs::read_to_string("/proc/self/smaps") else { return false };
    let mine = format!("{:x}-", mapping.start.addr());
    let mut entry = maps.lines().skip_while(|line| !line.starts_with(&mine));
    let kib =
        |line: &str| line.strip_prefix("FilePmdMapped:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok();
    entry.find_map(kib).is_some_and(|kib| kib > 0)
}

/// Elsewhere nobody says what pages a mapping has.
#[cfg(all(unix, not(target_os = "linux")))]
fn huge(_: &Mapping) -> bool {
    true
}
