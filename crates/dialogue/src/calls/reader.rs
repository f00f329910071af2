//! Splits what a model says into content and calls.

use super::head::{Head, read};
use super::{CallForm, DEEPSEEK_CALL_BEGIN, Markup};
use crate::matcher::Matcher;

/// A piece of the text, in order and without gaps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CallPiece {
    /// Content, never empty.
    Content(String),
    /// So many bytes of markup and calls, which are no content.
    Passed(usize),
    /// A call of this tool begins, the next one.
    Begins(String),
    /// More of its arguments, never empty.
    Arguments(String),
}

#[derive(Debug, Clone)]
enum State {
    /// In the content, where calls may begin.
    Content(Finder),
    /// In the markup before a call: its beginning is looked for.
    Between(Matcher),
    /// In the beginning of a call: what came of it.
    Head(String),
    /// In the arguments.
    Arguments(Braces),
    /// What comes is content, though it looks like a call.
    Plain,
    /// What comes is nothing.
    Over,
}

/// Finds the text that begins the calls.
#[derive(Debug, Clone)]
enum Finder {
    /// Wherever it is.
    Anywhere(Matcher),
    /// Where the content begins, white space aside: what came of that.
    AtStart(String),
    /// Calls begin with a token alone.
    Nowhere,
}

/// The state machine. Calls begin with a token ([`begin`](Self::begin)) or, in models that don't have it, with a
/// text; whatever comes after the first one is calls.
#[derive(Debug, Clone)]
pub(crate) struct CallReader {
    form: CallForm,
    begin_text: Option<&'static str>,
    state: State,
    calls: usize,
}

impl CallReader {
    pub(crate) fn new(markup: &Markup) -> Self {
        let begin_text = markup.begin_text();
        let finder = match (markup.form, begin_text) {
            (CallForm::Llama, _) => Finder::AtStart(String::new()),
            (_, Some(text)) => Finder::Anywhere(Matcher::new([text])),
            (_, None) => Finder::Nowhere,
        };
        Self { form: markup.form, begin_text, state: State::Content(finder), calls: 0 }
    }

    /// Whether calls have begun.
    pub(crate) fn in_calls(&self) -> bool {
        !matches!(self.state, State::Content(_) | State::Plain)
    }

    /// Where calls begin with a text: what would have come of it with this text behind what is held back. The end
    /// of the first beginning in it, counted from the end of what is held back.
    pub(crate) fn begin_in(&self, text: &[u8]) -> Option<usize> {
        let State::Content(finder) = &self.state else { return None };
        let needle = self.begin_text?.as_bytes();
        let (held, start) = match finder {
            Finder::Nowhere => return None,
            Finder::Anywhere(matcher) => (matcher.held(), false),
            Finder::AtStart(held) => (held.as_str(), true),
        };
        let all = [held.as_bytes(), text].concat();
        let from = if start { all.iter().take_while(|byte| byte.is_ascii_whitespace()).count() } else { 0 };
        let mut places = all[from..].windows(needle.len());
        let place = if start {
            places.next().filter(|&window| window == needle).map(|_| 0)
        } else {
            places.position(|window| window == needle)
        };
        (from + place? + needle.len()).checked_sub(held.len())
    }

    /// What is held back, where a text may begin calls.
    pub(crate) fn held(&self) -> Option<&str> {
        match &self.state {
            State::Content(Finder::Anywhere(matcher)) => Some(matcher.held()),
            State::Content(Finder::AtStart(held)) => Some(held),
            _ => None,
        }
    }

    /// The token that begins the calls came; it is spelled `literal`.
    pub(crate) fn begin(&mut self, literal: &str) -> Vec<CallPiece> {
        let mut pieces = Vec::new();
        let held = match &mut self.state {
            State::Content(Finder::Anywhere(matcher)) => matcher.finish(),
            State::Content(Finder::AtStart(held)) => std::mem::take(held),
            State::Content(Finder::Nowhere) => String::new(),
            _ => return self.push(literal),
        };
        content(&mut pieces, held);
        pieces.push(CallPiece::Passed(literal.len()));
        self.state = match self.form {
            CallForm::Hermes | CallForm::Llama => State::Head(String::new()),
            CallForm::DeepSeek => State::Between(Matcher::new([DEEPSEEK_CALL_BEGIN])),
        };
        pieces
    }

    /// Takes the next piece of text.
    pub(crate) fn push(&mut self, text: &str) -> Vec<CallPiece> {
        let mut pieces = Vec::new();
        let mut rest = text.to_owned();
        while !rest.is_empty() {
            rest = self.step(rest, &mut pieces);
        }
        pieces
    }

    /// Gives what was held back: nothing more comes. A call that was cut in its beginning is none.
    pub(crate) fn finish(&mut self) -> Vec<CallPiece> {
        let mut pieces = Vec::new();
        match std::mem::replace(&mut self.state, State::Over) {
            State::Content(Finder::Anywhere(mut matcher)) => content(&mut pieces, matcher.finish()),
            State::Content(Finder::AtStart(held)) => content(&mut pieces, held),
            State::Between(mut matcher) => pass(&mut pieces, matcher.finish().len()),
            State::Head(head) => pass(&mut pieces, head.len()),
            State::Content(Finder::Nowhere) | State::Arguments(_) | State::Plain | State::Over => {}
        }
        pieces
    }

    /// Takes some of the text and returns the rest.
    fn step(&mut self, text: String, pieces: &mut Vec<CallPiece>) -> String {
        match &mut self.state {
            State::Content(Finder::Nowhere) | State::Plain => {
                content(pieces, text);
                String::new()
            }
            State::Over => {
                pass(pieces, text.len());
                String::new()
            }
            State::Content(Finder::Anywhere(matcher)) => {
                let found = matcher.push(&text);
                content(pieces, found.released);
                let Some(hit) = found.hit else { return String::new() };
                let begin = self.begin_text.unwrap_or_default();
                let mut begun = self.begin(begin);
                pieces.append(&mut begun);
                hit.rest
            }
            State::Content(Finder::AtStart(held)) => {
                held.push_str(&text);
                let held = std::mem::take(held);
                self.start(held, pieces)
            }
            State::Between(matcher) => {
                let found = matcher.push(&text);
                let hit_bytes = found.hit.as_ref().map_or(0, |hit| hit.bytes);
                let Some(hit) = found.hit else {
                    pass(pieces, found.released.len());
                    return String::new();
                };
                // Llama's beginning is a part of the call.
                let head =
                    if self.form == CallForm::Llama { self.begin_text.unwrap_or_default() } else { "" };
                pass(pieces, found.released.len() + hit_bytes - head.len());
                self.state = State::Head(head.to_owned());
                hit.rest
            }
            State::Head(head) => {
                head.push_str(&text);
                let head = std::mem::take(head);
                self.head(head, pieces)
            }
            State::Arguments(braces) => {
                let end = braces.end(&text);
                let (arguments, rest) = text.split_at(end.unwrap_or(text.len()));
                pass(pieces, arguments.len());
                match pieces.iter_mut().rev().find(|piece| !matches!(piece, CallPiece::Passed(_))) {
                    Some(CallPiece::Arguments(more)) => more.push_str(arguments),
                    _ => pieces.push(CallPiece::Arguments(arguments.to_owned())),
                }
                if end.is_some() {
                    self.state = State::Between(Matcher::new([self.next_begin()]));
                }
                rest.to_owned()
            }
        }
    }

    /// What begins a call after another.
    fn next_begin(&self) -> &'static str {
        match self.form {
            CallForm::Hermes => super::HERMES_BEGIN,
            CallForm::Llama => super::LLAMA_BEGIN,
            CallForm::DeepSeek => DEEPSEEK_CALL_BEGIN,
        }
    }

    /// The content begins with `held`.
    fn start(&mut self, held: String, pieces: &mut Vec<CallPiece>) -> String {
        let begin = self.begin_text.unwrap_or_default();
        let body = held.trim_start_matches([' ', '\n', '\r', '\t']);
        if body.starts_with(begin) {
            let (lead, body) = (held.len() - body.len(), body.to_owned());
            pass(pieces, lead);
            self.state = State::Head(String::new());
            return body;
        }
        if begin.starts_with(body) {
            self.state = State::Content(Finder::AtStart(held));
        } else {
            self.state = State::Content(Finder::Nowhere);
            content(pieces, held);
        }
        String::new()
    }

    /// The beginning of a call, as far as it came.
    fn head(&mut self, head: String, pieces: &mut Vec<CallPiece>) -> String {
        match read(self.form, &head) {
            Head::Part => {
                self.state = State::Head(head);
                String::new()
            }
            Head::Whole { name, arguments } => {
                pass(pieces, arguments);
                pieces.push(CallPiece::Begins(name.to_owned()));
                self.calls += 1;
                self.state = State::Arguments(Braces::default());
                head[arguments..].to_owned()
            }
            // Not constrained, or not by us. Before the first call it is what the model says.
            Head::Not if self.calls == 0 => {
                self.state = State::Plain;
                head
            }
            Head::Not => {
                self.state = State::Over;
                head
            }
        }
    }
}

/// Finds the end of a JSON object.
#[derive(Debug, Clone, Default)]
struct Braces {
    depth: usize,
    in_string: bool,
    escaped: bool,
}

impl Braces {
    /// Takes more of the object; where it ends in this text, behind its last brace.
    fn end(&mut self, text: &str) -> Option<usize> {
        for (index, byte) in text.bytes().enumerate() {
            if self.in_string {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => self.in_string = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 0 {
                        return Some(index + 1);
                    }
                }
                _ => {}
            }
        }
        None
    }
}

fn content(pieces: &mut Vec<CallPiece>, text: String) {
    if text.is_empty() {
        return;
    }
    match pieces.last_mut() {
        Some(CallPiece::Content(last)) => last.push_str(&text),
        _ => pieces.push(CallPiece::Content(text)),
    }
}

fn pass(pieces: &mut Vec<CallPiece>, bytes: usize) {
    match pieces.last_mut() {
        _ if bytes == 0 => {}
        Some(CallPiece::Passed(last)) => *last += bytes,
        _ => pieces.push(CallPiece::Passed(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What came of a text: content, calls, bytes of everything.
    #[derive(Debug, Default, PartialEq, Eq)]
    struct Outcome {
        content: String,
        calls: Vec<(String, String)>,
        bytes: usize,
    }

    fn outcome(pieces: impl IntoIterator<Item = CallPiece>) -> Outcome {
        let mut outcome = Outcome::default();
        for piece in pieces {
            match piece {
                CallPiece::Content(text) => {
                    assert!(!text.is_empty() && outcome.calls.is_empty(), "content comes before calls");
                    outcome.bytes += text.len();
                    outcome.content.push_str(&text);
                }
                CallPiece::Passed(bytes) => outcome.bytes += bytes,
                CallPiece::Begins(name) => outcome.calls.push((name, String::new())),
                CallPiece::Arguments(text) => {
                    assert!(!text.is_empty());
                    outcome.calls.last_mut().expect("a call begins before its arguments").1.push_str(&text);
                }
            }
        }
        outcome
    }

    /// The markup of a model without tokens for it.
    fn markup(form: CallForm) -> Markup {
        Markup { form, parallel: true, tokens: Vec::new() }
    }

    fn read_in(form: CallForm, pieces: &[&str]) -> Outcome {
        let mut reader = CallReader::new(&markup(form));
        let mut all: Vec<CallPiece> = pieces.iter().flat_map(|piece| reader.push(piece)).collect();
        all.extend(reader.finish());
        let outcome = outcome(all);
        let total: usize = pieces.iter().map(|piece| piece.len()).sum();
        assert_eq!(outcome.bytes, total, "pieces have no gaps");
        outcome
    }

    /// Reads a text cut at every place and into characters.
    #[track_caller]
    fn check(form: CallForm, text: &str, content: &str, calls: &[(&str, &str)]) {
        let calls = calls.iter().map(|&(name, arguments)| (name.to_owned(), arguments.to_owned())).collect();
        let expected = Outcome { content: content.to_owned(), calls, bytes: text.len() };
        for at in (0..=text.len()).filter(|&at| text.is_char_boundary(at)) {
            assert_eq!(read_in(form, &[&text[..at], &text[at..]]), expected, "cut at {at}");
        }
        let characters: Vec<String> = text.chars().map(String::from).collect();
        assert_eq!(read_in(form, &characters.iter().map(String::as_str).collect::<Vec<_>>()), expected);
    }

    #[test]
    fn calls_of_hermes() {
        let form = CallForm::Hermes;
        let arguments = "{\"a\": \"}{\\\"]\", \"b\": [{\"</tool_call>\": 1}]}";
        let call = format!("<tool_call>\n{{\"name\": \"f\", \"arguments\": {arguments}}}\n</tool_call>");
        check(form, &call, "", &[("f", arguments)]);
        check(form, &format!("Well <tool_x {call}"), "Well <tool_x ", &[("f", arguments)]);
        check(form, &format!("{call}\n{call}"), "", &[("f", arguments), ("f", arguments)]);
        check(form, "no calls <tool_call", "no calls <tool_call", &[]);
        // Cut.
        check(form, "So <tool_call>\n{\"name\": \"f", "So ", &[]);
        let cut = "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": [1";
        check(form, cut, "", &[("f", "{\"a\": [1")]);
        check(form, &call[..call.len() - 4], "", &[("f", arguments)]);
        // Nothing that can be read.
        check(form, "<tool_call>f()</tool_call>", "f()</tool_call>", &[]);
        check(form, &format!("{call}<tool_call>f()"), "", &[("f", arguments)]);
    }

    #[test]
    fn calls_of_llama() {
        let form = CallForm::Llama;
        let call = "{\"name\": \"f\", \"parameters\": {\"a\": 1}}";
        check(form, call, "", &[("f", "{\"a\": 1}")]);
        check(form, &format!(" \n{call}; {call}"), "", &[("f", "{\"a\": 1}"), ("f", "{\"a\": 1}")]);
        check(form, &format!("So: {call}"), &format!("So: {call}"), &[]);
        check(form, "{\"na", "{\"na", &[]);
        check(form, "{\"name\": 1}", "{\"name\": 1}", &[]);
        check(form, " ", " ", &[]);
    }

    #[test]
    fn calls_of_deepseek() {
        let form = CallForm::DeepSeek;
        let call =
            "<｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n{\"a\": 1}\n```<｜tool▁call▁end｜>";
        let calls = format!("<｜tool▁calls▁begin｜>{call}\n{call}<｜tool▁calls▁end｜>");
        check(form, &calls, "", &[("f", "{\"a\": 1}"), ("f", "{\"a\": 1}")]);
        check(form, &format!("So{calls}"), "So", &[("f", "{\"a\": 1}"), ("f", "{\"a\": 1}")]);
        check(form, "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>func", "", &[]);
    }

    #[test]
    fn calls_that_begin_with_a_token() {
        let mut reader = CallReader::new(&markup(CallForm::Llama));
        let mut pieces = reader.begin("<|python_tag|>");
        assert!(reader.in_calls());
        pieces.extend(reader.push("{\"name\": \"f\", \"parameters\": {}}"));
        pieces.extend(reader.finish());
        let calls = vec![("f".to_owned(), "{}".to_owned())];
        assert_eq!(outcome(pieces), Outcome { content: String::new(), calls, bytes: 45 });
    }

    proptest! {
        #[test]
        fn what_is_read_does_not_depend_on_the_cuts(
            texts in prop::collection::vec(
                prop::sample::select(vec![
                    "<tool_call>", "</tool_call>", "\n", "{", "}", "[", "]", "\"", "\\", ":", ", ", "\"name\": \"f\"",
                    "\"arguments\": ", "<", "tool_", "é", "<tool_call>\n{\"name\": \"f\", \"arguments\": {", "{\"name\":",
                    "<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n{",
                ]),
                0..12,
            ),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
            form in prop::sample::select(vec![CallForm::Hermes, CallForm::Llama, CallForm::DeepSeek]),
        ) {
            let text = texts.concat();
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
            at.retain(|&at| text.is_char_boundary(at));
            at.extend([0, text.len()]);
            at.sort_unstable();
            let pieces: Vec<&str> = at.windows(2).map(|ends| &text[ends[0]..ends[1]]).collect();
            prop_assert_eq!(read_in(form, &pieces), read_in(form, &[&text]));
        }
    }
}
