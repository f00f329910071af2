use super::{Array, GgufError, Value};

/// The key-value part of a GGUF file, in the file's order, each key once.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metadata {
    entries: Vec<(String, Value)>,
    /// Indices into `entries`, sorted by key.
    by_key: Vec<usize>,
}

impl Metadata {
    /// Takes entries in order.
    ///
    /// # Errors
    /// When a key appears twice.
    pub fn from_entries(entries: Vec<(String, Value)>) -> Result<Self, GgufError> {
        let mut by_key: Vec<usize> = (0..entries.len()).collect();
        by_key.sort_unstable_by(|a, b| entries[*a].0.cmp(&entries[*b].0));
        if let Some(pair) = by_key.windows(2).find(|pair| entries[pair[0]].0 == entries[pair[1]].0) {
            return Err(GgufError::DuplicateKey { key: entries[pair[0]].0.clone() });
        }
        Ok(Self { entries, by_key })
    }

    /// The entries in the file's order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.entries.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        let found = self.by_key.binary_search_by(|index| self.entries[*index].0.as_str().cmp(key)).ok()?;
        Some(&self.entries[self.by_key[found]].1)
    }

    /// The key's value as `convert` reads it; an error when the key is there and `convert` refuses it.
    fn typed<'a, T>(
        &'a self,
        key: &str,
        wanted: &'static str,
        convert: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, GgufError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match convert(value) {
            Some(converted) => Ok(Some(converted)),
            None => Err(GgufError::KeyType { key: key.to_owned(), wanted, given: describe(value) }),
        }
    }

    /// A string.
    ///
    /// # Errors
    /// When the key has another type.
    pub fn str(&self, key: &str) -> Result<Option<&str>, GgufError> {
        self.typed(key, "string", |value| match value {
            Value::String(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// An array of strings.
    ///
    /// # Errors
    /// When the key has another type.
    pub fn strings(&self, key: &str) -> Result<Option<Vec<&str>>, GgufError> {
        self.typed(key, "array of string", |value| match value {
            Value::Array(Array::String(strings)) => Some(strings.iter().collect()),
            _ => None,
        })
    }

    /// How many elements an array has, whatever they are; none where the key is missing or no array. For checks
    /// before anything is copied.
    pub fn array_len(&self, key: &str) -> Option<usize> {
        match self.get(key)? {
            Value::Array(array) => Some(array.len()),
            _ => None,
        }
    }

    /// A string.
    ///
    /// # Errors
    /// When the key is missing or has another type.
    pub fn required_str(&self, key: &str) -> Result<&str, GgufError> {
        self.str(key)?.ok_or_else(|| missing(key, "string"))
    }

    /// An array of strings.
    ///
    /// # Errors
    /// When the key is missing or has another type.
    pub fn required_strings(&self, key: &str) -> Result<Vec<&str>, GgufError> {
        self.strings(key)?.ok_or_else(|| missing(key, "array of string"))
    }
}

/// One optional and one required reader per type.
macro_rules! typed_readers {
    ($($(#[$doc:meta])* $name:ident, $required:ident: $type:ty, $wanted:literal, $convert:expr;)*) => {
        impl Metadata {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                /// When the key has another type or its value does not fit.
                pub fn $name(&self, key: &str) -> Result<Option<$type>, GgufError> {
                    self.typed(key, $wanted, $convert)
                }

                $(#[$doc])*
                ///
                /// # Errors
                /// When the key is missing, has another type or its value does not fit.
                pub fn $required(&self, key: &str) -> Result<$type, GgufError> {
                    self.$name(key)?.ok_or_else(|| missing(key, $wanted))
                }
            )*
        }
    };
}

typed_readers! {
    /// Any integer that fits 32 bits without sign.
    u32, required_u32: u32, "integer from 0 to 4294967295", |value| u32::try_from(value.integer()?).ok();
    /// Any integer that fits 64 bits without sign.
    u64, required_u64: u64, "integer from 0 to 18446744073709551615", |value| u64::try_from(value.integer()?).ok();
    /// A floating-point number; a 64-bit one is rounded.
    f32, required_f32: f32, "f32 or f64", |value| match value {
        Value::F32(number) => Some(*number),
        Value::F64(number) => Some(*number as f32),
        _ => None,
    };
    /// A truth value.
    bool, required_bool: bool, "bool", |value| match value {
        Value::Bool(truth) => Some(*truth),
        _ => None,
    };
    /// An array of any integer type whose values fit `i32`.
    i32s, required_i32s: Vec<i32>, "array of integers that fit i32", narrow;
    /// An array of any integer type whose values fit `u32`.
    u32s, required_u32s: Vec<u32>, "array of integers that fit u32", narrow;
    /// An array of floating-point numbers; 64-bit ones are rounded.
    f32s, required_f32s: Vec<f32>, "array of f32 or f64", |value| match value {
        Value::Array(Array::F32(numbers)) => Some(numbers.clone()),
        Value::Array(Array::F64(numbers)) => Some(numbers.iter().map(|number| *number as f32).collect()),
        _ => None,
    };
}

fn missing(key: &str, wanted: &'static str) -> GgufError {
    GgufError::MissingKey { key: key.to_owned(), wanted }
}

fn narrow<T: TryFrom<i128>>(value: &Value) -> Option<Vec<T>> {
    let Value::Array(array) = value else { return None };
    array.integers_as()
}

/// Type and, for short scalars, the value.
fn describe(value: &Value) -> String {
    match value {
        Value::String(_) => value.type_name(),
        Value::Array(array) => format!("{} with {} elements", value.type_name(), array.len()),
        _ => format!("{} {value}", value.type_name()),
    }
}
