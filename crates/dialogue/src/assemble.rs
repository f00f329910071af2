//! From generated tokens to pieces of the answer.

use std::collections::VecDeque;
use std::sync::Arc;

use base::TokenId;
use engine::GeneratedToken;
use models::tokenizer::{Detokenizer, Tokenizer};

use crate::answer::{Delta, Part, TokenLogprob, TopLogprob};
use crate::matcher::Matcher;
use crate::split::{CLOSING, OPENING, Splitter, Start, Stretch, Tag};

/// The tags, where each is a token of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TagTokens {
    pub(crate) opening: TokenId,
    pub(crate) closing: TokenId,
}

/// What became of a token.
#[derive(Debug, Default)]
pub(crate) struct Pushed {
    pub(crate) deltas: Vec<Delta>,
    /// A stop string was found: the answer ends here.
    pub(crate) stopped: bool,
}

/// Tokens in, pieces of the answer out: detokenises, splits off the reasoning, cuts at stop strings.
///
/// Text is counted in bytes from the beginning of all that was detokenised, tags and trimmed text included, so
/// that each log-probability finds the piece in which its token begins.
pub(crate) struct Assembler {
    tokenizer: Arc<Tokenizer>,
    detokenizer: Detokenizer,
    tags: Option<TagTokens>,
    splitter: Splitter,
    stops: Matcher,
    logprobs: bool,
    /// Bytes detokenised.
    read: usize,
    /// Bytes given out or dropped.
    given: usize,
    /// Log-probabilities of tokens whose text hasn't been given out.
    waiting: VecDeque<Waiting>,
    tokens: usize,
    reasoning_tokens: usize,
    stopped: bool,
}

impl std::fmt::Debug for Assembler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Assembler").field("tokens", &self.tokens).finish_non_exhaustive()
    }
}

struct Waiting {
    /// Where its text begins.
    start: usize,
    /// Where its text ends; none while it has only a part of a character.
    end: Option<usize>,
    logprob: TokenLogprob,
}

/// How to read what a model says.
#[derive(Debug, Clone)]
pub(crate) struct Reading<'a> {
    pub(crate) start: Start,
    pub(crate) tags: Option<TagTokens>,
    pub(crate) stop: &'a [String],
    pub(crate) logprobs: bool,
}

impl Assembler {
    pub(crate) fn new(tokenizer: Arc<Tokenizer>, reading: &Reading<'_>) -> Self {
        Self {
            tokenizer,
            detokenizer: Detokenizer::default(),
            tags: reading.tags,
            splitter: Splitter::new(reading.start, reading.tags.is_none()),
            stops: Matcher::new(reading.stop.iter().map(String::as_str)),
            logprobs: reading.logprobs,
            read: 0,
            given: 0,
            waiting: VecDeque::new(),
            tokens: 0,
            reasoning_tokens: 0,
            stopped: false,
        }
    }

    /// Tokens pushed.
    pub(crate) fn tokens(&self) -> usize {
        self.tokens
    }

    /// Those of them up to and with the end of the reasoning.
    pub(crate) fn reasoning_tokens(&self) -> usize {
        if self.splitter.reasoning() { self.tokens } else { self.reasoning_tokens }
    }

    /// Takes the next token.
    pub(crate) fn push(&mut self, token: GeneratedToken) -> Pushed {
        self.tokens += 1;
        let closed = self.splitter.closed();
        let tag = self.tag(token.id);
        let mut deltas = Vec::new();
        if tag.is_some() {
            // A tag cuts a character in two as any other text would.
            let text = self.detokenizer.finish();
            self.text(&text, &mut deltas);
        }
        let id = token.id;
        if self.logprobs {
            let logprob = self.logprob(token);
            self.waiting.push_back(Waiting { start: self.read, end: None, logprob });
        }
        if let Some((tag, literal)) = tag {
            self.note_read(literal.len());
            let stretches = self.splitter.push_tag(tag, literal);
            self.take(stretches, &mut deltas);
        } else {
            let text = self.detokenizer.push(&self.tokenizer, id);
            self.text(&text, &mut deltas);
        }
        if self.splitter.closed() && !closed {
            self.reasoning_tokens = self.tokens;
        }
        Pushed { deltas, stopped: self.stopped }
    }

    /// Gives what was held back: nothing more comes.
    pub(crate) fn finish(&mut self) -> Vec<Delta> {
        let mut deltas = Vec::new();
        let text = self.detokenizer.finish();
        self.text(&text, &mut deltas);
        let stretches = self.splitter.finish();
        self.take(stretches, &mut deltas);
        if !self.stopped {
            let held = self.stops.finish();
            self.give(Part::Content, held, &mut deltas);
        }
        deltas
    }

    fn tag(&self, id: TokenId) -> Option<(Tag, &'static str)> {
        let tags = self.tags?;
        if id == tags.opening {
            return Some((Tag::Opening, OPENING));
        }
        (id == tags.closing).then_some((Tag::Closing, CLOSING))
    }

    fn text(&mut self, text: &str, deltas: &mut Vec<Delta>) {
        if text.is_empty() {
            return;
        }
        self.note_read(text.len());
        let stretches = self.splitter.push(text);
        self.take(stretches, deltas);
    }

    /// Counts text, which ends the tokens that were waiting for it.
    fn note_read(&mut self, bytes: usize) {
        self.read += bytes;
        for waiting in self.waiting.iter_mut().rev().take_while(|waiting| waiting.end.is_none()) {
            waiting.end = Some(self.read);
        }
    }

    fn take(&mut self, stretches: Vec<Stretch>, deltas: &mut Vec<Delta>) {
        for Stretch { part, text } in stretches {
            match part {
                _ if self.stopped => return,
                None => self.pass_over(text.len()),
                Some(Part::Reasoning) => self.give(Part::Reasoning, text, deltas),
                Some(Part::Content) => {
                    let found = self.stops.push(&text);
                    self.stopped = found.hit.is_some();
                    self.give(Part::Content, found.released, deltas);
                }
            }
        }
    }

    /// Drops text that is no part of the answer, and the tokens of which it is all.
    fn pass_over(&mut self, bytes: usize) {
        self.given += bytes;
        let given = self.given;
        self.waiting.retain(|waiting| waiting.end.is_none_or(|end| end > given));
    }

    fn give(&mut self, part: Part, text: String, deltas: &mut Vec<Delta>) {
        if text.is_empty() {
            return;
        }
        self.given += text.len();
        let begun = self.waiting.iter().take_while(|waiting| waiting.start < self.given).count();
        let tokens = self.waiting.drain(..begun).map(|waiting| waiting.logprob);
        match deltas.last_mut() {
            Some(last) if last.part == part => {
                last.text.push_str(&text);
                last.tokens.extend(tokens);
            }
            _ => deltas.push(Delta { part, text, tokens: tokens.collect() }),
        }
    }

    fn logprob(&self, token: GeneratedToken) -> TokenLogprob {
        let (text, bytes) = self.spell(token.id);
        let top = token.top.into_iter().map(|(id, logprob)| {
            let (text, bytes) = self.spell(id);
            TopLogprob { id, text, bytes, logprob }
        });
        TokenLogprob { id: token.id, text, bytes, logprob: token.logprob, top: top.collect() }
    }

    /// Text and bytes of one token; a control token's name, though it gives the answer nothing.
    fn spell(&self, id: TokenId) -> (String, Vec<u8>) {
        let bytes = self.tokenizer.token_bytes(id);
        if bytes.is_empty() {
            let name = self.tokenizer.token_text(id).unwrap_or_default();
            return (name.to_owned(), name.as_bytes().to_vec());
        }
        (String::from_utf8_lossy(bytes).into_owned(), bytes.to_vec())
    }
}
