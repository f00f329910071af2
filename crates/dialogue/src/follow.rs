//! From tokens to the parts of what a model says.

use std::sync::Arc;

use base::TokenId;
use models::tokenizer::{Detokenizer, Tokenizer};

use crate::answer::Part;
use crate::calls::{CallPiece, CallReader, Markup};
use crate::split::{CLOSING, OPENING, Place, Splitter, Start, Stretch, Tag};

/// The tags, where each is a token of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TagTokens {
    pub(crate) opening: TokenId,
    pub(crate) closing: TokenId,
}

/// A piece of the text, in order and without gaps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Text of a part, never empty.
    Text(Part, String),
    /// So many bytes that are no text of the answer: tags, trimmed line ends, the markup of calls and their arguments.
    Passed(usize),
    /// A call of this tool begins.
    CallBegins(String),
    /// More of its arguments.
    CallArguments(String),
}

/// Text that became certain.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    /// Its bytes.
    pub(crate) bytes: usize,
    /// What it is.
    pub(crate) pieces: Vec<Piece>,
}

/// Follows what a model says: detokenises, splits off the reasoning, reads calls. Who reads the answer and who steers
/// the model have one each, so that they agree on where it is.
#[derive(Clone)]
pub(crate) struct Follower {
    tokenizer: Arc<Tokenizer>,
    detokenizer: Detokenizer,
    tags: Option<TagTokens>,
    splitter: Splitter,
    calls: Option<(Arc<Markup>, CallReader)>,
}

impl std::fmt::Debug for Follower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follower").field("place", &self.splitter.place()).finish_non_exhaustive()
    }
}

impl Follower {
    /// A follower of an answer that begins at `start`; `calls` for the markup of calls, if calls are looked for.
    pub(crate) fn new(
        tokenizer: Arc<Tokenizer>,
        start: Start,
        tags: Option<TagTokens>,
        calls: Option<Arc<Markup>>,
    ) -> Self {
        let calls = calls.map(|markup| {
            let reader = CallReader::new(&markup);
            (markup, reader)
        });
        let splitter = Splitter::new(start, tags.is_none());
        Self { tokenizer, detokenizer: Detokenizer::default(), tags, splitter, calls }
    }

    /// Where in the answer what comes next is, calls aside.
    pub(crate) fn place(&self) -> Place {
        self.splitter.place()
    }

    /// Whether the reasoning was closed.
    pub(crate) fn closed(&self) -> bool {
        self.splitter.closed()
    }

    /// Whether calls have begun.
    pub(crate) fn in_calls(&self) -> bool {
        self.calls.as_ref().is_some_and(|(_, reader)| reader.in_calls())
    }

    /// The text that is held back where a text may begin calls. None where none may: in the reasoning, in calls, and
    /// in models that begin them with a token.
    pub(crate) fn held(&self) -> Option<&str> {
        let (_, reader) = self.calls.as_ref()?;
        match self.place() {
            Place::Reasoning => None,
            Place::Undecided => reader.held().map(|_| self.splitter.held()),
            Place::ContentBegins | Place::Content => reader.held(),
        }
    }

    /// The text that is held back because it may be the beginning of a tag.
    pub(crate) fn held_tag(&self) -> &str {
        self.splitter.held()
    }

    /// Where calls would begin if this text came: behind how many bytes of it.
    pub(crate) fn begin_in(&self, text: &[u8]) -> Option<usize> {
        let (_, reader) = self.calls.as_ref()?;
        let held = match self.place() {
            Place::Undecided => self.splitter.held().as_bytes(),
            _ => return reader.begin_in(text),
        };
        reader.begin_in(&[held, text].concat())?.checked_sub(held.len())
    }

    /// Takes the next token: the text that it ended before it began, and its own.
    pub(crate) fn push(&mut self, id: TokenId) -> (Said, Said) {
        if let Some((tag, literal)) = self.tag(id) {
            // A tag cuts a character in two as any other text would.
            let before = self.end_character();
            let stretches = self.splitter.push_tag(tag, literal);
            return (before, Said { bytes: literal.len(), pieces: self.pieces(stretches) });
        }
        if let Some(literal) = self.calls.as_ref().and_then(|(markup, _)| markup.text(id)) {
            let before = self.end_character();
            return (before, Said { bytes: literal.len(), pieces: self.mark(id, literal) });
        }
        let text = self.detokenizer.push(&self.tokenizer, id);
        (Said::default(), self.text(&text))
    }

    /// Gives what was held back: nothing more comes.
    pub(crate) fn finish(&mut self) -> Said {
        let mut said = self.end_character();
        let stretches = self.splitter.finish();
        said.pieces.extend(self.pieces(stretches));
        if let Some((_, reader)) = &mut self.calls {
            said.pieces.extend(reader.finish().into_iter().map(piece));
        }
        said
    }

    fn tag(&self, id: TokenId) -> Option<(Tag, &'static str)> {
        let tags = self.tags?;
        if id == tags.opening {
            return Some((Tag::Opening, OPENING));
        }
        (id == tags.closing).then_some((Tag::Closing, CLOSING))
    }

    fn end_character(&mut self) -> Said {
        let text = self.detokenizer.finish();
        self.text(&text)
    }

    fn text(&mut self, text: &str) -> Said {
        if text.is_empty() {
            return Said::default();
        }
        let stretches = self.splitter.push(text);
        Said { bytes: text.len(), pieces: self.pieces(stretches) }
    }

    /// A token of the markup of calls.
    fn mark(&mut self, id: TokenId, literal: &str) -> Vec<Piece> {
        let mut stretches = self.splitter.push(literal);
        let begins = |(markup, reader): &(Arc<Markup>, CallReader)| {
            markup.begin_token() == Some(id) && !reader.in_calls()
        };
        let in_content = self.splitter.place() == Place::Content;
        if !in_content || !self.calls.as_ref().is_some_and(begins) {
            return self.pieces(stretches);
        }
        // Where the content begins, what was held back comes in the same stretch.
        if let Some(last) = stretches.last_mut() {
            last.text.truncate(last.text.len() - literal.len());
        }
        stretches.retain(|stretch| !stretch.text.is_empty());
        let mut pieces = self.pieces(stretches);
        if let Some((_, reader)) = &mut self.calls {
            pieces.extend(reader.begin(literal).into_iter().map(piece));
        }
        pieces
    }

    fn pieces(&mut self, stretches: Vec<Stretch>) -> Vec<Piece> {
        let mut pieces = Vec::new();
        for Stretch { part, text } in stretches {
            match (part, &mut self.calls) {
                (None, _) => pieces.push(Piece::Passed(text.len())),
                (Some(Part::Content), Some((_, reader))) => {
                    pieces.extend(reader.push(&text).into_iter().map(piece));
                }
                (Some(part), _) => pieces.push(Piece::Text(part, text)),
            }
        }
        pieces
    }
}

fn piece(piece: CallPiece) -> Piece {
    match piece {
        CallPiece::Content(text) => Piece::Text(Part::Content, text),
        CallPiece::Passed(bytes) => Piece::Passed(bytes),
        CallPiece::Begins(name) => Piece::CallBegins(name),
        CallPiece::Arguments(text) => Piece::CallArguments(text),
    }
}
