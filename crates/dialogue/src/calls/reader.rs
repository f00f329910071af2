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

    /// Calls that have begun.
    pub(crate) fn calls(&self) -> usize {
        self.calls
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
        let place = if start { places.next().filter(|&window| window == needle).map(|_| 0) } else {
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
                let head = if self.form == CallForm::Llama { self.begin_text.unwrap_or_default() } else { "" };
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
