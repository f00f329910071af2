//! What templates expect of Python beyond minijinja: methods of strings, `tojson` as the transformers library sets it
//! up, `raise_exception`, and what counts as white space.

use std::fmt::Write as _;

use minijinja::value::{Kwargs, Rest, Tuple, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State};

use super::walk;

/// What a template said in `raise_exception`.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Raised(pub(super) String);

/// Deepest value that `tojson` writes.
const JSON_DEPTH_MAX: usize = 64;
/// Most spaces of indentation per level.
const JSON_INDENT_MAX: usize = 16;

/// Adds everything to an environment.
pub(super) fn install(env: &mut Environment<'_>) {
    env.set_unknown_method_callback(method);
    env.add_filter("trim", |value: &Value, chars: Option<&str>| -> Result<Value, Error> {
        let text = value.to_string();
        Ok(Value::from(strip(&text, chars, true, true)))
    });
    env.add_filter("tojson", to_json);
    env.add_test("sequence", |value: &Value| {
        matches!(value.kind(), ValueKind::Seq | ValueKind::Map | ValueKind::String | ValueKind::Undefined)
    });
    env.add_function("raise_exception", |message: &Value| -> Result<Value, Error> {
        let message: String = message.to_string().chars().take(1000).collect();
        Err(Error::new(ErrorKind::InvalidOperation, "raised by the template").with_source(Raised(message)))
    });
    // Prints the whole context, which is no template's business.
    env.remove_global("debug");
}

/// Python's `str.isspace`: Unicode white space and the four information separators.
pub(super) fn is_space(character: char) -> bool {
    character.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&character)
}

/// Methods that minijinja's Python compatibility lacks or does differently; the rest is passed on to it.
fn method(state: &mut State, value: &Value, name: &str, args: &[Value]) -> Result<Value, Error> {
    let Some(text) = value.as_str() else {
        walk::walk(state, value, 0)?;
        return minijinja_contrib::pycompat::unknown_method_callback(state, value, name, args);
    };
    // Work on a string costs by its length, also where the result is short.
    state.consume_fuel(text.len() as u64 / 64)?;
    let argument = |index: usize| args.get(index).filter(|value| !value.is_none());
    let string = |index: usize| -> Result<Option<&str>, Error> {
        argument(index)
            .map(|value| {
                value
                    .as_str()
                    .ok_or_else(|| Error::new(ErrorKind::InvalidOperation, format!("{name}() takes strings")))
            })
            .transpose()
    };
    let required = |index: usize| -> Result<&str, Error> {
        string(index)?
            .ok_or_else(|| Error::new(ErrorKind::MissingArgument, format!("{name}() takes a string")))
    };
    Ok(match name {
        "strip" => Value::from(strip(text, string(0)?, true, true)),
        "lstrip" => Value::from(strip(text, string(0)?, true, false)),
        "rstrip" => Value::from(strip(text, string(0)?, false, true)),
        "split" | "rsplit" if args.len() <= 2 && !args.iter().any(Value::is_kwargs) => {
            split(text, name == "rsplit", string(0)?, limit(argument(1))?)?
        }
        "splitlines" if args.is_empty() => Value::from(split_lines(text)),
        "partition" => partition(text, required(0)?, text.find(required(0)?), false)?,
        "rpartition" => partition(text, required(0)?, text.rfind(required(0)?), true)?,
        "removeprefix" => Value::from(text.strip_prefix(required(0)?).unwrap_or(text)),
        "removesuffix" => Value::from(text.strip_suffix(required(0)?).unwrap_or(text)),
        "join" => {
            walk::walk(state, args.first().unwrap_or(&Value::UNDEFINED), 0)?;
            return minijinja_contrib::pycompat::unknown_method_callback(state, value, name, args);
        }
        "format" if !is_modest_format(text) => {
            return Err(Error::new(
                ErrorKind::InvalidOperation,
                "format() takes widths of at most three digits",
            ));
        }
        "isspace" => Value::from(!text.is_empty() && text.chars().all(is_space)),
        _ => return minijinja_contrib::pycompat::unknown_method_callback(state, value, name, args),
    })
}

/// Whether no field of a `str.format` asks for a long result: a width has at most three digits and is spelt out.
fn is_modest_format(format: &str) -> bool {
    let mut rest = format;
    while let Some((_, field)) = rest.split_once('{') {
        if let Some(literal) = field.strip_prefix('{') {
            rest = literal;
            continue;
        }
        let Some((field, after)) = field.split_once('}') else { return true };
        let digits = |run: &str| run.len() > 3;
        if field.contains('{') || field.split(|c: char| !c.is_ascii_digit()).any(digits) {
            return false;
        }
        rest = after;
    }
    true
}

fn strip<'t>(text: &'t str, chars: Option<&str>, start: bool, end: bool) -> &'t str {
    let drop = |c: char| chars.map_or_else(|| is_space(c), |chars| chars.contains(c));
    let text = if start { text.trim_start_matches(drop) } else { text };
    if end { text.trim_end_matches(drop) } else { text }
}

/// Python's `maxsplit`: negative or absent is no limit.
fn limit(value: Option<&Value>) -> Result<usize, Error> {
    let Some(value) = value else { return Ok(usize::MAX) };
    Ok(usize::try_from(i64::try_from(value.clone())?).unwrap_or(usize::MAX))
}

fn split(text: &str, from_end: bool, separator: Option<&str>, limit: usize) -> Result<Value, Error> {
    if separator == Some("") {
        return Err(Error::new(ErrorKind::InvalidOperation, "empty separator"));
    }
    let mut parts: Vec<&str> = Vec::new();
    // Without a separator, white space at the end that is worked from does not count; with one, every part does.
    let trimmed = |rest| if separator.is_none() { strip(rest, None, !from_end, from_end) } else { rest };
    let mut rest = trimmed(text);
    while parts.len() < limit {
        let found = match (separator, from_end) {
            (Some(separator), false) => rest.find(separator).map(|at| (at, separator.len())),
            (Some(separator), true) => rest.rfind(separator).map(|at| (at, separator.len())),
            (None, false) => {
                rest.char_indices().find(|&(_, c)| is_space(c)).map(|(at, c)| (at, c.len_utf8()))
            }
            (None, true) => {
                rest.char_indices().rfind(|&(_, c)| is_space(c)).map(|(at, c)| (at, c.len_utf8()))
            }
        };
        let Some((at, length)) = found else { break };
        let (before, after) = (&rest[..at], &rest[at + length..]);
        parts.push(if from_end { after } else { before });
        rest = trimmed(if from_end { before } else { after });
    }
    if separator.is_some() || !rest.is_empty() {
        parts.push(rest);
    }
    if from_end {
        parts.reverse();
    }
    Ok(parts.into_iter().map(Value::from).collect())
}

fn partition(text: &str, separator: &str, found: Option<usize>, from_end: bool) -> Result<Value, Error> {
    if separator.is_empty() {
        return Err(Error::new(ErrorKind::InvalidOperation, "empty separator"));
    }
    let parts = match found {
        Some(at) => [&text[..at], separator, &text[at + separator.len()..]],
        None if from_end => ["", "", text],
        None => [text, "", ""],
    };
    Ok(Value::from(Tuple::from(parts.map(Value::from))))
}

/// Lines at every boundary that Python knows.
fn split_lines(text: &str) -> Vec<Value> {
    let ends_line = |c: char| {
        matches!(
            c,
            '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}'
        )
    };
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some((at, end)) = rest.char_indices().find(|&(_, c)| ends_line(c)) {
        lines.push(Value::from(&rest[..at]));
        rest = rest[at..].strip_prefix("\r\n").unwrap_or(&rest[at + end.len_utf8()..]);
    }
    if !rest.is_empty() {
        lines.push(Value::from(rest));
    }
    lines
}

/// `json.dumps(value, ensure_ascii=False, indent, separators, sort_keys)`.
fn to_json(
    state: &mut State,
    value: &Value,
    indent: Option<&Value>,
    options: Kwargs,
) -> Result<Value, Error> {
    let indent = match indent {
        Some(indent) => Some(indent.clone()),
        None => options.get::<Option<Value>>("indent")?,
    };
    let separators: Option<Vec<String>> = options.get("separators")?;
    let sort_keys: Option<bool> = options.get("sort_keys")?;
    // Always off, as in the transformers library.
    let _: Option<bool> = options.get("ensure_ascii")?;
    options.assert_all_used()?;
    let indent = indent.filter(|value| !value.is_none()).map(usize::try_from).transpose()?;
    let (between, after_key) = match separators.as_deref() {
        Some([between, after_key]) => (between.clone(), after_key.clone()),
        Some(_) => return Err(Error::new(ErrorKind::InvalidOperation, "separators takes two strings")),
        None => (if indent.is_some() { "," } else { ", " }.to_owned(), ": ".to_owned()),
    };
    let mut json = Json {
        state,
        indent: indent.map(|spaces| spaces.min(JSON_INDENT_MAX)),
        between,
        after_key,
        sort_keys: sort_keys.unwrap_or(false),
        out: String::new(),
        charged: 0,
    };
    json.value(value, 0)?;
    Ok(Value::from(json.out))
}

/// A JSON text in the making.
struct Json<'s, 'a, 'b> {
    state: &'s State<'a, 'b>,
    indent: Option<usize>,
    between: String,
    after_key: String,
    sort_keys: bool,
    out: String,
    /// Bytes of `out` that were paid for.
    charged: usize,
}

impl Json<'_, '_, '_> {
    fn value(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        if depth > JSON_DEPTH_MAX {
            return Err(Error::new(ErrorKind::InvalidOperation, "value is nested too deeply for JSON"));
        }
        self.state.consume_fuel(1 + (self.out.len() - self.charged) as u64 / 16)?;
        self.charged = self.out.len();
        match value.kind() {
            ValueKind::Undefined => {
                return Err(Error::new(ErrorKind::UndefinedError, "undefined is not JSON serializable"));
            }
            ValueKind::None => self.out.push_str("null"),
            ValueKind::Bool => self.out.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => self.number(value),
            ValueKind::Seq | ValueKind::Iterable => {
                let items = value.try_iter()?;
                self.container('[', ']', items, depth, |json, item| json.value(item, depth + 1))?;
            }
            ValueKind::Map => {
                let mut keys: Vec<Value> = value.try_iter()?.collect();
                if self.sort_keys {
                    keys.sort();
                }
                self.container('{', '}', keys.into_iter(), depth, |json, key| {
                    json.string(&key.to_string());
                    json.out.push_str(&json.after_key.clone());
                    json.value(&value.get_item(key)?, depth + 1)
                })?;
            }
            _ => self.string(&value.to_string()),
        }
        Ok(())
    }

    fn container(
        &mut self,
        open: char,
        close: char,
        items: impl Iterator<Item = Value>,
        depth: usize,
        mut write: impl FnMut(&mut Self, &Value) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.out.push(open);
        let mut empty = true;
        for item in items {
            if !empty {
                self.out.push_str(&self.between.clone());
            }
            empty = false;
            self.line(depth + 1);
            write(self, &item)?;
        }
        if !empty {
            self.line(depth);
        }
        self.out.push(close);
        Ok(())
    }

    fn line(&mut self, depth: usize) {
        if let Some(spaces) = self.indent {
            self.out.push('\n');
            self.out.extend(std::iter::repeat_n(' ', spaces * depth));
        }
    }

    fn number(&mut self, value: &Value) {
        match f64::try_from(value.clone()) {
            Ok(number) if !value.is_integer() => self.out.push_str(&super::json::float(number)),
            _ => self.out.push_str(&value.to_string()),
        }
    }

    fn string(&mut self, text: &str) {
        self.out.push('"');
        for character in text.chars() {
            match character {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                '\u{8}' => self.out.push_str("\\b"),
                '\u{c}' => self.out.push_str("\\f"),
                '\0'..='\u{1f}' => {
                    // Writing to a String does not fail.
                    let _ = write!(self.out, "\\u{:04x}", u32::from(character));
                }
                _ => self.out.push(character),
            }
        }
        self.out.push('"');
    }
}

/// `strftime_now(format)` for one rendering.
pub(super) fn strftime_now(now_unix_ms: i64) -> Value {
    Value::from_function(move |format: &str, rest: Rest<Value>| -> Result<String, Error> {
        if !rest.is_empty() {
            return Err(Error::from(ErrorKind::TooManyArguments));
        }
        Ok(super::date::strftime(format, now_unix_ms))
    })
}
