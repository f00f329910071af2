//! SentencePiece BPE from token scores.
//!
//! The text starts as characters; the neighbours whose joined text is the token with the best score are joined first,
//! the leftmost of equals, until no two neighbours make a token. This is done here and not with merge ranks in the
//! `tokenizers` crate because ranks cannot say that two joins are equally good, which scores do (every way to split
//! the same token), so long runs of one character came out differently there.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};

use base::TokenId;

use super::error::TokenizerError;
use super::vocab::{TokenKind, TokenizerFacts, Vocab, shorten};

/// What SentencePiece writes for a space.
pub(super) const SPACE: char = '▁';

/// The encoder.
pub(super) struct ScoreBpe {
    /// Tokens that joining may make, with their scores; those that are not to be produced are taken apart again.
    tokens: HashMap<Box<str>, Piece>,
    /// Longest text among `tokens`, in bytes.
    token_bytes_max: usize,
    /// `[256]`: the token for each byte, if the vocabulary has them.
    bytes: Option<Box<[TokenId; 256]>>,
    unknown: Option<TokenId>,
    /// Whether no token has a space after something that is not one, so that words can be joined one by one.
    words_apart: bool,
}

#[derive(Clone, Copy)]
struct Piece {
    id: TokenId,
    score: f32,
    /// An unused token: takes part in joining, and is taken apart where it remains.
    unused: bool,
}

impl ScoreBpe {
    pub(super) fn new(facts: &TokenizerFacts, vocab: &Vocab) -> Result<Self, TokenizerError> {
        if facts.scores.len() != vocab.len() {
            return Err(TokenizerError::Lengths {
                what: "scores",
                allowed: vocab.len(),
                given: facts.scores.len(),
            });
        }
        if let Some((index, &given)) = facts.scores.iter().enumerate().find(|(_, score)| !score.is_finite()) {
            return Err(TokenizerError::Score { index, given });
        }
        let mut tokens = HashMap::new();
        let mut byte_tokens = [None; 256];
        for (id, text, kind) in vocab.iter() {
            match kind {
                TokenKind::Byte => {
                    let byte = byte_of(text).ok_or_else(|| TokenizerError::Merge {
                        detail: format!("byte token {id} is {:?}; expected <0x00> to <0xFF>", shorten(text)),
                    })?;
                    byte_tokens[usize::from(byte)] = Some(id);
                }
                TokenKind::Normal | TokenKind::UserDefined | TokenKind::Unused
                    if !text.is_empty() && !vocab.is_structure(id) =>
                {
                    let unused = kind == TokenKind::Unused;
                    let piece = Piece { id, score: facts.scores[id as usize], unused };
                    // An unused token may repeat the text of another; the other counts.
                    if !unused || !tokens.contains_key(text) {
                        tokens.insert(Box::from(text), piece);
                    }
                }
                _ => {}
            }
        }
        let mut bytes = Box::new([0; 256]);
        let mut all_bytes = true;
        for (slot, id) in bytes.iter_mut().zip(byte_tokens) {
            match id {
                Some(id) => *slot = id,
                None => all_bytes = false,
            }
        }
        let words_apart = tokens.keys().all(|text| !text.trim_start_matches(SPACE).contains(SPACE));
        Ok(Self {
            token_bytes_max: tokens.keys().map(|text| text.len()).max().unwrap_or(0),
            tokens,
            bytes: all_bytes.then_some(bytes),
            unknown: facts.unknown,
            words_apart,
        })
    }

    /// Appends the tokens of a text without structure, in which spaces are already [`SPACE`].
    pub(super) fn encode(&self, text: &str, out: &mut Vec<TokenId>) {
        if !self.words_apart {
            self.encode_word(text, out);
            return;
        }
        let mut start = 0;
        let mut before = SPACE;
        for (at, character) in text.char_indices() {
            if character == SPACE && before != SPACE {
                self.encode_word(&text[start..at], out);
                start = at;
            }
            before = character;
        }
        self.encode_word(&text[start..], out);
    }

    /// The id of a token of text.
    pub(super) fn token_id(&self, token: &str) -> Option<TokenId> {
        self.tokens.get(token).map(|piece| piece.id)
    }

    fn encode_word(&self, text: &str, out: &mut Vec<TokenId>) {
        // What each unused token that was made consists of.
        let mut made: HashMap<&str, usize> = HashMap::new();
        for symbol in self.join(text, &mut made) {
            self.push(symbol, &made, out);
        }
    }

    /// The final symbols of `text`. `made` gets, for every unused token that came up, the length of its left part.
    fn join<'t>(&self, text: &'t str, made: &mut HashMap<&'t str, usize>) -> Vec<&'t str> {
        let mut symbols = Symbols::new(text);
        let mut queue = BinaryHeap::with_capacity(symbols.len());
        for left in 1..symbols.len() {
            self.consider(text, &symbols, left - 1, left, made, &mut queue);
        }
        while let Some(Join { left, right, bytes, .. }) = queue.pop() {
            // An entry is stale if either side was joined with something else since.
            let joined = [left, right].iter().any(|&side| symbols.bytes(side) == 0);
            if joined
                || symbols.bytes(left) + symbols.bytes(right) != bytes
                || symbols.next(left) != Some(right)
            {
                continue;
            }
            symbols.join(left, right);
            if let Some(before) = symbols.before(left) {
                self.consider(text, &symbols, before, left, made, &mut queue);
            }
            if let Some(next) = symbols.next(left) {
                self.consider(text, &symbols, left, next, made, &mut queue);
            }
        }
        symbols.texts(text)
    }

    /// Queues the join of two neighbours if it makes a token.
    fn consider<'t>(
        &self,
        text: &'t str,
        symbols: &Symbols,
        left: usize,
        right: usize,
        made: &mut HashMap<&'t str, usize>,
        queue: &mut BinaryHeap<Join>,
    ) {
        let bytes = symbols.bytes(left) + symbols.bytes(right);
        if bytes > self.token_bytes_max || symbols.bytes(left) == 0 || symbols.bytes(right) == 0 {
            return;
        }
        let start = symbols.start(left);
        let joined = &text[start..start + bytes];
        if let Some(piece) = self.tokens.get(joined) {
            queue.push(Join { score: piece.score, left, right, bytes });
            if piece.unused {
                made.insert(joined, symbols.bytes(left));
            }
        }
    }

    /// Appends one final symbol: as its token, or taken apart, or as bytes, or as the unknown token.
    fn push(&self, symbol: &str, made: &HashMap<&str, usize>, out: &mut Vec<TokenId>) {
        let mut stack = vec![symbol];
        while let Some(symbol) = stack.pop() {
            match self.tokens.get(symbol) {
                Some(piece) if !piece.unused => out.push(piece.id),
                Some(_) if made.contains_key(symbol) => {
                    let (left, right) = symbol.split_at(made[symbol]);
                    stack.extend([right, left]);
                }
                _ => match (&self.bytes, self.unknown) {
                    (Some(bytes), _) => out.extend(symbol.bytes().map(|byte| bytes[usize::from(byte)])),
                    (None, Some(unknown)) => out.push(unknown),
                    (None, None) => {}
                },
            }
        }
    }
}

/// The byte of `<0x41>`.
pub(super) fn byte_of(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    (digits.len() == 2).then(|| u8::from_str_radix(digits, 16).ok()).flatten()
}

/// A join that is possible: best score first, then leftmost.
struct Join {
    score: f32,
    left: usize,
    right: usize,
    /// Length of both together when this was queued.
    bytes: usize,
}

impl Ord for Join {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score).then_with(|| other.left.cmp(&self.left))
    }
}

impl PartialOrd for Join {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Join {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Join {}

/// A text cut into symbols, as a linked list in arrays: `[characters]` each.
struct Symbols {
    start: Vec<usize>,
    /// Zero for a symbol that was joined into the one before it.
    bytes: Vec<usize>,
    before: Vec<usize>,
    next: Vec<usize>,
}

/// No neighbour.
const NONE: usize = usize::MAX;

impl Symbols {
    fn new(text: &str) -> Self {
        let start: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
        let bytes = text.chars().map(char::len_utf8).collect();
        let count = start.len();
        let before = (0..count).map(|index| index.checked_sub(1).unwrap_or(NONE)).collect();
        let next = (1..=count).map(|index| if index == count { NONE } else { index }).collect();
        Self { start, bytes, before, next }
    }

    fn len(&self) -> usize {
        self.start.len()
    }

    fn start(&self, index: usize) -> usize {
        self.start[index]
    }

    fn bytes(&self, index: usize) -> usize {
        self.bytes[index]
    }

    fn before(&self, index: usize) -> Option<usize> {
        (self.before[index] != NONE).then_some(self.before[index])
    }

    fn next(&self, index: usize) -> Option<usize> {
        (self.next[index] != NONE).then_some(self.next[index])
    }

    fn join(&mut self, left: usize, right: usize) {
        self.bytes[left] += self.bytes[right];
        self.bytes[right] = 0;
        self.next[left] = self.next[right];
        if let Some(after) = self.next(left) {
            self.before[after] = left;
        }
    }

    fn texts<'t>(&self, text: &'t str) -> Vec<&'t str> {
        self.start
            .iter()
            .zip(&self.bytes)
            .filter(|&(_, &bytes)| bytes > 0)
            .map(|(&start, &bytes)| &text[start..start + bytes])
            .collect()
    }
}
