//! The vocabulary as the model file gives it: facts, checks, and the text and kind of each token.

use std::collections::HashMap;

use base::TokenId;

use super::error::TokenizerError;
use super::fim::FimFacts;

/// Most tokens that a vocabulary may have; the largest published ones have under 300,000.
pub const TOKENS_MAX: usize = 1 << 21;
/// Most merges that a vocabulary may have.
pub const MERGES_MAX: usize = 1 << 22;
/// Longest token that is found whole. The automaton that finds them takes many times their length in memory, and the
/// longest published ones have under 100 bytes.
pub const SPECIAL_BYTES_MAX: usize = 512;
/// Most bytes in all tokens that are found whole; the most in a published vocabulary are some 100,000.
pub const SPECIALS_BYTES_MAX: usize = 1 << 20;

/// What a model file says about its tokenizer (`tokenizer.ggml.*`), before any of it is believed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TokenizerFacts {
    /// `model`: `gpt2` (byte-level BPE) or `llama` (SentencePiece BPE).
    pub model: String,
    /// `pre`: the name of the pre-tokenizer, for byte-level BPE.
    pub pre: Option<String>,
    /// `tokens`: the text of each token, by id.
    pub tokens: Vec<String>,
    /// `token_type`: the kind of each token (see [`TokenKind::from_ggml`]); empty when the file has none.
    pub token_types: Vec<i32>,
    /// `merges`: `left right`, best first; byte-level BPE only.
    pub merges: Vec<String>,
    /// `scores`: the score of each token; SentencePiece only.
    pub scores: Vec<f32>,
    /// `bos_token_id`.
    pub bos: Option<TokenId>,
    /// `eos_token_id`.
    pub eos: Option<TokenId>,
    /// `eot_token_id`: end of turn.
    pub eot: Option<TokenId>,
    /// `eom_token_id`: end of message.
    pub eom: Option<TokenId>,
    /// `unknown_token_id`.
    pub unknown: Option<TokenId>,
    /// `padding_token_id`.
    pub padding: Option<TokenId>,
    /// The tokens for filling in the middle.
    pub fim: FimFacts,
    /// `add_bos_token`.
    pub add_bos: Option<bool>,
    /// `add_space_prefix`: SentencePiece only.
    pub add_space_prefix: Option<bool>,
}

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// Ordinary text.
    Normal,
    /// Stands for what the vocabulary cannot spell.
    Unknown,
    /// Structure of a conversation (`<|im_end|>`): has no text of its own.
    Control,
    /// Added by the model's authors and matched whole (`<think>`, `<tool_call>`): its text is shown.
    UserDefined,
    /// Never produced.
    Unused,
    /// One byte of a character that the vocabulary cannot spell; SentencePiece only.
    Byte,
}

impl TokenKind {
    /// The kind for a number of `tokenizer.ggml.token_type`; unknown numbers count as ordinary text, as 1 does.
    pub fn from_ggml(number: i32) -> Self {
        match number {
            2 => Self::Unknown,
            3 => Self::Control,
            4 => Self::UserDefined,
            5 => Self::Unused,
            6 => Self::Byte,
            _ => Self::Normal,
        }
    }

    /// Whether markup is searched for such tokens.
    pub(super) fn is_found_whole(self) -> bool {
        matches!(self, Self::Control | Self::Unknown | Self::UserDefined)
    }
}

/// How long the lists of a tokenizer are: checked before they are copied out of a file.
#[derive(Clone, Copy)]
pub(super) struct Lengths {
    pub(super) tokens: usize,
    /// 0 when there are none.
    pub(super) token_types: usize,
    pub(super) merges: usize,
    pub(super) scores: usize,
}

impl Lengths {
    fn of(facts: &TokenizerFacts) -> Self {
        Self {
            tokens: facts.tokens.len(),
            token_types: facts.token_types.len(),
            merges: facts.merges.len(),
            scores: facts.scores.len(),
        }
    }

    /// The lengths, if they are within their limits and fit each other.
    pub(super) fn check(self) -> Result<Self, TokenizerError> {
        let Self { tokens, token_types, merges, scores } = self;
        if tokens == 0 || tokens > TOKENS_MAX {
            return Err(TokenizerError::Count { what: "tokens", allowed: TOKENS_MAX, given: tokens });
        }
        for (what, given) in [("token_type", token_types), ("scores", scores)] {
            if given != 0 && given != tokens {
                return Err(TokenizerError::Lengths { what, allowed: tokens, given });
            }
        }
        if merges > MERGES_MAX {
            return Err(TokenizerError::Count { what: "merges", allowed: MERGES_MAX, given: merges });
        }
        Ok(self)
    }
}

/// Control tokens by these names end an answer, whether or not the file names them in its metadata.
const END_NAMES: [&str; 13] = [
    "<|im_end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<|end|>",
    "<|EOT|>",
    "<｜end▁of▁sentence｜>",
    "<end_of_turn>",
    "<EOT>",
    "▁<EOT>",
    "</s>",
    "<|eos|>",
];

/// Tokens by these names mark parts of an answer, so their text is shown even where a file calls them control.
const SHOWN_NAMES: [&str; 4] = ["<think>", "</think>", "<tool_call>", "</tool_call>"];

/// Whether a merge makes this token, so that it is text like any other: Qwen's `</s>` is.
fn is_merged(merges: &[String], token: &str) -> bool {
    // The space stands after at least one character, as in `bpe::split_merge`.
    let joins = |merge: &String| {
        merge.len() == token.len() + 1
            && merge.char_indices().skip(1).any(|(at, c)| {
                c == ' ' && token.starts_with(&merge[..at]) && token.ends_with(&merge[at + 1..])
            })
    };
    merges.iter().any(joins)
}

/// Token texts in one string, and kinds.
pub(super) struct Vocab {
    /// All texts, one after another.
    text: String,
    /// `[tokens]`: where each text ends in `text`.
    ends: Vec<usize>,
    /// `[tokens]`
    kinds: Vec<TokenKind>,
}

impl Vocab {
    /// Takes and checks the token list of `facts`: sizes, duplicates, ids in range.
    pub(super) fn new(facts: &TokenizerFacts) -> Result<Self, TokenizerError> {
        let Lengths { tokens: count, .. } = Lengths::of(facts).check()?;
        let mut kinds: Vec<TokenKind> =
            facts.token_types.iter().map(|&number| TokenKind::from_ggml(number)).collect();
        kinds.resize(count, TokenKind::Normal);
        for (key, id) in named_ids(facts) {
            let kind = kinds.get_mut(id as usize).ok_or(TokenizerError::TokenId {
                key,
                allowed: count,
                given: u64::from(id),
            })?;
            if *kind == TokenKind::Normal {
                *kind = if key == "unknown_token_id" { TokenKind::Unknown } else { TokenKind::Control };
            }
        }
        let mut text = String::with_capacity(facts.tokens.iter().map(String::len).sum());
        let mut ends = Vec::with_capacity(count);
        let mut seen: HashMap<&str, usize> = HashMap::with_capacity(count);
        for (id, token) in facts.tokens.iter().enumerate() {
            let is_end = kinds[id] == TokenKind::Normal && END_NAMES.contains(&token.as_str());
            if is_end && !is_merged(&facts.merges, token) {
                kinds[id] = TokenKind::Control;
            }
            if kinds[id] == TokenKind::Control && SHOWN_NAMES.contains(&token.as_str()) {
                kinds[id] = TokenKind::UserDefined;
            }
            if let Some(first) = seen.insert(token, id)
                && kinds[id] != TokenKind::Unused
                && kinds[first] != TokenKind::Unused
            {
                return Err(TokenizerError::DuplicateToken { text: shorten(token), first, second: id });
            }
            text.push_str(token);
            ends.push(text.len());
        }
        let vocab = Self { text, ends, kinds };
        vocab.check_specials(facts)?;
        Ok(vocab)
    }

    /// Bounds what the automata are made of, and what the metadata names.
    fn check_specials(&self, facts: &TokenizerFacts) -> Result<(), TokenizerError> {
        let named: Vec<TokenId> = named_ids(facts).map(|(_, id)| id).collect();
        let mut sum = 0;
        for (id, text, _) in self.iter().filter(|(id, _, kind)| kind.is_found_whole() || named.contains(id)) {
            let given = text.len();
            if given > SPECIAL_BYTES_MAX {
                return Err(TokenizerError::SpecialTooLong { id, allowed: SPECIAL_BYTES_MAX, given });
            }
            sum += given;
        }
        if sum > SPECIALS_BYTES_MAX {
            return Err(TokenizerError::SpecialsTooLong { allowed: SPECIALS_BYTES_MAX, given: sum });
        }
        Ok(())
    }

    /// How many tokens there are.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The text of a token as the file spells it.
    pub(super) fn text(&self, id: TokenId) -> Option<&str> {
        let id = id as usize;
        let end = *self.ends.get(id)?;
        let start = if id == 0 { 0 } else { self.ends[id - 1] };
        self.text.get(start..end)
    }

    /// The kind of a token.
    pub(super) fn kind(&self, id: TokenId) -> Option<TokenKind> {
        self.kinds.get(id as usize).copied()
    }

    /// All tokens in order of id.
    pub(super) fn iter(&self) -> impl Iterator<Item = (TokenId, &str, TokenKind)> {
        self.kinds
            .iter()
            .enumerate()
            .filter_map(|(id, &kind)| self.text(id as TokenId).map(|text| (id as TokenId, text, kind)))
    }

    /// Whether a token belongs to the structure of a conversation, so that no text of a user may become it.
    pub(super) fn is_structure(&self, id: TokenId) -> bool {
        match self.kind(id) {
            Some(TokenKind::Control | TokenKind::Unknown) => true,
            Some(TokenKind::UserDefined) => self.text(id).is_some_and(looks_like_markup),
            _ => false,
        }
    }

    /// The tokens that end an answer: those the metadata names, then those with a known name; sorted, no doubles.
    pub(super) fn end_tokens(&self, facts: &TokenizerFacts) -> Vec<TokenId> {
        let mut ids: Vec<TokenId> = [facts.eos, facts.eot, facts.eom].into_iter().flatten().collect();
        ids.extend(
            self.iter()
                .filter(|(_, text, kind)| {
                    matches!(kind, TokenKind::Control | TokenKind::UserDefined) && END_NAMES.contains(text)
                })
                .map(|(id, ..)| id),
        );
        ids.sort_unstable();
        ids.dedup();
        ids
    }
}

/// The ids that the metadata names, with the key of each.
fn named_ids(facts: &TokenizerFacts) -> impl Iterator<Item = (&'static str, TokenId)> {
    [
        ("bos_token_id", facts.bos),
        ("eos_token_id", facts.eos),
        ("eot_token_id", facts.eot),
        ("eom_token_id", facts.eom),
        ("unknown_token_id", facts.unknown),
        ("padding_token_id", facts.padding),
    ]
    .into_iter()
    .filter_map(|(key, id)| id.map(|id| (key, id)))
}

/// Whether an added token reads as markup (`<think>`, `<｜User｜>`, `[INST]`) and not as a piece of writing.
/// Files do not tell the two apart: DeepSeek LLM, for one, adds plain letters such as `ö` the same way.
pub(super) fn looks_like_markup(text: &str) -> bool {
    [('<', '>'), ('[', ']'), ('{', '}')]
        .iter()
        .any(|&(open, close)| text.len() > 2 && text.starts_with(open) && text.ends_with(close))
}

/// At most 40 characters of a text, for an error message.
pub(super) fn shorten(text: &str) -> String {
    text.chars().take(40).collect()
}
