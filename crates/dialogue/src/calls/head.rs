//! The beginning of a call, up to its arguments.

use super::{CallForm, DEEPSEEK_SEPARATOR};

/// Longest beginning of a call, in bytes: a name has at most 64.
const HEAD_BYTES_MAX: usize = 512;

/// What a text is of a call's beginning.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Head<'a> {
    /// A part of one.
    Part,
    /// A whole one.
    Whole {
        /// The tool.
        name: &'a str,
        /// Where the arguments begin: at their brace.
        arguments: usize,
    },
    /// None.
    Not,
}

/// Reads the beginning of a call.
pub(super) fn read(form: CallForm, text: &str) -> Head<'_> {
    let whole = match form {
        CallForm::Hermes | CallForm::Llama => json(text),
        CallForm::DeepSeek => fenced(text),
    };
    match whole {
        Ok((name, arguments)) => Head::Whole { name, arguments },
        Err(Short) if text.len() <= HEAD_BYTES_MAX => Head::Part,
        Err(Short | Other) => Head::Not,
    }
}

/// The text ends before the head does, or it is no head.
enum Miss {
    Short,
    Other,
}
use Miss::{Other, Short};

/// A place in a text.
struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn skip_space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\n', '\r', '\t']).len();
    }

    fn expect(&mut self, literal: &str) -> Result<(), Miss> {
        let rest = self.rest();
        if rest.starts_with(literal) {
            self.at += literal.len();
            return Ok(());
        }
        Err(if literal.starts_with(rest) { Short } else { Other })
    }

    /// The text up to this character, which is passed over.
    fn until(&mut self, end: char) -> Result<&'a str, Miss> {
        let rest = self.rest();
        let length = rest.find(end).ok_or(Short)?;
        self.at += length + end.len_utf8();
        Ok(&rest[..length])
    }

    fn spaced(&mut self, literal: &str) -> Result<(), Miss> {
        self.skip_space();
        self.expect(literal)
    }
}

/// `{"name": "f", "arguments": {`, or with `parameters`.
fn json(text: &str) -> Result<(&str, usize), Miss> {
    let mut cursor = Cursor { text, at: 0 };
    cursor.spaced("{")?;
    cursor.spaced("\"name\"")?;
    cursor.spaced(":")?;
    cursor.spaced("\"")?;
    let name = cursor.until('"')?;
    cursor.spaced(",")?;
    cursor.spaced("\"")?;
    if !matches!(cursor.until('"')?, "arguments" | "parameters") {
        return Err(Other);
    }
    cursor.spaced(":")?;
    arguments(cursor, name)
}

/// `function<｜tool▁sep｜>f\n```json\n{`
fn fenced(text: &str) -> Result<(&str, usize), Miss> {
    let mut cursor = Cursor { text, at: 0 };
    cursor.at = text.find(DEEPSEEK_SEPARATOR).ok_or(Short)? + DEEPSEEK_SEPARATOR.len();
    let name = cursor.until('\n')?.trim();
    cursor.spaced("```json")?;
    arguments(cursor, name)
}

fn arguments<'a>(mut cursor: Cursor<'a>, name: &'a str) -> Result<(&'a str, usize), Miss> {
    cursor.skip_space();
    let begin = cursor.at;
    cursor.expect("{")?;
    Ok((name, begin))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(form: CallForm, text: &str, expected: Option<(&str, &str)>) {
        match (read(form, text), expected) {
            (Head::Whole { name, arguments }, Some(expected)) => {
                assert_eq!((name, &text[arguments..]), expected);
                // Every part of it is a part.
                for end in (0..=arguments).filter(|&end| text.is_char_boundary(end)) {
                    assert_eq!(read(form, &text[..end]), Head::Part, "{:?}", &text[..end]);
                }
            }
            (Head::Not, None) => {}
            (other, _) => panic!("{text:?}: {other:?}"),
        }
    }

    #[test]
    fn heads_are_read() {
        let json = "\n{\"name\": \"f\", \"arguments\": {\"a\"";
        check(CallForm::Hermes, json, Some(("f", "{\"a\"")));
        check(CallForm::Llama, "{\"name\":\"f-1\" , \"parameters\":{}}", Some(("f-1", "{}}")));
        check(CallForm::Hermes, "{\"name\": \"f\", \"args\": {", None);
        check(CallForm::Hermes, "{\"name\": \"f\", \"arguments\": [", None);
        check(CallForm::Hermes, "get_weather(", None);
        check(CallForm::Hermes, &format!("{{\"name\": \"{}", "x".repeat(HEAD_BYTES_MAX)), None);
        let fenced = "function<｜tool▁sep｜>f\n```json\n{\"a\": 1}";
        check(CallForm::DeepSeek, fenced, Some(("f", "{\"a\": 1}")));
        check(CallForm::DeepSeek, "function<｜tool▁sep｜>f\nno", None);
    }
}
