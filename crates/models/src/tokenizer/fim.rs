//! Fill in the middle: the tokens between which code models are given what comes before and after a gap.
//!
//! The prompt is `prefix`, the text before, `suffix`, the text after, `middle`; the answer is what goes between. Other
//! orders were published too, but the models that have them know this one as well.

use std::collections::HashMap;

use base::TokenId;

use super::error::TokenizerError;
use super::vocab::Vocab;

/// The tokens for filling in the middle that metadata names (`tokenizer.ggml.fim_*_token_id`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FimFacts {
    /// `fim_pre_token_id`, formerly `prefix_token_id`.
    pub prefix: Option<TokenId>,
    /// `fim_suf_token_id`, formerly `suffix_token_id`.
    pub suffix: Option<TokenId>,
    /// `fim_mid_token_id`, formerly `middle_token_id`.
    pub middle: Option<TokenId>,
    /// `fim_pad_token_id`.
    pub pad: Option<TokenId>,
    /// `fim_rep_token_id`.
    pub repo: Option<TokenId>,
    /// `fim_sep_token_id`.
    pub sep: Option<TokenId>,
}

/// The tokens for filling in the middle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FimTokens {
    /// Goes before what comes before the gap.
    pub prefix: TokenId,
    /// Goes before what comes after the gap.
    pub suffix: TokenId,
    /// Goes before the answer.
    pub middle: TokenId,
    /// Fills up.
    pub pad: Option<TokenId>,
    /// Goes before the name of a repository.
    pub repo: Option<TokenId>,
    /// Goes between files.
    pub sep: Option<TokenId>,
}

/// Prefix, suffix and middle as families of models spell them.
const SPELLINGS: [[&str; 3]; 5] = [
    // Qwen2.5-Coder, CodeGemma
    ["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"],
    // StarCoder, Granite
    ["<fim_prefix>", "<fim_suffix>", "<fim_middle>"],
    // SantaCoder
    ["<fim-prefix>", "<fim-suffix>", "<fim-middle>"],
    // DeepSeek Coder
    ["<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"],
    // Code Llama
    ["▁<PRE>", "▁<SUF>", "▁<MID>"],
];
const PADS: [&str; 3] = ["<|fim_pad|>", "<fim_pad>", "<fim-pad>"];
const REPOS: [&str; 3] = ["<|repo_name|>", "<repo_name>", "<reponame>"];
const SEPARATORS: [&str; 3] = ["<|file_sep|>", "<file_sep>", "<|file_separator|>"];

impl FimTokens {
    /// The tokens that metadata names, the rest by spelling. Only tokens that no text becomes count: a model whose file
    /// has these literals as plain text was not trained on them.
    pub(super) fn find(vocab: &Vocab, facts: &FimFacts) -> Result<Option<Self>, TokenizerError> {
        for (key, id) in [
            ("fim_pre_token_id", facts.prefix),
            ("fim_suf_token_id", facts.suffix),
            ("fim_mid_token_id", facts.middle),
            ("fim_pad_token_id", facts.pad),
            ("fim_rep_token_id", facts.repo),
            ("fim_sep_token_id", facts.sep),
        ] {
            if let Some(id) = id.filter(|&id| id as usize >= vocab.len()) {
                return Err(TokenizerError::TokenId { key, allowed: vocab.len(), given: u64::from(id) });
            }
        }
        let special = |id: &TokenId| vocab.is_structure(*id);
        let specials: HashMap<&str, TokenId> =
            vocab.iter().filter(|(id, ..)| special(id)).map(|(id, text, _)| (text, id)).collect();
        let spelt = |literals: &[&str]| literals.iter().find_map(|literal| specials.get(literal)).copied();
        let three = |of: [Option<TokenId>; 3]| match of {
            [Some(prefix), Some(suffix), Some(middle)]
                if prefix != suffix && suffix != middle && prefix != middle =>
            {
                Some([prefix, suffix, middle])
            }
            _ => None,
        };
        let named = three([facts.prefix, facts.suffix, facts.middle].map(|id| id.filter(special)));
        let found =
            named.or_else(|| SPELLINGS.iter().find_map(|names| three(names.map(|name| spelt(&[name])))));
        Ok(found.map(|[prefix, suffix, middle]| Self {
            prefix,
            suffix,
            middle,
            pad: facts.pad.filter(special).or_else(|| spelt(&PADS)),
            repo: facts.repo.filter(special).or_else(|| spelt(&REPOS)),
            sep: facts.sep.filter(special).or_else(|| spelt(&SEPARATORS)),
        }))
    }

    /// All of them: an answer that comes to one of these has gone past its end.
    pub(super) fn all(self) -> impl Iterator<Item = TokenId> {
        [Some(self.prefix), Some(self.suffix), Some(self.middle), self.pad, self.repo, self.sep]
            .into_iter()
            .flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Tokenizer, TokenizerFacts};
    use super::*;

    /// A vocabulary of these tokens after `<unk>`, of one kind.
    fn facts(tokens: &[&str], kind: i32) -> TokenizerFacts {
        let tokens: Vec<String> =
            std::iter::once("<unk>").chain(tokens.iter().copied()).map(str::to_owned).collect();
        let mut token_types = vec![kind; tokens.len()];
        token_types[0] = 2;
        TokenizerFacts {
            model: "llama".to_owned(),
            scores: vec![0.0; tokens.len()],
            token_types,
            tokens,
            unknown: Some(0),
            ..TokenizerFacts::default()
        }
    }

    fn fim(facts: &TokenizerFacts) -> Option<FimTokens> {
        Tokenizer::new(facts).unwrap().fim()
    }

    const CONTROL: i32 = 3;
    const ADDED: i32 = 4;
    const QWEN: [&str; 6] = [
        "<|fim_prefix|>",
        "<|fim_middle|>",
        "<|fim_suffix|>",
        "<|fim_pad|>",
        "<|repo_name|>",
        "<|file_sep|>",
    ];

    #[test]
    fn known_spellings_are_found() {
        let found = FimTokens { prefix: 1, suffix: 3, middle: 2, pad: Some(4), repo: Some(5), sep: Some(6) };
        for kind in [CONTROL, ADDED] {
            assert_eq!(fim(&facts(&QWEN, kind)), Some(found));
        }
        let bare = FimTokens { prefix: 1, suffix: 2, middle: 3, pad: None, repo: None, sep: None };
        for spelling in SPELLINGS {
            assert_eq!(fim(&facts(&spelling, CONTROL)), Some(bare), "{spelling:?}");
        }
    }

    #[test]
    fn plain_text_and_parts_are_not() {
        assert_eq!(fim(&facts(&QWEN, 1)), None);
        assert_eq!(fim(&facts(&["<|fim_prefix|>", "<|fim_suffix|>"], CONTROL)), None);
        // Of two families.
        assert_eq!(fim(&facts(&["<|fim_prefix|>", "<fim_suffix>", "<|fim_middle|>"], CONTROL)), None);
        // SmolLM2 has separators of files and nothing to fill in the middle with.
        assert_eq!(fim(&facts(&["<repo_name>", "<file_sep>"], CONTROL)), None);
    }

    #[test]
    fn metadata_comes_first_and_names_special_tokens_of_the_vocabulary() {
        let with = |prefix, kind| {
            let mut facts = facts(&["<a>", "<b>", "<c>", "<fim_pad>"], kind);
            facts.fim = FimFacts { prefix, suffix: Some(2), middle: Some(3), ..FimFacts::default() };
            facts
        };
        let found = FimTokens { prefix: 1, suffix: 2, middle: 3, pad: Some(4), repo: None, sep: None };
        assert_eq!(fim(&with(Some(1), CONTROL)), Some(found));
        assert_eq!(fim(&with(Some(1), 1)), None);
        assert_eq!(fim(&with(Some(2), CONTROL)), None);
        assert_eq!(fim(&with(None, CONTROL)), None);
        let error = Tokenizer::new(&with(Some(5), CONTROL)).err().unwrap().to_string();
        assert!(error.contains("fim_pre_token_id"), "{error}");
    }

    #[test]
    fn both_names_of_the_keys_are_read() {
        use crate::gguf::Gguf;
        use crate::gguf::testing::GgufWriter;
        for names in [["prefix", "suffix", "middle"], ["fim_pre", "fim_suf", "fim_mid"]] {
            let mut writer = GgufWriter::new()
                .key("tokenizer.ggml.model", "llama")
                .key("tokenizer.ggml.tokens", vec!["<unk>", "<x>", "<y>", "<z>"])
                .key("tokenizer.ggml.token_type", vec![2_i32, 3, 3, 3])
                .key("tokenizer.ggml.scores", vec![0.0_f32; 4]);
            for (name, id) in names.iter().zip([3_u32, 1, 2]) {
                writer = writer.key(&format!("tokenizer.ggml.{name}_token_id"), id);
            }
            let gguf = Gguf::from_bytes(writer.finish()).unwrap();
            let found = Tokenizer::from_gguf(gguf.metadata()).unwrap().fim().unwrap();
            assert_eq!([found.prefix, found.suffix, found.middle], [3, 1, 2]);
        }
    }

    #[test]
    fn an_answer_ends_at_any_of_them() {
        let tokenizer = Tokenizer::new(&facts(&QWEN, CONTROL)).unwrap();
        assert_eq!(tokenizer.end_tokens(), [1, 2, 3, 4, 5, 6]);
        let tokenizer = Tokenizer::new(&facts(&["▁<PRE>", "▁<SUF>", "▁<MID>", "▁<EOT>"], CONTROL)).unwrap();
        assert!(tokenizer.is_end(4));
    }
}
