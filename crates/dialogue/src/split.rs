//! Splits what a thinking model says into reasoning and content.

use crate::answer::Part;
use crate::matcher::Matcher;

/// Begins the reasoning.
pub(crate) const OPENING: &str = "<think>";
/// Ends the reasoning.
pub(crate) const CLOSING: &str = "</think>";

/// One of the two tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tag {
    Opening,
    Closing,
}

/// A stretch of the text, in order and without gaps: what is not `part` of the answer is a tag or trimmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) part: Option<Part>,
    pub(crate) text: String,
}

/// Where the answer begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// With the content: the model doesn't think, or its thinking is closed already.
    Content,
    /// With the reasoning: the prompt ends with the opening tag.
    Reasoning,
    /// In the middle of the reasoning: the prompt ends with the first part of it.
    MidReasoning,
    /// The model itself opens the reasoning, or doesn't.
    Open,
}

/// Where in the answer what comes next is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// It is not known yet whether the reasoning or the content begins.
    Undecided,
    Reasoning,
    /// After the reasoning, before the first character of the content.
    ContentBegins,
    Content,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing but white space came, which is held until it is known what it precedes.
    Undecided,
    /// In the reasoning, of which nothing but line ends came.
    ReasoningBegins,
    Reasoning,
    /// After the reasoning, nothing but line ends came.
    ContentBegins,
    Content,
}

/// The state machine. Which tags count:
/// - an opening tag where the answer begins, white space aside, or where the reasoning begins (a model repeats
///   the one that is in its prompt at times);
/// - the first closing tag in the reasoning.
///
/// Any other tag is text. Line ends at the beginning of the reasoning, and of the content after reasoning, are
/// trimmed, as DeepSeek's API does.
///
/// A tokenizer that has the tags as single tokens calls [`push_tag`](Self::push_tag) for them, and text that
/// spells a tag is then text; for others [`Splitter::new`] is told to look for the tags in the text.
#[derive(Debug, Clone)]
pub(crate) struct Splitter {
    state: State,
    /// Finds the closing tag in the text, if tags come as text.
    closing: Option<Matcher>,
    /// In `Undecided` and `ReasoningBegins`: white space, and then what may be the opening tag.
    held: String,
    closed: bool,
}

impl Splitter {
    /// A splitter for an answer that begins at `start`; `textual` to look for the tags in the text.
    pub(crate) fn new(start: Start, textual: bool) -> Self {
        let state = match start {
            Start::Content => State::Content,
            Start::Reasoning => State::ReasoningBegins,
            Start::MidReasoning => State::Reasoning,
            Start::Open => State::Undecided,
        };
        let closing = textual.then(|| Matcher::new([CLOSING]));
        Self { state, closing, held: String::new(), closed: false }
    }

    /// Whether the reasoning was closed.
    pub(crate) fn closed(&self) -> bool {
        self.closed
    }

    /// Where what comes next is.
    pub(crate) fn place(&self) -> Place {
        match self.state {
            State::Undecided => Place::Undecided,
            State::ReasoningBegins | State::Reasoning => Place::Reasoning,
            State::ContentBegins => Place::ContentBegins,
            State::Content => Place::Content,
        }
    }

    /// The text that is held back.
    pub(crate) fn held(&self) -> &str {
        match (&self.closing, self.state) {
            (Some(closing), State::Reasoning) => closing.held(),
            _ => &self.held,
        }
    }

    /// Takes the next piece of text.
    pub(crate) fn push(&mut self, text: &str) -> Vec<Stretch> {
        let mut stretches = Vec::new();
        let mut rest = text.to_owned();
        while !rest.is_empty() {
            rest = match self.state {
                State::Undecided | State::ReasoningBegins => self.begin(&rest, &mut stretches),
                State::Reasoning => self.reason(rest, &mut stretches),
                State::ContentBegins => self.begin_content(&rest, &mut stretches),
                State::Content => {
                    give(&mut stretches, Some(Part::Content), rest);
                    String::new()
                }
            };
        }
        stretches
    }

    /// Takes a tag that came as a token of its own, which is spelled `literal`.
    pub(crate) fn push_tag(&mut self, tag: Tag, literal: &str) -> Vec<Stretch> {
        let next = match (self.state, tag) {
            (State::Undecided | State::ReasoningBegins, Tag::Opening) => State::ReasoningBegins,
            (State::Undecided | State::ReasoningBegins | State::Reasoning, Tag::Closing) => {
                State::ContentBegins
            }
            (State::Reasoning, Tag::Opening) | (State::ContentBegins | State::Content, _) => {
                return self.push(literal);
            }
        };
        self.state = next;
        self.closed |= tag == Tag::Closing;
        let mut stretches = Vec::new();
        give(&mut stretches, None, std::mem::take(&mut self.held) + literal);
        stretches
    }

    /// Gives what was held back: nothing more comes.
    pub(crate) fn finish(&mut self) -> Vec<Stretch> {
        let mut stretches = Vec::new();
        let held = std::mem::take(&mut self.held);
        match self.state {
            State::Undecided => give(&mut stretches, Some(Part::Content), held),
            State::ReasoningBegins => {
                let (lead, body) = split_lead(&held, is_line_end);
                give(&mut stretches, None, lead.to_owned());
                give(&mut stretches, Some(Part::Reasoning), body.to_owned());
            }
            State::Reasoning => {
                let held = self.closing.as_mut().map(Matcher::finish).unwrap_or_default();
                give(&mut stretches, Some(Part::Reasoning), held);
            }
            State::ContentBegins | State::Content => {}
        }
        stretches
    }

    /// Where the answer or its reasoning begins: decides what does, or holds the text until that is known.
    fn begin(&mut self, text: &str, stretches: &mut Vec<Stretch>) -> String {
        self.held.push_str(text);
        let textual = self.closing.is_some();
        let undecided = self.state == State::Undecided;
        let (lead, body) = if undecided {
            split_lead(&self.held, char::is_whitespace)
        } else {
            split_lead(&self.held, is_line_end)
        };
        if let Some(rest) = body.strip_prefix(OPENING).filter(|_| textual) {
            let rest = rest.to_owned();
            give(stretches, None, format!("{lead}{OPENING}"));
            self.held.clear();
            self.state = State::ReasoningBegins;
            return rest;
        }
        if body.is_empty() || (textual && OPENING.starts_with(body)) {
            return String::new();
        }
        if undecided {
            self.state = State::Content;
            return std::mem::take(&mut self.held);
        }
        let body = body.to_owned();
        give(stretches, None, lead.to_owned());
        self.held.clear();
        self.state = State::Reasoning;
        body
    }

    fn reason(&mut self, text: String, stretches: &mut Vec<Stretch>) -> String {
        let Some(closing) = &mut self.closing else {
            give(stretches, Some(Part::Reasoning), text);
            return String::new();
        };
        let found = closing.push(&text);
        give(stretches, Some(Part::Reasoning), found.released);
        let Some(hit) = found.hit else { return String::new() };
        give(stretches, None, CLOSING.to_owned());
        self.state = State::ContentBegins;
        self.closed = true;
        hit.rest
    }

    fn begin_content(&mut self, text: &str, stretches: &mut Vec<Stretch>) -> String {
        let (lead, body) = split_lead(text, is_line_end);
        give(stretches, None, lead.to_owned());
        if !body.is_empty() {
            self.state = State::Content;
        }
        body.to_owned()
    }
}

fn is_line_end(character: char) -> bool {
    matches!(character, '\n' | '\r')
}

fn split_lead(text: &str, is_lead: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.len() - text.trim_start_matches(is_lead).len())
}

/// Appends text, to the last stretch if it is of the same part.
fn give(stretches: &mut Vec<Stretch>, part: Option<Part>, text: String) {
    if text.is_empty() {
        return;
    }
    match stretches.last_mut() {
        Some(last) if last.part == part => last.text.push_str(&text),
        _ => stretches.push(Stretch { part, text }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn join(pieces: Vec<Vec<Stretch>>) -> (String, String) {
        let mut parts = (String::new(), String::new());
        let mut content_began = false;
        for stretch in pieces.into_iter().flatten() {
            assert!(!stretch.text.is_empty());
            match stretch.part {
                Some(Part::Reasoning) => {
                    assert!(!content_began, "reasoning after content");
                    parts.0.push_str(&stretch.text);
                }
                Some(Part::Content) => {
                    content_began = true;
                    parts.1.push_str(&stretch.text);
                }
                None => {}
            }
        }
        parts
    }

    /// Splits `text` cut in pieces of every size, tags found in the text.
    #[track_caller]
    fn check(start: Start, text: &str, reasoning: &str, content: &str) {
        let characters: Vec<char> = text.chars().collect();
        for size in 1..=characters.len().max(1) {
            let mut splitter = Splitter::new(start, true);
            let mut pieces: Vec<_> = characters
                .chunks(size)
                .map(|piece| splitter.push(&piece.iter().collect::<String>()))
                .collect();
            pieces.push(splitter.finish());
            let total: usize = pieces.iter().flatten().map(|stretch| stretch.text.len()).sum();
            assert_eq!(total, text.len(), "stretches must have no gaps, size {size}");
            assert_eq!(join(pieces), (reasoning.to_owned(), content.to_owned()), "pieces of {size}");
        }
    }

    #[test]
    fn the_model_opens_and_closes() {
        check(Start::Open, "<think>\nhm\n</think>\n\nYes.", "hm\n", "Yes.");
        check(Start::Open, " \n<think>hm</think>Yes.", "hm", "Yes.");
        check(Start::Open, "<think></think>\n\nYes.", "", "Yes.");
        check(Start::Open, "<think>\n\n</think>\n\nYes.", "", "Yes.");
    }

    #[test]
    fn the_template_opened() {
        check(Start::Reasoning, "hm\n</think>\n\nYes.", "hm\n", "Yes.");
        check(Start::Reasoning, "\n</think>\n\nYes.", "", "Yes.");
        check(Start::Reasoning, "</think>Yes.", "", "Yes.");
        check(Start::Reasoning, "<think>\nhm</think>\nYes.", "hm", "Yes.");
        check(Start::Reasoning, "  spaces stay</think>", "  spaces stay", "");
    }

    #[test]
    fn the_model_does_not_think() {
        check(Start::Open, "Yes.", "", "Yes.");
        check(Start::Open, "\n\n  Yes.", "", "\n\n  Yes.");
        check(Start::Open, "<thin ice", "", "<thin ice");
        check(Start::Open, "A tag: <think>not so</think>.", "", "A tag: <think>not so</think>.");
        check(Start::Open, "", "", "");
        check(Start::Open, " \n", "", " \n");
    }

    #[test]
    fn the_end_comes_before_the_closing_tag() {
        check(Start::Reasoning, "hm, let me", "hm, let me", "");
        check(Start::Reasoning, "hm </thin", "hm </thin", "");
        check(Start::Reasoning, "\n\n", "", "");
        check(Start::Reasoning, "\n<th", "<th", "");
        check(Start::Open, "<think>", "", "");
        check(Start::Open, "<thi", "", "<thi");
        check(Start::Open, "<think>\nhm</think>\n", "hm", "");
    }

    #[test]
    fn later_tags_are_text() {
        check(Start::Reasoning, "a<think>b</think>c", "a<think>b", "c");
        check(
            Start::Reasoning,
            "a</think>Use <think> and </think>.\n</think>",
            "a",
            "Use <think> and </think>.\n</think>",
        );
        check(Start::Reasoning, "a</think>\n</think>b", "a", "</think>b");
        check(Start::Content, "<think>a</think>b", "", "<think>a</think>b");
        check(Start::Content, "\n\nb", "", "\n\nb");
    }

    #[test]
    fn spelled_tags_are_text_where_tags_are_tokens() {
        let mut splitter = Splitter::new(Start::Open, false);
        let pieces = vec![
            splitter.push("\n"),
            splitter.push_tag(Tag::Opening, OPENING),
            splitter.push("\n"),
            splitter.push("a </think> b "),
            splitter.push_tag(Tag::Opening, OPENING),
            splitter.push_tag(Tag::Closing, CLOSING),
            splitter.push("\n"),
            splitter.push("\nc "),
            splitter.push_tag(Tag::Opening, OPENING),
            splitter.push_tag(Tag::Closing, CLOSING),
            splitter.finish(),
        ];
        assert!(splitter.closed());
        let expected = ("a </think> b <think>".to_owned(), "c <think></think>".to_owned());
        assert_eq!(join(pieces), expected);
    }

    #[test]
    fn a_closing_token_alone_ends_an_empty_reasoning() {
        let mut splitter = Splitter::new(Start::Open, false);
        let pieces =
            vec![splitter.push(" "), splitter.push_tag(Tag::Closing, CLOSING), splitter.push("\n\nYes.")];
        assert_eq!(join(pieces), (String::new(), "Yes.".to_owned()));
    }
}
