//! GGUF files, version 2 and 3, as hostile input.
//!
//! A file is mapped, not read; its index (metadata and tensor descriptions) is checked in full when it is opened.
//! Every count, length, offset, type, alignment and shape is checked before it is used; nothing is allocated beyond
//! a small multiple of the bytes that the file has, nor for more than 256 MiB of them; no input makes the reader panic. After [`Gguf::open`] every
//! tensor is known to lie inside the file, aligned, with whole blocks per row, and apart from every other tensor.

mod cursor;
mod error;
mod metadata;
mod parse;
pub mod testing;
#[cfg(test)]
mod tests;
mod value;

use std::fs::File;
use std::ops::Range;
use std::path::Path;

pub use error::{GgufError, Place};
pub use metadata::Metadata;
pub use value::{Array, Strings, Value};

use crate::formats::Format;

/// An open GGUF file: its bytes, mapped, and its checked index.
#[derive(Debug)]
pub struct Gguf {
    bytes: Bytes,
    index: parse::Index,
}

#[derive(Debug)]
enum Bytes {
    Mapped(memmap2::Mmap),
    Owned(Vec<u8>),
}

impl Bytes {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Owned(bytes) => bytes,
        }
    }
}

/// Where a tensor lies and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Name, such as `blk.0.attn_q.weight`.
    pub name: String,
    /// Extents in ggml's order: `shape[0]` is the contiguous one (a row's length).
    pub shape: Vec<u64>,
    /// How the elements are stored.
    pub format: Format,
    /// First byte, counted from the start of the data section.
    pub offset: u64,
    /// Size in bytes.
    pub bytes: u64,
}

impl TensorInfo {
    /// Number of elements: the product of the shape, which was checked when the file was opened.
    pub fn elements(&self) -> u64 {
        self.shape.iter().product()
    }
}

/// A tensor and its bytes in the file.
#[derive(Debug, Clone, Copy)]
pub struct Tensor<'a> {
    /// Name, shape and format.
    pub info: &'a TensorInfo,
    /// `info.bytes` bytes, rows one after another.
    pub data: &'a [u8],
}

impl Gguf {
    /// Maps a file and checks its index.
    ///
    /// # Errors
    /// When the file cannot be mapped or is not a well-formed GGUF file.
    pub fn open(path: &Path) -> Result<Self, GgufError> {
        let failed = |source| GgufError::Open { path: path.to_owned(), source };
        Self::of_file(&File::open(path).map_err(failed)?, path)
    }

    /// As [`Self::open`], with a file that is open already; `path` is for messages.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub(crate) fn of_file(file: &File, path: &Path) -> Result<Self, GgufError> {
        let failed = |source| GgufError::Open { path: path.to_owned(), source };
        let facts = file.metadata().map_err(failed)?;
        if facts.is_dir() {
            return Err(failed(std::io::Error::from(std::io::ErrorKind::IsADirectory)));
        }
        if facts.len() == 0 {
            return Self::from_bytes(Vec::new());
        }
        let map = map_file(file).map_err(failed)?;
        let index = parse::parse(&map)?;
        Ok(Self { bytes: Bytes::Mapped(map), index })
    }

    /// Checks the index of a file that is already in memory.
    ///
    /// # Errors
    /// When it is not a well-formed GGUF file.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, GgufError> {
        let index = parse::parse(&bytes)?;
        Ok(Self { bytes: Bytes::Owned(bytes), index })
    }

    /// Version of the file format: 2 or 3.
    pub fn version(&self) -> u32 {
        self.index.version
    }

    /// What tensors' offsets are multiples of, in bytes.
    pub fn alignment(&self) -> u64 {
        self.index.alignment
    }

    /// The key-value part.
    pub fn metadata(&self) -> &Metadata {
        &self.index.metadata
    }

    /// The tensors' descriptions in the file's order.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = &TensorInfo> {
        self.index.tensors.iter()
    }

    /// A tensor by name.
    pub fn tensor(&self, name: &str) -> Option<Tensor<'_>> {
        let Index { tensors, by_name, data_start, .. } = &self.index;
        let found = by_name.binary_search_by(|index| tensors[*index].name.as_str().cmp(name)).ok()?;
        let info = &tensors[by_name[found]];
        // `parse` checked that the range lies in the file, so these fit.
        let start = data_start + info.offset as usize;
        Some(Tensor { info, data: &self.bytes.as_slice()[start..start + info.bytes as usize] })
    }

    /// Lets go of the pages of some bytes of a tensor: pages count as this process's memory once they are read, and come
    /// back when they are read again.
    pub(crate) fn release(&self, tensor: &Tensor<'_>, bytes: Range<usize>) {
        if let Bytes::Mapped(map) = &self.bytes {
            let start = self.index.data_start + tensor.info.offset as usize;
            release(map, start + bytes.start, bytes.len());
        }
    }

    /// Size of the whole file.
    pub fn file_bytes(&self) -> u64 {
        self.bytes.as_slice().len() as u64
    }
}

use parse::Index;

#[expect(unsafe_code, reason = "advice that takes pages away")]
fn release(map: &memmap2::Mmap, start: usize, len: usize) {
    // SAFETY: the map is of a file and read-only: a page that was taken away comes back as it was.
    let advised = unsafe { map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, start, len) };
    // It is advice: where it is refused, the pages stay.
    drop(advised);
}

#[expect(unsafe_code, reason = "mapping a file is unsafe because others may change it")]
fn map_file(file: &File) -> std::io::Result<memmap2::Mmap> {
    // SAFETY: the map is read-only and private to this process. What the type system cannot rule out is another
    // process that writes to or truncates the file meanwhile. Files of the library are never changed in place: they
    // are written under another name, verified, and renamed. Any bytes are valid for the `[u8]` we read; the index is
    // parsed once into owned values, so bytes that change later alter weights but no checked range. A file that is
    // truncated while mapped ends the process by signal, like it does for every program that maps it.
    unsafe { memmap2::Mmap::map(file) }
}
