//! Reads the fields of a JSON object, with errors that name them.

use serde_json::{Map, Value};

use crate::error::RequestError;

/// The fields of one object. `null` is as good as absent.
pub(crate) struct Fields {
    /// Where the object stands in the request; empty for the request itself.
    path: String,
    fields: Map<String, Value>,
}

impl Fields {
    pub(crate) fn new(path: impl Into<String>, value: Value) -> Result<Self, RequestError> {
        let path = path.into();
        match value {
            Value::Object(fields) => Ok(Self { path, fields }),
            other => Err(RequestError::format(&path, "an object", describe(&other))),
        }
    }

    /// The full name of a field.
    pub(crate) fn name(&self, field: &str) -> String {
        if self.path.is_empty() { field.to_owned() } else { format!("{}.{field}", self.path) }
    }

    pub(crate) fn take(&mut self, field: &str) -> Option<Value> {
        #[cfg(test)]
        asked::note(&self.path, field);
        self.fields.remove(field).filter(|value| !value.is_null())
    }

    pub(crate) fn object(&mut self, field: &str) -> Result<Option<Fields>, RequestError> {
        let name = self.name(field);
        self.take(field).map(|value| Fields::new(name, value)).transpose()
    }

    pub(crate) fn array(&mut self, field: &str) -> Result<Option<Vec<Value>>, RequestError> {
        self.typed(field, "an array", |value| match value {
            Value::Array(values) => Ok(values),
            other => Err(other),
        })
    }

    pub(crate) fn string(&mut self, field: &str) -> Result<Option<String>, RequestError> {
        self.typed(field, "a string", |value| match value {
            Value::String(text) => Ok(text),
            other => Err(other),
        })
    }

    pub(crate) fn boolean(&mut self, field: &str) -> Result<Option<bool>, RequestError> {
        self.typed(field, "true or false", |value| match value {
            Value::Bool(flag) => Ok(flag),
            other => Err(other),
        })
    }

    /// A whole number of any sign.
    pub(crate) fn integer(&mut self, field: &str) -> Result<Option<i128>, RequestError> {
        self.typed(field, "a whole number", |value| whole(&value).ok_or(value))
    }

    /// A whole number in a range.
    pub(crate) fn integer_in(
        &mut self,
        field: &str,
        low: u32,
        high: u32,
    ) -> Result<Option<u32>, RequestError> {
        let Some(given) = self.integer(field)? else { return Ok(None) };
        match u32::try_from(given).ok().filter(|given| (low..=high).contains(given)) {
            Some(given) => Ok(Some(given)),
            None => Err(RequestError::value(&self.name(field), &range(low, high), &given.to_string())),
        }
    }

    /// A number in a range.
    pub(crate) fn number_in(
        &mut self,
        field: &str,
        low: f64,
        high: f64,
    ) -> Result<Option<f32>, RequestError> {
        let Some(value) = self.take(field) else { return Ok(None) };
        number_in(&self.name(field), &value, low, high).map(Some)
    }

    /// One of a few names.
    pub(crate) fn choice(&mut self, field: &str, choices: &[&str]) -> Result<Option<String>, RequestError> {
        let Some(given) = self.string(field)? else { return Ok(None) };
        if choices.contains(&given.as_str()) {
            return Ok(Some(given));
        }
        Err(RequestError::value(&self.name(field), &alternatives(choices), &quote(&given)))
    }

    fn typed<T>(
        &mut self,
        field: &str,
        allowed: &str,
        read: impl FnOnce(Value) -> Result<T, Value>,
    ) -> Result<Option<T>, RequestError> {
        let Some(value) = self.take(field) else { return Ok(None) };
        let wrong = |value: Value| RequestError::format(&self.name(field), allowed, describe(&value));
        read(value).map(Some).map_err(wrong)
    }
}

/// A number in a range, of the field `name`.
pub(crate) fn number_in(name: &str, value: &Value, low: f64, high: f64) -> Result<f32, RequestError> {
    let Some(given) = value.as_f64() else {
        return Err(RequestError::format(name, "a number", describe(value)));
    };
    if (low..=high).contains(&given) {
        return Ok(given as f32);
    }
    Err(RequestError::value(name, &range(low, high), &given.to_string()))
}

/// A whole number, which may be written `3.0`.
fn whole(value: &Value) -> Option<i128> {
    if let Some(given) = value.as_i64() {
        return Some(i128::from(given));
    }
    if let Some(given) = value.as_u64() {
        return Some(i128::from(given));
    }
    let given = value.as_f64()?;
    // Beyond 2^53 a float no longer says which whole number was meant.
    (given.fract() == 0.0 && given.abs() <= 9_007_199_254_740_992.0).then_some(given as i128)
}

/// What a value is, for an error; strings and numbers are not repeated as they may be long or private.
pub(crate) fn describe(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(number) if number.is_f64() => "a number with a fraction",
        Value::Number(_) => "a whole number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// A short name as it was given, in quotes.
pub(crate) fn quote(given: &str) -> String {
    const SHOWN: usize = 40;
    match given.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{:?}...", &given[..end]),
        None => format!("{given:?}"),
    }
}

pub(crate) fn alternatives(choices: &[&str]) -> String {
    let quoted: Vec<String> = choices.iter().map(|choice| format!("{choice:?}")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

fn range(low: impl std::fmt::Display, high: impl std::fmt::Display) -> String {
    format!("between {low} and {high}")
}

/// The names that were asked for, so that tests can hold the document to them.
#[cfg(test)]
pub(crate) mod asked {
    use std::cell::RefCell;
    use std::collections::{BTreeMap, BTreeSet};

    type Names = BTreeMap<String, BTreeSet<String>>;

    thread_local! {
        static NAMES: RefCell<Names> = const { RefCell::new(BTreeMap::new()) };
    }

    /// Places in lists are all the same here: `messages[3]` is `messages[]`.
    pub(super) fn note(path: &str, field: &str) {
        let place = path.split('[').map(|part| part.trim_start_matches(|digit: char| digit.is_ascii_digit()));
        let place = place.collect::<Vec<_>>().join("[");
        NAMES.with_borrow_mut(|names| names.entry(place).or_default().insert(field.to_owned()));
    }

    pub(crate) fn names() -> Names {
        NAMES.with_borrow(Clone::clone)
    }

    pub(crate) fn forget() {
        NAMES.with_borrow_mut(BTreeMap::clear);
    }
}
