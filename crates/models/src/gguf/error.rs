use std::fmt;
use std::path::PathBuf;

/// Where in a GGUF file the reader stands. Every error says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Magic, version and the two counts.
    Header,
    /// The name of the `n`th metadata entry (counted from 0).
    KeyName(u64),
    /// The value of a metadata key.
    Key(String),
    /// The name of the `n`th tensor (counted from 0).
    TensorName(u64),
    /// The shape, type, offset or data of a tensor.
    Tensor(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header => write!(f, "header"),
            Self::KeyName(index) => write!(f, "name of metadata entry {index}"),
            Self::Key(key) => write!(f, "key {key:?}"),
            Self::TensorName(index) => write!(f, "name of tensor {index}"),
            Self::Tensor(name) => write!(f, "tensor {name:?}"),
        }
    }
}

/// Why a file was refused. Each variant says what was allowed and what the file gave.
#[derive(Debug, thiserror::Error)]
pub enum GgufError {
    /// The file could not be opened or mapped.
    #[error("cannot read {}: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The operating system's word.
        source: std::io::Error,
    },
    /// The file does not begin with `GGUF`.
    #[error("not a GGUF file: it begins with {given:02x?}, a GGUF file with {:02x?} (\"GGUF\")", b"GGUF")]
    Magic {
        /// The first bytes, at most four.
        given: Vec<u8>,
    },
    /// A version this reader does not know.
    #[error("GGUF version {given} is not supported (allowed: 2 and 3, little-endian){}", if *big_endian { "; the file is big-endian" } else { "" })]
    Version {
        /// The version field.
        given: u32,
        /// Whether the field would be a known version in the other byte order.
        big_endian: bool,
    },
    /// The file ends before what it announces.
    #[error(
        "{place}: {wanted} bytes wanted, but only {available} are left (of the file, and of 256 MiB for its index)"
    )]
    Truncated {
        /// Where.
        place: Place,
        /// Bytes that the field needs.
        wanted: u64,
        /// Bytes that are left.
        available: u64,
    },
    /// A count, length or number outside what is allowed.
    #[error("{place}: {what} is {given}, allowed: {allowed}")]
    Bounds {
        /// Where.
        place: Place,
        /// Which field.
        what: &'static str,
        /// What the file has.
        given: String,
        /// What it may have.
        allowed: String,
    },
    /// A name or text that is not UTF-8.
    #[error("{place}: not UTF-8 (allowed: UTF-8), first bad byte at {at} of {length}")]
    NotUtf8 {
        /// Where.
        place: Place,
        /// Offset of the first bad byte in the string.
        at: usize,
        /// Length of the string.
        length: usize,
    },
    /// The same key twice.
    #[error("key {key:?} appears twice, allowed: once")]
    DuplicateKey {
        /// The key.
        key: String,
    },
    /// The same tensor name twice.
    #[error("tensor {name:?} appears twice, allowed: once")]
    DuplicateTensor {
        /// The tensor's name.
        name: String,
    },
    /// Two tensors share bytes.
    #[error(
        "tensor {name:?} starts at byte {offset} of the data, inside {other:?} which ends at {other_end}"
    )]
    Overlap {
        /// The later tensor.
        name: String,
        /// Its offset in the data section.
        offset: u64,
        /// The tensor it runs into.
        other: String,
        /// One past that tensor's last byte.
        other_end: u64,
    },
    /// A key that the reader of the metadata needs and the file lacks.
    #[error("key {key:?} is missing (wanted: {wanted})")]
    MissingKey {
        /// The key.
        key: String,
        /// The type it should have.
        wanted: &'static str,
    },
    /// A key whose value has another type, or does not fit.
    #[error("key {key:?}: {given} given, allowed: {wanted}")]
    KeyType {
        /// The key.
        key: String,
        /// The type it should have.
        wanted: &'static str,
        /// The type (and number) it has.
        given: String,
    },
}
