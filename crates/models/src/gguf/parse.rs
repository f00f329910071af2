//! From hostile bytes to a checked index. Layout (all little-endian): magic, version, counts, metadata entries,
//! tensor descriptions, padding, data. <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>

use super::cursor::{Cursor, Limits, Where};
use super::value::TYPE_NAMES;
use super::{Array, GgufError, Metadata, Place, Strings, TensorInfo, Value};
use crate::formats::Format;

/// Longest key that the specification allows, in bytes.
const KEY_BYTES_MAX: u64 = 65_535;
/// Longest tensor name that the specification allows, in bytes.
const TENSOR_NAME_BYTES_MAX: u64 = 64;
/// Most dimensions of a tensor.
const DIMENSIONS_MAX: u32 = 4;
/// Arrays in arrays: deeper than any writer goes, shallow enough for any stack.
const NESTING_MAX: usize = 4;
/// The index (everything before the data) is read into memory; the largest vocabularies take a tenth of this.
const INDEX_BYTES_MAX: usize = 256 << 20;
/// An entry: name length (8), one byte of name, type (4), one byte of value.
const ENTRIES: Limits = Limits { what: "number of metadata entries", least_bytes: 14, most: 16_384 };
/// A description: name length (8), one byte of name, dimensions (4), one extent (8), type (4), offset (8).
const TENSORS: Limits = Limits { what: "number of tensors", least_bytes: 33, most: 1 << 20 };
const ARRAYS_IN_ARRAY_MAX: usize = 65_536;
/// Where the data and each tensor begin, unless `general.alignment` says otherwise.
const ALIGNMENT_DEFAULT: u64 = 32;
const ALIGNMENT_MAX: u64 = 1 << 20;

/// What a GGUF file holds, every field checked against the file it came from.
#[derive(Debug)]
pub(super) struct Index {
    pub(super) version: u32,
    pub(super) alignment: u64,
    pub(super) metadata: Metadata,
    /// In the file's order.
    pub(super) tensors: Vec<TensorInfo>,
    /// Indices into `tensors`, sorted by name.
    pub(super) by_name: Vec<usize>,
    /// Offset of the data section in the file; all tensors lie between it and the end of the file.
    pub(super) data_start: usize,
}

pub(super) fn parse(bytes: &[u8]) -> Result<Index, GgufError> {
    let mut cursor = Cursor::new(&bytes[..bytes.len().min(INDEX_BYTES_MAX)]);
    let header: Where<'_> = &|| Place::Header;
    let version = read_version(&mut cursor, bytes)?;
    let tensor_count = cursor.u64(header)?;
    let entry_count = cursor.count(ENTRIES, header)?;
    let metadata = read_metadata(&mut cursor, entry_count)?;
    let alignment = read_alignment(&metadata)?;
    let tensor_count = cursor.check_count(tensor_count, TENSORS, header)?;
    let mut tensors = Vec::with_capacity(tensor_count);
    for index in 0..tensor_count {
        tensors.push(read_tensor_info(&mut cursor, index as u64, alignment)?);
    }
    let by_name = index_names(&tensors)?;
    // The end of the descriptions lies in the file, so rounding it up by at most 1 MiB cannot overflow.
    let data_start = (cursor.position() as u64).next_multiple_of(alignment);
    check_ranges(&tensors, (bytes.len() as u64).saturating_sub(data_start))?;
    let data_start = usize::try_from(data_start).unwrap_or(bytes.len()).min(bytes.len());
    Ok(Index { version, alignment, metadata, tensors, by_name, data_start })
}

fn read_version(cursor: &mut Cursor<'_>, bytes: &[u8]) -> Result<u32, GgufError> {
    if !bytes.starts_with(b"GGUF") {
        return Err(GgufError::Magic { given: bytes[..bytes.len().min(4)].to_vec() });
    }
    cursor.take(4, &|| Place::Header)?;
    let version = cursor.u32(&|| Place::Header)?;
    match version {
        2 | 3 => Ok(version),
        given => Err(GgufError::Version { given, big_endian: matches!(given.swap_bytes(), 2 | 3) }),
    }
}

fn read_metadata(cursor: &mut Cursor<'_>, count: usize) -> Result<Metadata, GgufError> {
    let mut entries = Vec::with_capacity(count);
    for index in 0..count {
        let key = cursor.text("length", 1..=KEY_BYTES_MAX, &|| Place::KeyName(index as u64))?.to_owned();
        let place: Where<'_> = &|| Place::Key(key.clone());
        let value_type = cursor.u32(place)?;
        let value = read_value(cursor, value_type, place)?;
        entries.push((key, value));
    }
    Metadata::from_entries(entries)
}

fn read_value(cursor: &mut Cursor<'_>, value_type: u32, place: Where<'_>) -> Result<Value, GgufError> {
    Ok(match value_type {
        0 => Value::U8(cursor.array::<1>(place)?[0]),
        1 => Value::I8(i8::from_le_bytes(cursor.array(place)?)),
        2 => Value::U16(u16::from_le_bytes(cursor.array(place)?)),
        3 => Value::I16(i16::from_le_bytes(cursor.array(place)?)),
        4 => Value::U32(cursor.u32(place)?),
        5 => Value::I32(i32::from_le_bytes(cursor.array(place)?)),
        6 => Value::F32(f32::from_le_bytes(cursor.array(place)?)),
        7 => Value::Bool(read_bool(cursor.array::<1>(place)?[0], place)?),
        8 => Value::String(cursor.text("length", 0..=u64::MAX, place)?.to_owned()),
        9 => Value::Array(read_array(cursor, 1, place)?),
        10 => Value::U64(cursor.u64(place)?),
        11 => Value::I64(i64::from_le_bytes(cursor.array(place)?)),
        12 => Value::F64(f64::from_le_bytes(cursor.array(place)?)),
        given => return Err(unknown_type("type", given, place)),
    })
}

fn read_array(cursor: &mut Cursor<'_>, depth: usize, place: Where<'_>) -> Result<Array, GgufError> {
    let element_type = cursor.u32(place)?;
    // Arrays are the one thing whose element is known only when read: type (4) and count (8).
    let least_bytes = match element_type {
        0 | 1 | 7 => 1,
        2 | 3 => 2,
        4..=6 => 4,
        8 | 10..=12 => 8,
        9 => 12,
        given => return Err(unknown_type("element type", given, place)),
    };
    let most = if element_type == 9 { ARRAYS_IN_ARRAY_MAX } else { usize::MAX };
    let count = cursor.count(Limits { what: "number of array elements", least_bytes, most }, place)?;
    if element_type == 8 {
        let mut strings = Strings::with_capacity(count);
        for _ in 0..count {
            strings.push(cursor.text("length of an element", 0..=u64::MAX, place)?);
        }
        return Ok(Array::String(strings));
    }
    if element_type == 9 {
        if depth == NESTING_MAX {
            return Err(GgufError::Bounds {
                place: place(),
                what: "depth of arrays in arrays",
                given: format!("more than {NESTING_MAX}"),
                allowed: format!("1 to {NESTING_MAX}"),
            });
        }
        // No reservation: an `Array` is larger than the 12 bytes that announce it.
        let mut arrays = Vec::new();
        for _ in 0..count {
            arrays.push(read_array(cursor, depth + 1, place)?);
        }
        return Ok(Array::Array(arrays));
    }
    // `count` was checked against the bytes left, so the product cannot overflow.
    let bytes = cursor.take((count * least_bytes) as u64, place)?;
    Ok(match element_type {
        0 => Array::U8(bytes.to_vec()),
        1 => Array::I8(fixed(bytes, i8::from_le_bytes)),
        2 => Array::U16(fixed(bytes, u16::from_le_bytes)),
        3 => Array::I16(fixed(bytes, i16::from_le_bytes)),
        4 => Array::U32(fixed(bytes, u32::from_le_bytes)),
        5 => Array::I32(fixed(bytes, i32::from_le_bytes)),
        6 => Array::F32(fixed(bytes, f32::from_le_bytes)),
        7 => Array::Bool(bytes.iter().map(|byte| read_bool(*byte, place)).collect::<Result<_, _>>()?),
        10 => Array::U64(fixed(bytes, u64::from_le_bytes)),
        11 => Array::I64(fixed(bytes, i64::from_le_bytes)),
        _ => Array::F64(fixed(bytes, f64::from_le_bytes)),
    })
}

fn fixed<const N: usize, T>(bytes: &[u8], read: fn([u8; N]) -> T) -> Vec<T> {
    bytes.as_chunks::<N>().0.iter().map(|chunk| read(*chunk)).collect()
}

fn read_bool(byte: u8, place: Where<'_>) -> Result<bool, GgufError> {
    match byte {
        0 => Ok(false),
        1 => Ok(true),
        given => Err(GgufError::Bounds {
            place: place(),
            what: "truth value",
            given: given.to_string(),
            allowed: "0 and 1".to_owned(),
        }),
    }
}

fn unknown_type(what: &'static str, given: u32, place: Where<'_>) -> GgufError {
    let allowed: Vec<String> =
        TYPE_NAMES.iter().enumerate().map(|(number, name)| format!("{number} {name}")).collect();
    GgufError::Bounds { place: place(), what, given: given.to_string(), allowed: allowed.join(", ") }
}

fn read_alignment(metadata: &Metadata) -> Result<u64, GgufError> {
    let key = "general.alignment";
    let alignment = metadata.u64(key)?.unwrap_or(ALIGNMENT_DEFAULT);
    if alignment.is_power_of_two() && (8..=ALIGNMENT_MAX).contains(&alignment) {
        return Ok(alignment);
    }
    Err(GgufError::Bounds {
        place: Place::Key(key.to_owned()),
        what: "alignment",
        given: alignment.to_string(),
        allowed: format!("powers of two from 8 to {ALIGNMENT_MAX}"),
    })
}

fn read_tensor_info(cursor: &mut Cursor<'_>, index: u64, alignment: u64) -> Result<TensorInfo, GgufError> {
    let name = cursor.text("length", 1..=TENSOR_NAME_BYTES_MAX, &|| Place::TensorName(index))?.to_owned();
    let place: Where<'_> = &|| Place::Tensor(name.clone());
    let bounds =
        |what, given: String, allowed: String| GgufError::Bounds { place: place(), what, given, allowed };
    let dimensions = cursor.u32(place)?;
    if !(1..=DIMENSIONS_MAX).contains(&dimensions) {
        let allowed = format!("1 to {DIMENSIONS_MAX}");
        return Err(bounds("number of dimensions", dimensions.to_string(), allowed));
    }
    let mut shape = Vec::with_capacity(dimensions as usize);
    for _ in 0..dimensions {
        shape.push(cursor.u64(place)?);
    }
    let format_number = cursor.u32(place)?;
    let format = Format::from_ggml(format_number)
        .ok_or_else(|| bounds("format", Format::ggml_name(format_number), Format::all_names()))?;
    let offset = cursor.u64(place)?;
    if !offset.is_multiple_of(alignment) {
        return Err(bounds("offset", offset.to_string(), format!("multiples of the alignment, {alignment}")));
    }
    let block = format.block_len() as u64;
    if !shape[0].is_multiple_of(block) {
        let allowed = format!("multiples of {block}, the block of {}", format.name());
        return Err(bounds("first extent", shape[0].to_string(), allowed));
    }
    let elements = shape.iter().try_fold(1_u64, |product, extent| product.checked_mul(*extent));
    let bytes = elements
        .filter(|elements| *elements > 0)
        .and_then(|elements| (elements / block).checked_mul(format.block_bytes() as u64))
        .filter(|bytes| i64::try_from(*bytes).is_ok())
        .ok_or_else(|| {
            bounds(
                "shape",
                format!("{shape:?}"),
                "extents of 1 or more whose size in bytes fits 63 bits".to_owned(),
            )
        })?;
    Ok(TensorInfo { name, shape, format, offset, bytes })
}

/// Sorts by name and refuses duplicates.
fn index_names(tensors: &[TensorInfo]) -> Result<Vec<usize>, GgufError> {
    let mut by_name: Vec<usize> = (0..tensors.len()).collect();
    by_name.sort_unstable_by(|a, b| tensors[*a].name.cmp(&tensors[*b].name));
    match by_name.windows(2).find(|pair| tensors[pair[0]].name == tensors[pair[1]].name) {
        Some(pair) => Err(GgufError::DuplicateTensor { name: tensors[pair[0]].name.clone() }),
        None => Ok(by_name),
    }
}

/// Every tensor inside the data section, no two over the same bytes.
fn check_ranges(tensors: &[TensorInfo], data_bytes: u64) -> Result<(), GgufError> {
    for tensor in tensors {
        if tensor.offset.checked_add(tensor.bytes).is_none_or(|end| end > data_bytes) {
            return Err(GgufError::Bounds {
                place: Place::Tensor(tensor.name.clone()),
                what: "range of bytes",
                given: format!("{} bytes from offset {}", tensor.bytes, tensor.offset),
                allowed: format!("inside the {data_bytes} bytes of data that the file has"),
            });
        }
    }
    let mut by_offset: Vec<&TensorInfo> = tensors.iter().collect();
    by_offset.sort_unstable_by_key(|tensor| tensor.offset);
    for pair in by_offset.windows(2) {
        let (first, second) = (pair[0], pair[1]);
        let first_end = first.offset + first.bytes;
        if second.offset < first_end {
            return Err(GgufError::Overlap {
                name: second.name.clone(),
                offset: second.offset,
                other: first.name.clone(),
                other_end: first_end,
            });
        }
    }
    Ok(())
}
