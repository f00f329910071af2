//! Pre-tokenizers: how a text is cut into words before byte-level BPE merges inside each word.
//!
//! Each is the sequence of cuts that the model's own `tokenizer.json` declares; a cut keeps what it matches and what
//! lies between matches, each as a word of its own, and the next cut works inside those words. The expressions are
//! the published ones of SmolLM2, Qwen2, Llama 3, DeepSeek LLM and DeepSeek V3.
//!
//! Most end with the same look-ahead, which leaves the last of several spaces to the word after them. It is done here, so
//! that the rest is an expression without one, which takes time in proportion to the text whatever that holds.

use regex_automata::meta::Regex;
use regex_automata::{Input, PatternID};

use super::error::TokenizerError;

/// Names of `tokenizer.ggml.pre` that are supported.
pub const SUPPORTED: [&str; 6] =
    ["smollm", "qwen2", "deepseek-r1-qwen", "llama-bpe", "deepseek-llm", "deepseek-v3"];

const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// The ranges are written as numbers because many of these letters change when an editor normalises them.
const DEEPSEEK_LLM: [&str; 5] = [
    r"[\r\n]",
    "\\s?[\
     \u{41}-\u{5a}\u{61}-\u{7a}\u{b5}\u{c0}-\u{d6}\u{d8}-\u{f6}\u{f8}-\u{1ba}\u{1bc}-\u{1bf}\
     \u{1c4}-\u{293}\u{295}-\u{2af}\u{370}-\u{373}\u{376}\u{377}\u{37b}-\u{37d}\u{37f}\u{386}\
     \u{388}-\u{38a}\u{38c}\u{38e}-\u{3a1}\u{3a3}-\u{3f5}\u{3f7}-\u{481}\u{48a}-\u{52f}\u{531}-\u{556}\
     \u{10a0}-\u{10c5}\u{13a0}-\u{13f5}\u{13f8}-\u{13fd}\u{1c90}-\u{1cba}\u{1cbd}-\u{1cbf}\
     \u{1d00}-\u{1d2b}\u{1d6b}-\u{1d77}\u{1d79}-\u{1d9a}\u{1e00}-\u{1f15}\u{1f18}-\u{1f1d}\
     \u{1f20}-\u{1f45}\u{1f48}-\u{1f4d}\u{1f50}-\u{1f57}\u{1f59}\u{1f5b}\u{1f5d}\u{1f5f}-\u{1f7d}\
     \u{1f80}-\u{1fb4}\u{1fb6}-\u{1fbc}\u{1fbe}\u{1fc2}-\u{1fc4}\u{1fc6}-\u{1fcc}\u{1fd0}-\u{1fd3}\
     \u{1fd6}-\u{1fdb}\u{1fe0}-\u{1fec}\u{1ff2}-\u{1ff4}\u{1ff6}-\u{1ffc}\u{2102}\u{2107}\
     \u{210a}-\u{2113}\u{2115}\u{2119}-\u{211d}\u{2124}\u{2126}\u{2128}\u{212a}-\u{212d}\u{212f}-\u{2134}\
     \u{2139}\u{213c}-\u{213f}\u{2145}-\u{2149}\u{214e}\u{2183}\u{2184}\u{2c00}-\u{2c7b}\u{2c7e}-\u{2ce4}\
     \u{2ceb}-\u{2cee}\u{2cf2}\u{2cf3}\u{a640}-\u{a66d}\u{a680}-\u{a69b}\u{a722}-\u{a76f}\
     \u{a771}-\u{a787}\u{a78b}-\u{a78e}\u{ab70}-\u{abbf}\u{fb00}-\u{fb06}\u{fb13}-\u{fb17}\
     \u{ff21}-\u{ff3a}\u{ff41}-\u{ff5a}\u{10400}-\u{1044f}\u{104b0}-\u{104d3}\u{104d8}-\u{104fb}\
     \u{10c80}-\u{10cb2}\u{10cc0}-\u{10cf2}\u{118a0}-\u{118df}\u{1e900}-\u{1e943}]+",
    "\\s?[!-/:-~\u{ff01}-\u{ff0f}\u{ff1a}-\u{ff5e}\u{2018}-\u{201f}\u{3000}-\u{3002}]+",
    r"\s+$",
    "[\u{4e00}-\u{9fa5}\u{800}-\u{4e00}\u{ac00}-\u{d7ff}]+",
];
const DEEPSEEK_V3: [&str; 3] = [
    r"\p{N}{1,3}",
    "[\u{4e00}-\u{9fa5}\u{3040}-\u{309f}\u{30a0}-\u{30ff}]+",
    r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"##,
];

/// How expressions end that leave the last of several spaces to what follows.
const LEAVES_LAST_SPACE: &str = r"|\s+(?!\S)|\s+";
/// The spaces of such an expression, which are its second pattern, and taken only where the first takes nothing.
const SPACES: (PatternID, &str) = (PatternID::new_unchecked(1), r"\s+");

/// One cut of a pre-tokenizer.
enum Cut {
    /// Every numeric character is a word.
    Digits,
    /// Every match is a word.
    Regex(Regex),
}

/// The cuts for one kind of model.
pub(super) struct PreTokenizer {
    cuts: Vec<Cut>,
    /// Whether the text is brought to Unicode normal form C first.
    pub(super) normalize: bool,
    /// Whether a word that is a token is taken whole, without regard to merges.
    pub(super) whole_words: bool,
}

impl PreTokenizer {
    /// The pre-tokenizer that `tokenizer.ggml.pre` names.
    pub(super) fn named(name: &str) -> Result<Self, TokenizerError> {
        let (digits_first, patterns, digits_last): (bool, &[&str], bool) = match name {
            "smollm" => (true, &[GPT2], false),
            "qwen2" | "deepseek-r1-qwen" => (false, &[QWEN2], false),
            "llama-bpe" => (false, &[LLAMA3], false),
            "deepseek-llm" => (false, &DEEPSEEK_LLM, true),
            "deepseek-v3" => (false, &DEEPSEEK_V3, false),
            _ => return Err(TokenizerError::UnknownPre { given: super::vocab::shorten(name) }),
        };
        let mut cuts = Vec::with_capacity(patterns.len() + 1);
        cuts.extend(digits_first.then_some(Cut::Digits));
        for pattern in patterns {
            let regex = match pattern.strip_suffix(LEAVES_LAST_SPACE) {
                Some(head) => Regex::new_many(&[head, SPACES.1]),
                None => Regex::new(pattern),
            };
            cuts.push(Cut::Regex(
                regex.map_err(|error| TokenizerError::Internal { detail: error.to_string() })?,
            ));
        }
        cuts.extend(digits_last.then_some(Cut::Digits));
        Ok(Self {
            cuts,
            normalize: matches!(name, "qwen2" | "deepseek-r1-qwen"),
            whole_words: name == "llama-bpe",
        })
    }

    /// Calls `each` for every word of `text`, in order. The words together are `text`.
    pub(super) fn words<'t>(&self, text: &'t str, each: Each<'_, 't>) -> Result<(), TokenizerError> {
        cut(&self.cuts, text, each)
    }
}

/// What is called for every word.
type Each<'f, 't> = &'f mut dyn FnMut(&'t str) -> Result<(), TokenizerError>;

fn cut<'t>(cuts: &[Cut], text: &'t str, each: Each<'_, 't>) -> Result<(), TokenizerError> {
    if text.is_empty() {
        return Ok(());
    }
    let Some((first, rest)) = cuts.split_first() else { return each(text) };
    // Where the last word ended.
    let mut at = 0;
    let mut word = |start: usize, end: usize| -> Result<(), TokenizerError> {
        cut(rest, &text[at..start], each)?;
        cut(rest, &text[start..end], each)?;
        at = end;
        Ok(())
    };
    match first {
        Cut::Digits => {
            for (start, digit) in text.char_indices().filter(|(_, c)| c.is_numeric()) {
                word(start, start + digit.len_utf8())?;
            }
        }
        Cut::Regex(regex) => {
            let mut input = Input::new(text);
            while let Some(found) = regex.search(&input) {
                let (start, mut end) = (found.start(), found.end());
                if found.pattern() == SPACES.0 && end < text.len() {
                    let last = text[start..end].char_indices().next_back().map_or(0, |(last, _)| last);
                    end = if last > 0 { start + last } else { end };
                }
                word(start, end)?;
                // No pattern matches nothing.
                input.set_start(end);
            }
        }
    }
    cut(rest, &text[at..], each)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(name: &str, text: &str) -> Vec<String> {
        let mut words = Vec::new();
        PreTokenizer::named(name)
            .unwrap()
            .words(text, &mut |word| {
                words.push(word.to_owned());
                Ok(())
            })
            .unwrap();
        assert_eq!(words.concat(), text);
        words
    }

    fn check(name: &str, text: &str, expected: &[&str]) {
        assert_eq!(words(name, text), expected, "{name} {text:?}");
    }

    #[test]
    fn each_name_cuts_in_its_own_way() {
        check("smollm", "I'm 42  years", &["I", "'m", " ", "4", "2", " ", " years"]);
        check("qwen2", "I'M 42 x.y\n\n", &["I", "'M", " ", "4", "2", " x", ".y", "\n\n"]);
        check("llama-bpe", "12345 a", &["123", "45", " a"]);
        // Its punctuation takes in ASCII letters, so letters outside of ASCII stand apart.
        check(
            "deepseek-llm",
            "\u{e9}t\u{e9} ete 12\n你好",
            &["\u{e9}", "t", "\u{e9}", " ete", " ", "1", "2", "\n", "你好"],
        );
        check("deepseek-v3", "1234你好!abc", &["123", "4", "你好", "!abc"]);
    }

    #[test]
    fn an_unknown_name_lists_what_is_supported() {
        let error = PreTokenizer::named("gpt-9").err().unwrap().to_string();
        assert!(error.contains("gpt-9") && error.contains("deepseek-v3"), "{error}");
    }

    #[test]
    fn runs_of_millions_are_one_word_but_for_the_last_space() {
        let check = |name: &str, unit: &str, after: &str, expected: &[&str]| {
            let run = unit.repeat(1_100_000);
            let words = words(name, &format!("{run}{after}"));
            assert!(words[1..] == *expected, "{name} {unit:?}: {} words", words.len());
        };
        for name in ["smollm", "qwen2", "llama-bpe", "deepseek-v3"] {
            check(name, " ", "a b", &[" a", " b"]);
        }
        check("qwen2", "\u{3000}", " a b", &[" a", " b"]);
        // No alternative matches these at all.
        check("deepseek-v3", "\0", " a b", &[" a", " b"]);
    }

    #[test]
    fn the_last_of_several_spaces_is_left_to_what_follows() {
        check("smollm", "a \n\t b  ", &["a", " \n\t", " b", "  "]);
        check("smollm", "a\nb", &["a", "\n", "b"]);
        check("qwen2", "a \n b\u{a0}\u{2003}c", &["a", " \n", " b", "\u{a0}", "\u{2003}c"]);
        check("llama-bpe", "  \n\n  x", &["  \n\n", " ", " x"]);
        check("deepseek-v3", "x   1", &["x", "   ", "1"]);
    }

    #[test]
    fn nothing_is_lost_on_long_runs() {
        for name in SUPPORTED {
            for unit in [" ", "a", "\n", "1", "é", "🙂", " \n", "a ", "\t"] {
                let text = unit.repeat(200_000 / unit.len());
                assert!(!words(name, &text).is_empty());
            }
        }
    }
}
