//! Byte-level BPE: words from the pre-tokenizer, spelt in the byte alphabet, merged by the `tokenizers` crate.

use base::TokenId;
use tokenizers::Model as _;
use tokenizers::models::bpe::{BPE, Vocab as BpeVocab};
use unicode_normalization::{IsNormalized, UnicodeNormalization as _, is_nfc_quick};

use super::bytes::ByteAlphabet;
use super::error::TokenizerError;
use super::pre::PreTokenizer;
use super::vocab::{TokenKind, TokenizerFacts, Vocab, shorten};

/// A longer run without a place to cut is cut here. Merging takes some 60 bytes of memory for each byte of a word, so
/// this bounds it; only such runs (a megabyte of base64, say) can come out differently from the reference, at the cut.
pub(super) const WORD_BYTES_MAX: usize = 1 << 17;

/// The encoder.
pub(super) struct ByteLevelBpe {
    bpe: BPE,
    pre: PreTokenizer,
    alphabet: ByteAlphabet,
}

impl ByteLevelBpe {
    pub(super) fn new(facts: &TokenizerFacts, vocab: &Vocab) -> Result<Self, TokenizerError> {
        let pre = PreTokenizer::named(facts.pre.as_deref().unwrap_or_default())?;
        // Only text may come out of merging: structure is left out, and a merge that would make it is refused below.
        let text_tokens = vocab
            .iter()
            .filter(|&(id, _, kind)| {
                matches!(kind, TokenKind::Normal | TokenKind::UserDefined | TokenKind::Byte)
                    && !vocab.is_structure(id)
            })
            .map(|(id, text, _)| (text.to_owned(), id))
            .collect::<BpeVocab>();
        let merges = facts
            .merges
            .iter()
            .enumerate()
            .map(|(index, merge)| {
                let (left, right) = split_merge(merge).ok_or_else(|| TokenizerError::Merge {
                    detail: format!(
                        "entry {index} is {:?}; expected two tokens with a space",
                        shorten(merge)
                    ),
                })?;
                for token in [left.to_owned(), right.to_owned(), format!("{left}{right}")] {
                    if !text_tokens.contains_key(token.as_str()) {
                        return Err(TokenizerError::Merge {
                            detail: format!(
                                "entry {index} needs the token {:?}, which is not text of the vocabulary",
                                shorten(&token)
                            ),
                        });
                    }
                }
                Ok((left.to_owned(), right.to_owned()))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let bpe = BPE::builder()
            .vocab_and_merges(text_tokens, merges)
            .ignore_merges(pre.whole_words)
            .build()
            .map_err(|error| TokenizerError::Merge { detail: error.to_string() })?;
        Ok(Self { bpe, pre, alphabet: ByteAlphabet::new() })
    }

    /// Appends the tokens of a text without structure.
    pub(super) fn encode(&self, text: &str, out: &mut Vec<TokenId>) -> Result<(), TokenizerError> {
        let normalized: String;
        let text = if self.pre.normalize && is_nfc_quick(text.chars()) != IsNormalized::Yes {
            normalized = text.nfc().collect();
            &normalized
        } else {
            text
        };
        let mut spelt = String::new();
        self.pre.words(text, &mut |word| {
            for piece in pieces(word) {
                self.alphabet.spell(piece, &mut spelt);
                let tokens = self
                    .bpe
                    .tokenize(&spelt)
                    .map_err(|error| TokenizerError::Internal { detail: error.to_string() })?;
                out.extend(tokens.iter().map(|token| token.id));
            }
            Ok(())
        })
    }

    /// Appends the bytes that a token stands for.
    pub(super) fn read(&self, token: &str, out: &mut Vec<u8>) {
        self.alphabet.read(token, out);
    }

    /// The id of a token of text.
    pub(super) fn token_id(&self, token: &str) -> Option<TokenId> {
        self.bpe.token_to_id(token)
    }
}

/// `left right`; a token may itself begin with a space.
fn split_merge(merge: &str) -> Option<(&str, &str)> {
    let space = merge.char_indices().skip(1).find(|&(_, c)| c == ' ')?.0;
    let (left, right) = (&merge[..space], &merge[space + 1..]);
    (!right.is_empty()).then_some((left, right))
}

/// `word` in pieces of at most [`WORD_BYTES_MAX`], cut between characters.
fn pieces(word: &str) -> impl Iterator<Item = &str> {
    let mut rest = word;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = rest.floor_char_boundary(WORD_BYTES_MAX);
        let (piece, after) = rest.split_at(end);
        rest = after;
        Some(piece)
    })
}
