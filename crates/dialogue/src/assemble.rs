//! From generated tokens to pieces of the answer.

use std::collections::VecDeque;
use std::sync::Arc;

use base::{Rng, TokenId};
use engine::{CacheScope, GeneratedToken};
use models::tokenizer::Tokenizer;

use crate::answer::{Delta, Part, TokenLogprob, ToolCallStart, ToolDelta, TopLogprob};
use crate::calls::Markup;
use crate::follow::{Follower, Piece, Said, TagTokens};
use crate::matcher::Matcher;
use crate::memory::Memory;
use crate::split::{Place, Start};

/// Letters and digits of a call's id, after `call_`.
const CALL_ID_CHARS: usize = 24;

/// A piece of the answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Output {
    Text(Delta),
    Call(ToolDelta),
}

/// What became of a token.
#[derive(Debug, Default)]
pub(crate) struct Pushed {
    pub(crate) outputs: Vec<Output>,
    /// This stop string was found, by its place among the request's: the answer ends here.
    pub(crate) stopped: Option<usize>,
}

/// Tokens in, pieces of the answer out: what [`Follower`] reads, cut at stop strings.
///
/// Text is counted in bytes from the beginning of all that was detokenised, tags and trimmed text included, so
/// that each log-probability finds the piece in which its token begins.
pub(crate) struct Assembler {
    tokenizer: Arc<Tokenizer>,
    follower: Follower,
    stops: Matcher,
    /// For the ids of calls.
    rng: Rng,
    logprobs: bool,
    /// Bytes detokenised.
    read: usize,
    /// Bytes given out or dropped.
    given: usize,
    /// Log-probabilities of tokens whose text hasn't been given out.
    waiting: VecDeque<Waiting>,
    tokens: usize,
    reasoning_tokens: usize,
    calls: usize,
    stopped: Option<usize>,
    /// Where to keep the tokens, whose they are, and the tokens so far, prompt and answer.
    remembered: Option<(Arc<Memory>, CacheScope, Vec<TokenId>)>,
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
    /// The markup of calls, if they are looked for.
    pub(crate) calls: Option<Arc<Markup>>,
    pub(crate) stop: &'a [String],
    pub(crate) logprobs: bool,
}

impl Assembler {
    pub(crate) fn new(tokenizer: Arc<Tokenizer>, reading: &Reading<'_>, rng: Rng) -> Self {
        Self {
            follower: Follower::new(
                Arc::clone(&tokenizer),
                reading.start,
                reading.tags,
                reading.calls.as_ref().map(Arc::clone),
            ),
            tokenizer,
            stops: Matcher::new(reading.stop.iter().map(String::as_str)),
            rng,
            logprobs: reading.logprobs,
            read: 0,
            given: 0,
            waiting: VecDeque::new(),
            tokens: 0,
            reasoning_tokens: 0,
            calls: 0,
            stopped: None,
            remembered: None,
        }
    }

    /// Keeps the tokens of the answer, behind those of its prompt, when it is finished.
    pub(crate) fn remember(&mut self, memory: Arc<Memory>, scope: CacheScope, prompt: Vec<TokenId>) {
        self.remembered = Some((memory, scope, prompt));
    }

    /// Tokens pushed.
    pub(crate) fn tokens(&self) -> usize {
        self.tokens
    }

    /// Those of them up to and with the end of the reasoning.
    pub(crate) fn reasoning_tokens(&self) -> usize {
        if self.follower.place() == Place::Reasoning { self.tokens } else { self.reasoning_tokens }
    }

    /// Calls that have begun.
    pub(crate) fn calls(&self) -> usize {
        self.calls
    }

    /// Takes the next token.
    pub(crate) fn push(&mut self, token: GeneratedToken) -> Pushed {
        self.tokens += 1;
        if let Some((.., tokens)) = &mut self.remembered {
            tokens.push(token.id);
        }
        let closed = self.follower.closed();
        let mut outputs = Vec::new();
        let (before, own) = self.follower.push(token.id);
        self.take(before, &mut outputs);
        if self.logprobs {
            let logprob = self.logprob(token);
            self.waiting.push_back(Waiting { start: self.read, end: None, logprob });
        }
        self.take(own, &mut outputs);
        if self.follower.closed() && !closed {
            self.reasoning_tokens = self.tokens;
        }
        Pushed { outputs, stopped: self.stopped }
    }

    /// Gives what was held back: nothing more comes.
    pub(crate) fn finish(&mut self) -> Vec<Output> {
        if let Some((memory, scope, tokens)) = self.remembered.take()
            && self.tokens > 0
        {
            memory.keep(scope, tokens);
        }
        let mut outputs = Vec::new();
        let said = self.follower.finish();
        self.take(said, &mut outputs);
        if self.stopped.is_none() {
            self.end_stops(&mut outputs);
        }
        outputs
    }

    /// A token of the prompt with its log-probability.
    pub(crate) fn prompt_logprob(&self, token: GeneratedToken) -> TokenLogprob {
        self.logprob(token)
    }

    fn take(&mut self, said: Said, outputs: &mut Vec<Output>) {
        self.note_read(said.bytes);
        for piece in said.pieces {
            match piece {
                _ if self.stopped.is_some() => return,
                Piece::Passed(bytes) => {
                    // Nothing that ends here was a stop string.
                    self.end_stops(outputs);
                    self.pass_over(bytes);
                }
                Piece::Text(Part::Reasoning, text) => self.give(Part::Reasoning, text, outputs),
                Piece::Text(Part::Content, text) => {
                    let found = self.stops.push(&text);
                    self.stopped = found.hit.map(|hit| hit.needle);
                    self.give(Part::Content, found.released, outputs);
                }
                Piece::CallBegins(name) => {
                    self.calls += 1;
                    let begins = Some(ToolCallStart { id: self.call_id(), name });
                    let index = self.calls - 1;
                    outputs.push(Output::Call(ToolDelta { index, begins, arguments: String::new() }));
                }
                Piece::CallArguments(text) => self.arguments(&text, outputs),
            }
        }
    }

    fn arguments(&mut self, text: &str, outputs: &mut Vec<Output>) {
        match outputs.last_mut() {
            Some(Output::Call(last)) => last.arguments.push_str(text),
            _ => {
                let index = self.calls.saturating_sub(1);
                outputs.push(Output::Call(ToolDelta { index, begins: None, arguments: text.to_owned() }));
            }
        }
    }

    fn call_id(&mut self) -> String {
        const LETTERS: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        let letter = |_| char::from(LETTERS[self.rng.below(LETTERS.len())]);
        format!("call_{}", (0..CALL_ID_CHARS).map(letter).collect::<String>())
    }

    /// Counts text, which ends the tokens that were waiting for it.
    fn note_read(&mut self, bytes: usize) {
        if bytes == 0 {
            return;
        }
        self.read += bytes;
        for waiting in self.waiting.iter_mut().rev().take_while(|waiting| waiting.end.is_none()) {
            waiting.end = Some(self.read);
        }
    }

    /// Gives the text that might have become a stop string.
    fn end_stops(&mut self, outputs: &mut Vec<Output>) {
        let held = self.stops.finish();
        self.give(Part::Content, held, outputs);
    }

    /// Drops text that is no part of the answer, and the tokens of which it is all.
    fn pass_over(&mut self, bytes: usize) {
        self.given += bytes;
        let given = self.given;
        self.waiting.retain(|waiting| waiting.end.is_none_or(|end| end > given));
    }

    fn give(&mut self, part: Part, text: String, outputs: &mut Vec<Output>) {
        if text.is_empty() {
            return;
        }
        self.given += text.len();
        let begun = self.waiting.iter().take_while(|waiting| waiting.start < self.given).count();
        let tokens = self.waiting.drain(..begun).map(|waiting| waiting.logprob);
        match outputs.last_mut() {
            Some(Output::Text(last)) if last.part == part => {
                last.text.push_str(&text);
                last.tokens.extend(tokens);
            }
            _ => outputs.push(Output::Text(Delta { part, text, tokens: tokens.collect() })),
        }
    }

    fn logprob(&self, token: GeneratedToken) -> TokenLogprob {
        let (text, bytes) = spell(&self.tokenizer, token.id);
        let top = token.top.into_iter().map(|(id, logprob)| {
            let (text, bytes) = spell(&self.tokenizer, id);
            TopLogprob { id, text, bytes, logprob }
        });
        TokenLogprob { id: token.id, text, bytes, logprob: token.logprob, top: top.collect() }
    }
}

/// Text and bytes of one token; a control token's name, though it gives the answer nothing.
pub(crate) fn spell(tokenizer: &Tokenizer, id: TokenId) -> (String, Vec<u8>) {
    let bytes = tokenizer.token_bytes(id);
    if bytes.is_empty() {
        let name = tokenizer.token_text(id).unwrap_or_default();
        return (name.to_owned(), name.as_bytes().to_vec());
    }
    (String::from_utf8_lossy(bytes).into_owned(), bytes.to_vec())
}
