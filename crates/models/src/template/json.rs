//! JSON as Python's `json.dumps(value, ensure_ascii=False)` writes it, which is what models were trained on.

use std::io;

use serde_json::Value;
use serde_json::ser::{Formatter, Serializer};

/// How deep tools and arguments may nest: deep enough for any schema that people write, and less than what rendering
/// allows.
pub(super) const LEVELS_MAX: usize = 48;

/// How large a value is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Size {
    /// Bytes in strings and keys, and one for each value.
    pub(super) bytes: usize,
    /// Values in it, itself included.
    pub(super) values: usize,
}

impl Size {
    /// The size of a value that nests no deeper than [`LEVELS_MAX`]; None of a deeper one.
    pub(super) fn of(value: &Value) -> Option<Self> {
        let mut size = Self::default();
        size.add(value, LEVELS_MAX).then_some(size)
    }

    fn add(&mut self, value: &Value, levels: usize) -> bool {
        let Some(levels) = levels.checked_sub(1) else { return false };
        self.values += 1;
        self.bytes += 1;
        match value {
            Value::String(text) => self.bytes += text.len(),
            Value::Array(items) => return items.iter().all(|item| self.add(item, levels)),
            Value::Object(map) => {
                return map.iter().all(|(key, value)| {
                    self.bytes += key.len();
                    self.add(value, levels)
                });
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
        true
    }
}

/// Adds every string and every key in a value to `texts`.
pub(super) fn collect_texts<'v>(value: &'v Value, texts: &mut Vec<&'v str>) {
    match value {
        Value::String(text) => texts.push(text),
        Value::Array(items) => items.iter().for_each(|item| collect_texts(item, texts)),
        Value::Object(map) => map.iter().for_each(|(key, value)| {
            texts.push(key);
            collect_texts(value, texts);
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The value with every string and every key replaced.
pub(super) fn map_texts(value: &Value, replace: &mut dyn FnMut(&str) -> String) -> Value {
    match value {
        Value::String(text) => Value::String(replace(text)),
        Value::Array(items) => items.iter().map(|item| map_texts(item, replace)).collect(),
        Value::Object(map) => {
            map.iter().map(|(key, value)| (replace(key), map_texts(value, replace))).collect()
        }
        other => other.clone(),
    }
}

/// The value as templates have it.
pub(super) fn to_value(value: &Value) -> minijinja::Value {
    match value {
        Value::Null => minijinja::Value::from(()),
        Value::Bool(truth) => minijinja::Value::from(*truth),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => minijinja::Value::from(number),
            (None, Some(number)) => minijinja::Value::from(number),
            (None, None) => minijinja::Value::from(number.as_f64()),
        },
        Value::String(text) => minijinja::Value::from(text.as_str()),
        Value::Array(items) => items.iter().map(to_value).collect(),
        Value::Object(map) => {
            minijinja::Value::from_pairs(map.iter().map(|(key, value)| (key.as_str(), to_value(value))))
        }
    }
}

/// The text of a value.
pub(super) fn dumps(value: &Value) -> String {
    let mut bytes = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut bytes, Python);
    // Writing a JSON value to memory does not fail, and what is written is UTF-8.
    let _ = serde::Serialize::serialize(value, &mut serializer);
    String::from_utf8(bytes).unwrap_or_default()
}

/// Python's separators and numbers.
struct Python;

impl Formatter for Python {
    fn write_f64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        writer.write_all(float(value).as_bytes())
    }

    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}

/// Python's `repr` of a float, with the names that its `json` has for what is not a number.
pub(super) fn float(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        let plain = value.to_string();
        return if plain.contains('.') { plain } else { plain + ".0" };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_written_as_python_does() {
        for (value, expected) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (0.1, "0.1"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.5e300, "1.5e+300"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (-2.5e-7, "-2.5e-07"),
            (123_456_789.125, "123456789.125"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(float(value), expected);
        }
    }

    #[test]
    fn text_keeps_order_and_is_spaced_as_python_does() {
        let value: Value =
            serde_json::from_str(r#"{"b":[1,2.0,1e16,null,true,[],{}],"a":"é\u0001\"\\\n\u2028/"}"#).unwrap();
        assert_eq!(
            dumps(&value),
            "{\"b\": [1, 2.0, 1e+16, null, true, [], {}], \"a\": \"é\\u0001\\\"\\\\\\n\u{2028}/\"}"
        );
    }

    #[test]
    fn depth_is_limited() {
        let nested = |levels: usize| (1..levels).fold(Value::Null, |inner, _| Value::Array(vec![inner]));
        assert_eq!(Size::of(&nested(LEVELS_MAX)).unwrap().values, LEVELS_MAX);
        assert_eq!(Size::of(&nested(LEVELS_MAX + 1)), None);
        let value = serde_json::json!({"ab": ["cde", 1]});
        assert_eq!(Size::of(&value), Some(Size { bytes: 9, values: 4 }));
    }
}
