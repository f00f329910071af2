//! Writes small GGUF files, for tests of this and other crates and for fuzzing seeds.

use super::{Array, Value};
use crate::formats::Format;

/// Collects metadata and tensors and lays them out as a file.
///
/// ```
/// use models::gguf::{Gguf, testing::GgufWriter};
///
/// let bytes = GgufWriter::new()
///     .key("general.architecture", "llama")
///     .key("llama.block_count", 1_u32)
///     .f32_tensor("output_norm.weight", &[4], &[1.0, 2.0, 3.0, 4.0])
///     .finish();
/// let file = Gguf::from_bytes(bytes).unwrap();
/// assert_eq!(file.metadata().required_u32("llama.block_count").unwrap(), 1);
/// assert_eq!(file.tensor("output_norm.weight").unwrap().data.len(), 16);
/// ```
#[derive(Debug, Clone)]
pub struct GgufWriter {
    version: u32,
    alignment: u64,
    entries: Vec<(String, Value)>,
    tensors: Vec<NewTensor>,
}

#[derive(Debug, Clone)]
struct NewTensor {
    name: String,
    shape: Vec<u64>,
    format: Format,
    data: Vec<u8>,
}

impl Default for GgufWriter {
    fn default() -> Self {
        Self::new()
    }
}

impl GgufWriter {
    /// An empty version 3 file with an alignment of 32 bytes.
    pub fn new() -> Self {
        Self { version: 3, alignment: 32, entries: Vec::new(), tensors: Vec::new() }
    }

    /// Another version number (not checked).
    #[must_use]
    pub fn version(mut self, version: u32) -> Self {
        self.version = version;
        self
    }

    /// Another alignment, also written as `general.alignment`.
    #[must_use]
    pub fn alignment(mut self, alignment: u32) -> Self {
        self.alignment = u64::from(alignment);
        self.key("general.alignment", alignment)
    }

    /// Appends a metadata entry (duplicates are not checked).
    #[must_use]
    pub fn key(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.entries.push((key.to_owned(), value.into()));
        self
    }

    /// Appends a tensor; `shape[0]` is the contiguous extent. Neither shape nor data is checked.
    #[must_use]
    pub fn tensor(mut self, name: &str, shape: &[u64], format: Format, data: &[u8]) -> Self {
        let tensor = NewTensor { name: name.to_owned(), shape: shape.to_vec(), format, data: data.to_vec() };
        self.tensors.push(tensor);
        self
    }

    /// Appends an F32 tensor.
    #[must_use]
    pub fn f32_tensor(self, name: &str, shape: &[u64], values: &[f32]) -> Self {
        let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.tensor(name, shape, Format::F32, &data)
    }

    /// The file's bytes.
    pub fn finish(&self) -> Vec<u8> {
        let mut out = b"GGUF".to_vec();
        out.extend(self.version.to_le_bytes());
        out.extend((self.tensors.len() as u64).to_le_bytes());
        out.extend((self.entries.len() as u64).to_le_bytes());
        for (key, value) in &self.entries {
            write_text(&mut out, key);
            out.extend(value.type_number().to_le_bytes());
            write_value(&mut out, value);
        }
        let mut offset = 0_u64;
        for tensor in &self.tensors {
            write_text(&mut out, &tensor.name);
            out.extend((tensor.shape.len() as u32).to_le_bytes());
            out.extend(tensor.shape.iter().flat_map(|extent| extent.to_le_bytes()));
            out.extend(tensor.format.ggml_number().to_le_bytes());
            out.extend(offset.to_le_bytes());
            offset += (tensor.data.len() as u64).next_multiple_of(self.alignment);
        }
        for tensor in &self.tensors {
            out.resize(out.len().next_multiple_of(self.alignment as usize), 0);
            out.extend(&tensor.data);
        }
        out
    }
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

fn write_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::U8(value) => out.extend(value.to_le_bytes()),
        Value::I8(value) => out.extend(value.to_le_bytes()),
        Value::U16(value) => out.extend(value.to_le_bytes()),
        Value::I16(value) => out.extend(value.to_le_bytes()),
        Value::U32(value) => out.extend(value.to_le_bytes()),
        Value::I32(value) => out.extend(value.to_le_bytes()),
        Value::F32(value) => out.extend(value.to_le_bytes()),
        Value::Bool(value) => out.push(u8::from(*value)),
        Value::String(value) => write_text(out, value),
        Value::Array(array) => write_array(out, array),
        Value::U64(value) => out.extend(value.to_le_bytes()),
        Value::I64(value) => out.extend(value.to_le_bytes()),
        Value::F64(value) => out.extend(value.to_le_bytes()),
    }
}

fn write_array(out: &mut Vec<u8>, array: &Array) {
    out.extend(array.element_type().to_le_bytes());
    out.extend((array.len() as u64).to_le_bytes());
    match array {
        Array::U8(items) => out.extend(items),
        Array::I8(items) => out.extend(items.iter().flat_map(|item| item.to_le_bytes())),
        Array::U16(items) => out.extend(items.iter().flat_map(|item| item.to_le_bytes())),
        Array::I16(items) => out.extend(items.iter().flat_map(|item| item.to_le_bytes())),
        Array::U32(items) => out.extend(items.iter().flat_map(|item| item.to_le_bytes())),
        Array::I32(items) => out.extend(items.iter().flat_map(|item| item.to_le_bytes())),
        Array::F32(items) => out.extend(items.iter().flat_map(|item| item.to_le_bytes())),
        Array::Bool(items) => out.extend(items.iter().map(|item| u8::from(*item))),
        Array::String(items) => items.iter().for_each(|item| write_text(out, item)),
        Array::Array(items) => items.iter().for_each(|item| write_array(out, item)),
        Array::U64(items) => out.extend(items.iter().flat_map(|item| item.to_le_bytes())),
        Array::I64(items) => out.extend(items.iter().flat_map(|item| item.to_le_bytes())),
        Array::F64(items) => out.extend(items.iter().flat_map(|item| item.to_le_bytes())),
    }
}
