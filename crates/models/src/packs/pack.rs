//! The file of packed matrices.
//!
//! ```text
//! "CACHPACK"   u32 version   u32 bytes of the header   header, JSON   zeros to a multiple of 4,096   matrices
//! ```
//!
//! Numbers are little-endian, as the weights are on every machine that this program is built for. Matrices stand on
//! multiples of 64 bytes, as [`kernels::PackedMatrix::write_to`] writes them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;

use kernels::{Image, PackedMatrix, SourceLayout};
use serde::{Deserialize, Serialize};

use super::VERSION;

const MAGIC: &[u8; 8] = b"CACHPACK";
/// Magic, version and length.
const PREFIX_BYTES: usize = 16;
const DATA_ALIGNMENT: u64 = 4096;
/// What is written at a time: whole huge pages, so that the system keeps the file in huge pages.
const PIECE_BYTES: usize = 8 << 20;

/// What a pack says of itself.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Header {
    /// Of the model file.
    sha256: String,
    /// From the first matrix on.
    data_bytes: u64,
    /// By the tensor's name.
    matrices: BTreeMap<String, Place>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    /// Byte after the header and its zeros, a multiple of 64.
    offset: u64,
    bytes: u64,
}

impl Header {
    pub(super) fn of(sha256: &str, matrices: &[(String, PackedMatrix)]) -> Self {
        let mut data_bytes = 0;
        let mut place = |matrix: &PackedMatrix| {
            let place = Place { offset: data_bytes, bytes: matrix.image_bytes() as u64 };
            data_bytes += place.bytes;
            place
        };
        let matrices = matrices.iter().map(|(name, matrix)| (name.clone(), place(matrix))).collect();
        Self { sha256: sha256.to_owned(), data_bytes, matrices }
    }

    fn text(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("names and numbers are JSON")
    }

    /// The size of the whole file.
    pub(super) fn file_bytes(&self) -> u64 {
        data_start(self.text().len()) + self.data_bytes
    }

    /// Writes the file, to the disk.
    pub(super) fn write(&self, matrices: &[(String, PackedMatrix)], path: &Path) -> std::io::Result<()> {
        let text = self.text();
        let length = u32::try_from(text.len()).map_err(std::io::Error::other)?;
        let file = File::create(path)?;
        let mut out = Pieces { file: &file, piece: Vec::with_capacity(PIECE_BYTES) };
        out.write_all(MAGIC)?;
        out.write_all(&VERSION.to_le_bytes())?;
        out.write_all(&length.to_le_bytes())?;
        out.write_all(&text)?;
        let zeros = data_start(text.len()) as usize - PREFIX_BYTES - text.len();
        out.write_all(&vec![0; zeros])?;
        for (_, matrix) in matrices {
            matrix.write_to(&mut out)?;
        }
        out.flush()?;
        file.sync_all()
    }
}

/// Where the first matrix stands after a header of so many bytes.
fn data_start(header_bytes: usize) -> u64 {
    ((PREFIX_BYTES + header_bytes) as u64).next_multiple_of(DATA_ALIGNMENT)
}

/// Writes whole pieces only. A `BufWriter` passes large slices on as they are, and the system would keep the file in
/// small pages.
struct Pieces<'a> {
    file: &'a File,
    piece: Vec<u8>,
}

impl Write for Pieces<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let taken = bytes.len().min(PIECE_BYTES - self.piece.len());
        self.piece.extend_from_slice(&bytes[..taken]);
        if self.piece.len() == PIECE_BYTES {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.write_all(&self.piece)?;
        self.piece.clear();
        Ok(())
    }
}

/// An open pack.
#[derive(Debug)]
pub(crate) struct Pack {
    image: Image,
    data_start: u64,
    matrices: BTreeMap<String, Place>,
}

impl Pack {
    /// Opens the pack of the model file with this checksum, and notes its use; none if it isn't there or isn't whole.
    pub(super) fn open(path: &Path, sha256: &str) -> Option<Self> {
        let file = File::open(path).ok()?;
        let image = Image::open(&file).ok()?;
        let pack = Self::of_image(image, sha256)?;
        // Which pack was used last is known by its time of change. A pack that can't be noted can be used.
        let now = rustix::fs::Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW };
        let times = rustix::fs::Timestamps { last_access: now, last_modification: now };
        let _ = rustix::fs::futimens(&file, &times);
        Some(pack)
    }

    fn of_image(image: Image, sha256: &str) -> Option<Self> {
        let bytes = image.bytes();
        let prefix = bytes.get(..PREFIX_BYTES)?;
        let number = |at: usize| Some(u32::from_le_bytes(prefix[at..at + 4].try_into().ok()?));
        if &prefix[..8] != MAGIC || number(8)? != VERSION {
            return None;
        }
        let length = number(12)? as usize;
        let text = bytes.get(PREFIX_BYTES..PREFIX_BYTES.checked_add(length)?)?;
        let header: Header = serde_json::from_slice(text).ok()?;
        let data_start = data_start(length);
        let whole = data_start.checked_add(header.data_bytes)? == bytes.len() as u64;
        (header.sha256 == sha256 && whole).then_some(Self { image, data_start, matrices: header.matrices })
    }

    /// The matrix of a tensor, if the pack has it in this shape.
    pub(crate) fn matrix(
        &self,
        name: &str,
        layout: SourceLayout,
        rows: usize,
        cols: usize,
    ) -> Option<PackedMatrix> {
        let place = self.matrices.get(name)?;
        let offset = usize::try_from(place.offset.checked_add(self.data_start)?).ok()?;
        let matrix = PackedMatrix::of_image(&self.image, offset, layout, rows, cols)?;
        (matrix.image_bytes() as u64 == place.bytes).then_some(matrix)
    }
}
