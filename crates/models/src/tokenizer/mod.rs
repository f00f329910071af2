//! Text to tokens and back, from what a model file says about its tokenizer.
//!
//! Two algorithms: byte-level BPE (`tokenizer.ggml.model = gpt2`, with the pre-tokenizer that `tokenizer.ggml.pre`
//! names) and SentencePiece BPE (`llama`). A file is hostile input: its lists are checked before use, and an unknown
//! algorithm or pre-tokenizer is an error, because a near miss gives plausible and wrong tokens.
//!
//! # What a user may write
//!
//! A conversation reaches the model as one text in which special tokens (`<|im_end|>`) give the structure. The same
//! characters written by a user must stay text. So special tokens are looked for in [`Part::Markup`] only, and
//! [`Tokenizer::encode_text`] never gives one. Everything between two special tokens is encoded as one text, whichever
//! part it came from, so that the tokens are those of the reference tokenizer.
//!
//! Tokens that a model's authors added without calling them special (`user defined`) are of two sorts that files do
//! not tell apart: markup such as `<think>` and `<｜User｜>`, and plain text such as the letter `ö` in DeepSeek LLM. By
//! their look (between brackets) they are taken for the one or the other; plain ones are found in any text.

mod bpe;
mod bytes;
mod detokenizer;
mod error;
mod fim;
mod pre;
mod spm;
#[cfg(test)]
pub(crate) mod tests;
mod vocab;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use base::TokenId;

pub use self::detokenizer::Detokenizer;
pub use self::error::TokenizerError;
pub use self::fim::{FimFacts, FimTokens};
pub use self::pre::SUPPORTED as SUPPORTED_PRE_TOKENIZERS;
pub use self::vocab::{
    MERGES_MAX, SPECIAL_BYTES_MAX, SPECIALS_BYTES_MAX, TOKENS_MAX, TokenKind, TokenizerFacts,
};

use self::bpe::ByteLevelBpe;
use self::spm::{SPACE, ScoreBpe, byte_of};
use self::vocab::{Lengths, Vocab};
use crate::gguf::Metadata;

/// Longest text that is encoded at once. The longest contexts are a few megabytes of text.
pub const TEXT_BYTES_MAX: usize = 16 << 20;

/// A stretch of a rendered conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// Written by the template: special tokens in it count.
    Markup(&'a str),
    /// Came from a message: special tokens in it are only text.
    User(&'a str),
}

impl<'a> Part<'a> {
    /// The text, whoever wrote it.
    pub fn text(&self) -> &'a str {
        match self {
            Self::Markup(text) | Self::User(text) => text,
        }
    }
}

/// The tokenizer of one model.
pub struct Tokenizer {
    vocab: Vocab,
    encoder: Encoder,
    /// Every token that is found whole in markup, and its ids by pattern.
    markup: Finder,
    /// Added tokens of plain text, which are found whole in any text.
    added_text: Finder,
    /// What each token contributes to an answer, one after another.
    output: Vec<u8>,
    /// `[tokens]`: where each ends in `output`.
    output_ends: Vec<usize>,
    bos: Option<TokenId>,
    eos: Option<TokenId>,
    unknown: Option<TokenId>,
    padding: Option<TokenId>,
    add_bos: bool,
    /// A space is put before each text; SentencePiece only.
    space_prefix: bool,
    end_tokens: Vec<TokenId>,
    fim: Option<FimTokens>,
}

enum Encoder {
    ByteLevel(Box<ByteLevelBpe>),
    Scores(ScoreBpe),
}

impl Tokenizer {
    /// The tokenizer that a GGUF file describes.
    ///
    /// # Errors
    /// When keys are missing or contradict each other, or name something that is not supported.
    pub fn from_gguf(metadata: &Metadata) -> Result<Self, TokenizerError> {
        for key in ["tokenizer.ggml.precompiled_charsmap", "tokenizer.ggml.normalizer.type"] {
            if metadata.get(key).is_some() {
                return Err(TokenizerError::UnsupportedNormalizer { key });
            }
        }
        let key = "tokenizer.ggml.remove_extra_whitespaces";
        if metadata.bool(key)? == Some(true) {
            return Err(TokenizerError::UnsupportedNormalizer { key });
        }
        let length = |key| metadata.array_len(key).unwrap_or(0);
        // A key of the wrong type counts as empty here, and is refused by the readers below.
        if metadata.array_len("tokenizer.ggml.tokens").is_some() {
            Lengths {
                tokens: length("tokenizer.ggml.tokens"),
                token_types: length("tokenizer.ggml.token_type"),
                merges: length("tokenizer.ggml.merges"),
                scores: length("tokenizer.ggml.scores"),
            }
            .check()?;
        }
        let owned = |texts: Vec<&str>| texts.into_iter().map(str::to_owned).collect();
        Self::new(&TokenizerFacts {
            model: metadata.required_str("tokenizer.ggml.model")?.to_owned(),
            pre: metadata.str("tokenizer.ggml.pre")?.map(str::to_owned),
            tokens: owned(metadata.required_strings("tokenizer.ggml.tokens")?),
            token_types: metadata.i32s("tokenizer.ggml.token_type")?.unwrap_or_default(),
            merges: metadata.strings("tokenizer.ggml.merges")?.map(owned).unwrap_or_default(),
            scores: metadata.f32s("tokenizer.ggml.scores")?.unwrap_or_default(),
            bos: metadata.u32("tokenizer.ggml.bos_token_id")?,
            eos: metadata.u32("tokenizer.ggml.eos_token_id")?,
            eot: metadata.u32("tokenizer.ggml.eot_token_id")?,
            eom: metadata.u32("tokenizer.ggml.eom_token_id")?,
            unknown: metadata.u32("tokenizer.ggml.unknown_token_id")?,
            padding: metadata.u32("tokenizer.ggml.padding_token_id")?,
            fim: fim_facts(metadata)?,
            add_bos: metadata.bool("tokenizer.ggml.add_bos_token")?,
            add_space_prefix: metadata.bool("tokenizer.ggml.add_space_prefix")?,
        })
    }

    /// The tokenizer that `facts` describe.
    ///
    /// # Errors
    /// When the facts contradict each other, or name something that is not supported.
    pub fn new(facts: &TokenizerFacts) -> Result<Self, TokenizerError> {
        let vocab = Vocab::new(facts)?;
        let encoder = match facts.model.as_str() {
            "gpt2" => Encoder::ByteLevel(Box::new(ByteLevelBpe::new(facts, &vocab)?)),
            "llama" => Encoder::Scores(ScoreBpe::new(facts, &vocab)?),
            given => return Err(TokenizerError::UnknownModel { given: vocab::shorten(given) }),
        };
        let scores = matches!(encoder, Encoder::Scores(_));
        let markup = Finder::new(vocab.iter().filter(|(_, _, kind)| kind.is_found_whole()))?;
        let added_text = Finder::new(
            vocab.iter().filter(|&(id, _, kind)| kind == TokenKind::UserDefined && !vocab.is_structure(id)),
        )?;
        let (output, output_ends) = output_bytes(&vocab, &encoder);
        let fim = FimTokens::find(&vocab, &facts.fim)?;
        let mut end_tokens = vocab.end_tokens(facts);
        end_tokens.extend(fim.into_iter().flat_map(FimTokens::all));
        end_tokens.sort_unstable();
        end_tokens.dedup();
        Ok(Self {
            markup,
            added_text,
            output,
            output_ends,
            bos: facts.bos,
            eos: facts.eos,
            unknown: facts.unknown,
            padding: facts.padding,
            add_bos: facts.add_bos.unwrap_or(scores) && facts.bos.is_some(),
            space_prefix: scores && facts.add_space_prefix.unwrap_or(true),
            end_tokens,
            fim,
            vocab,
            encoder,
        })
    }

    /// How many tokens the vocabulary has.
    pub fn vocab_size(&self) -> usize {
        self.vocab.len()
    }

    /// The token that begins a sequence.
    pub fn bos(&self) -> Option<TokenId> {
        self.bos
    }

    /// The token that ends a sequence, as the file names it; see also [`Self::end_tokens`].
    pub fn eos(&self) -> Option<TokenId> {
        self.eos
    }

    /// The token for what the vocabulary cannot spell.
    pub fn unknown(&self) -> Option<TokenId> {
        self.unknown
    }

    /// The token that fills up batches.
    pub fn padding(&self) -> Option<TokenId> {
        self.padding
    }

    /// Whether the model expects every sequence to begin with [`Self::bos`].
    pub fn add_bos(&self) -> bool {
        self.add_bos
    }

    /// Whether a space goes before every text, and so is dropped from the front of every answer.
    pub fn adds_space_prefix(&self) -> bool {
        self.space_prefix
    }

    /// Whether an answer ends with this token.
    pub fn is_end(&self, id: TokenId) -> bool {
        self.end_tokens.binary_search(&id).is_ok()
    }

    /// All tokens that end an answer, in order of id: also those for filling in the middle, none of which has a place
    /// in an answer.
    pub fn end_tokens(&self) -> &[TokenId] {
        &self.end_tokens
    }

    /// The tokens for filling in the middle, if the vocabulary has them. Models of a family may share a vocabulary (all
    /// Qwen2.5 models have these) and not all be trained on them.
    pub fn fim(&self) -> Option<FimTokens> {
        self.fim
    }

    /// Encodes plain text. Never gives a special token, whatever the text says, and no [`Self::bos`].
    ///
    /// # Errors
    /// When the text has more than [`TEXT_BYTES_MAX`] bytes.
    pub fn encode_text(&self, text: &str) -> Result<Vec<TokenId>, TokenizerError> {
        check_length(text.len())?;
        let mut out = Vec::with_capacity(text.len() / 3 + 1);
        self.encode_plain(text, &mut out)?;
        Ok(out)
    }

    /// Encodes a rendered conversation: special tokens are found in markup, never in what users wrote. Begins with
    /// [`Self::bos`] exactly once if the model expects it, whether or not the template wrote it.
    ///
    /// # Errors
    /// When the parts together have more than [`TEXT_BYTES_MAX`] bytes.
    pub fn encode_rendered(&self, parts: &[Part<'_>]) -> Result<Vec<TokenId>, TokenizerError> {
        let mut out = self.encode_parts(parts)?;
        if let Some(bos) = self.bos
            && self.add_bos
            && out.first() != Some(&bos)
        {
            out.insert(0, bos);
        }
        Ok(out)
    }

    /// Encodes a text, or a conversation, as it stands: special tokens are found in markup, and [`Self::bos`] is there
    /// only if it was written.
    ///
    /// # Errors
    /// When the parts together have more than [`TEXT_BYTES_MAX`] bytes.
    pub fn encode_parts(&self, parts: &[Part<'_>]) -> Result<Vec<TokenId>, TokenizerError> {
        let length = parts.iter().fold(0_usize, |sum, part| sum.saturating_add(part.text().len()));
        check_length(length)?;
        let mut out = Vec::with_capacity(length / 3 + 1);
        // Text since the last special token.
        let mut text = String::new();
        for part in parts {
            let Part::Markup(markup) = part else {
                text.push_str(part.text());
                continue;
            };
            let mut at = 0;
            for (start, end, id) in self.markup.find(markup) {
                text.push_str(&markup[at..start]);
                self.encode_plain(&text, &mut out)?;
                text.clear();
                out.push(id);
                at = end;
            }
            text.push_str(&markup[at..]);
        }
        self.encode_plain(&text, &mut out)?;
        Ok(out)
    }

    /// The text of a token as the vocabulary spells it: the literal of a special token, the piece of another.
    pub fn token_text(&self, id: TokenId) -> Option<&str> {
        self.vocab.text(id)
    }

    /// The token with exactly this spelling, special or not.
    pub fn token_id(&self, literal: &str) -> Option<TokenId> {
        self.markup.exact(literal).or_else(|| match &self.encoder {
            Encoder::ByteLevel(bpe) => bpe.token_id(literal),
            Encoder::Scores(scores) => scores.token_id(literal),
        })
    }

    /// Whether a token belongs to the structure of a conversation; text of a user never becomes such a token.
    pub fn is_special(&self, id: TokenId) -> bool {
        self.vocab.is_structure(id)
    }

    /// The bytes that a token contributes to an answer; none for control tokens and for ids outside the vocabulary.
    /// They need not be whole characters: see [`Detokenizer`].
    pub fn token_bytes(&self, id: TokenId) -> &[u8] {
        let id = id as usize;
        let Some(&end) = self.output_ends.get(id) else { return &[] };
        let start = if id == 0 { 0 } else { self.output_ends[id - 1] };
        &self.output[start..end]
    }

    /// The text of a whole sequence, special tokens spelled out.
    pub fn decode_all(&self, ids: &[TokenId]) -> String {
        let spelled = |id: TokenId| match self.token_bytes(id) {
            [] => self.token_text(id).unwrap_or_default().as_bytes(),
            bytes => bytes,
        };
        let bytes: Vec<u8> = ids.iter().flat_map(|&id| spelled(id)).copied().collect();
        self.text_of(&bytes)
    }

    /// The text of a whole sequence, without special tokens.
    pub fn decode(&self, ids: &[TokenId]) -> String {
        let bytes: Vec<u8> = ids.iter().flat_map(|&id| self.token_bytes(id)).copied().collect();
        self.text_of(&bytes)
    }

    fn text_of(&self, bytes: &[u8]) -> String {
        let text = match bytes.strip_prefix(b" ") {
            Some(rest) if self.space_prefix => rest,
            _ => bytes,
        };
        String::from_utf8_lossy(text).into_owned()
    }

    /// Appends the tokens of a text in which only added tokens of plain text are found whole.
    fn encode_plain(&self, text: &str, out: &mut Vec<TokenId>) -> Result<(), TokenizerError> {
        if text.is_empty() {
            return Ok(());
        }
        match &self.encoder {
            Encoder::ByteLevel(bpe) => self.between_added(text, out, &|text, out| bpe.encode(text, out)),
            Encoder::Scores(scores) => {
                let mut spaced = String::with_capacity(text.len() + text.len() / 2 + 3);
                spaced.extend(self.space_prefix.then_some(SPACE));
                spaced.extend(text.chars().map(|c| if c == ' ' { SPACE } else { c }));
                self.between_added(&spaced, out, &|text, out| {
                    scores.encode(text, out);
                    Ok(())
                })
            }
        }
    }

    fn between_added(
        &self,
        text: &str,
        out: &mut Vec<TokenId>,
        encode: &dyn Fn(&str, &mut Vec<TokenId>) -> Result<(), TokenizerError>,
    ) -> Result<(), TokenizerError> {
        let mut at = 0;
        for (start, end, id) in self.added_text.find(text) {
            encode(&text[at..start], out)?;
            out.push(id);
            at = end;
        }
        encode(&text[at..], out)
    }
}

/// What metadata says about filling in the middle, under the keys' names of today or of before.
fn fim_facts(metadata: &Metadata) -> Result<FimFacts, TokenizerError> {
    let id = |key, older| match metadata.u32(key)? {
        Some(id) => Ok::<_, TokenizerError>(Some(id)),
        None => Ok(metadata.u32(older)?),
    };
    Ok(FimFacts {
        prefix: id("tokenizer.ggml.fim_pre_token_id", "tokenizer.ggml.prefix_token_id")?,
        suffix: id("tokenizer.ggml.fim_suf_token_id", "tokenizer.ggml.suffix_token_id")?,
        middle: id("tokenizer.ggml.fim_mid_token_id", "tokenizer.ggml.middle_token_id")?,
        pad: metadata.u32("tokenizer.ggml.fim_pad_token_id")?,
        repo: metadata.u32("tokenizer.ggml.fim_rep_token_id")?,
        sep: metadata.u32("tokenizer.ggml.fim_sep_token_id")?,
    })
}

fn check_length(given: usize) -> Result<(), TokenizerError> {
    if given > TEXT_BYTES_MAX {
        return Err(TokenizerError::TextTooLong { allowed: TEXT_BYTES_MAX, given });
    }
    Ok(())
}

/// What each token contributes to an answer, and where each ends.
fn output_bytes(vocab: &Vocab, encoder: &Encoder) -> (Vec<u8>, Vec<usize>) {
    let mut output = Vec::new();
    let mut ends = Vec::with_capacity(vocab.len());
    for (_, text, kind) in vocab.iter() {
        match (kind, encoder) {
            (TokenKind::Control | TokenKind::Unused, _) => {}
            (TokenKind::Unknown, _) => output.extend_from_slice("\u{fffd}".as_bytes()),
            (TokenKind::Byte, _) if byte_of(text).is_some() => output.extend(byte_of(text)),
            (TokenKind::UserDefined, Encoder::ByteLevel(_)) => output.extend_from_slice(text.as_bytes()),
            (_, Encoder::ByteLevel(bpe)) => bpe.read(text, &mut output),
            (_, Encoder::Scores(_)) => output.extend_from_slice(text.replace(SPACE, " ").as_bytes()),
        }
        ends.push(output.len());
    }
    (output, ends)
}

/// Finds tokens that are matched whole: at each place the longest, from left to right.
struct Finder {
    automaton: Option<AhoCorasick>,
    /// `[patterns]`
    ids: Vec<TokenId>,
}

impl Finder {
    fn new<'v>(tokens: impl Iterator<Item = (TokenId, &'v str, TokenKind)>) -> Result<Self, TokenizerError> {
        let (ids, texts): (Vec<TokenId>, Vec<&str>) =
            tokens.filter(|(_, text, _)| !text.is_empty()).map(|(id, text, _)| (id, text)).unzip();
        // Left to choose, the crate builds a DFA for few patterns: up to a kilobyte for each byte of them.
        let mut builder = AhoCorasick::builder();
        builder.match_kind(MatchKind::LeftmostLongest).kind(Some(AhoCorasickKind::ContiguousNFA));
        let automaton = (!ids.is_empty())
            .then(|| builder.build(texts))
            .transpose()
            .map_err(|error| TokenizerError::Internal { detail: error.to_string() })?;
        Ok(Self { automaton, ids })
    }

    /// Start, end and token of each find, in order and apart from each other.
    fn find<'t>(&'t self, text: &'t str) -> impl Iterator<Item = (usize, usize, TokenId)> + 't {
        self.automaton.iter().flat_map(move |automaton| {
            automaton
                .find_iter(text)
                .map(|found| (found.start(), found.end(), self.ids[found.pattern().as_usize()]))
        })
    }

    /// The token whose text is all of `literal`.
    fn exact(&self, literal: &str) -> Option<TokenId> {
        self.find(literal).find(|&(start, end, _)| start == 0 && end == literal.len()).map(|(.., id)| id)
    }
}
