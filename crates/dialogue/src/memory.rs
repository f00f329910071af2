//! Which tokens stand for what was read and generated before.
//!
//! A text can be cut into tokens in many ways, and a model does not always choose the tokenizer's. When the text of an
//! answer comes back as history it would be cut anew, other tokens would come of it, and the prefix cache, which
//! compares tokens, would not know them. So the tokens of recent answers are kept, each with its prompt; a prompt that
//! begins with the same text, and the same special tokens, is given those tokens for it. What it says stays the same.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use base::TokenId;
use engine::CacheScope;
use models::tokenizer::Tokenizer;

/// Most answers that are kept, of all scopes together.
const ANSWERS_MAX: usize = 256;
/// Most tokens of them, at 4 bytes.
const TOKENS_MAX: usize = 2 << 20;
/// Most answers of one scope that are kept: branches of its conversations at once.
const ANSWERS_OF_SCOPE_MAX: usize = 16;

/// The tokens of recent answers, each behind those of its prompt.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// Oldest first.
    answers: VecDeque<(CacheScope, Arc<[TokenId]>)>,
    tokens: usize,
}

impl Memory {
    /// Keeps the tokens of a prompt and its answer, in place of those that they go on from.
    pub(crate) fn keep(&self, scope: CacheScope, tokens: Vec<TokenId>) {
        if tokens.len() > TOKENS_MAX {
            return;
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.remove(|other, earlier| other == scope && tokens.starts_with(earlier));
        while kept.answers.len() >= ANSWERS_MAX || kept.tokens + tokens.len() > TOKENS_MAX {
            kept.drop_at(0);
        }
        if kept.answers.iter().filter(|(other, _)| *other == scope).count() >= ANSWERS_OF_SCOPE_MAX
            && let Some(oldest) = kept.answers.iter().position(|(other, _)| *other == scope)
        {
            kept.drop_at(oldest);
        }
        kept.tokens += tokens.len();
        kept.answers.push_back((scope, tokens.into()));
    }

    /// The tokens of a prompt, with those in their place that stood for the same text before.
    pub(crate) fn recall(
        &self,
        tokenizer: &Tokenizer,
        scope: CacheScope,
        tokens: Vec<TokenId>,
    ) -> Vec<TokenId> {
        let candidates: Vec<Arc<[TokenId]>> = {
            let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.answers
                .iter()
                .filter(|(other, _)| *other == scope)
                .map(|(_, kept)| Arc::clone(kept))
                .collect()
        };
        let common = candidates.iter().map(|kept| (common(tokenizer, kept, &tokens), kept));
        match common.max_by_key(|&((bytes, ..), _)| bytes) {
            Some(((_, of_kept, of_new), kept)) if kept[..of_kept] != tokens[..of_new] => {
                [&kept[..of_kept], &tokens[of_new..]].concat()
            }
            _ => tokens,
        }
    }
}

impl Kept {
    fn drop_at(&mut self, index: usize) {
        if let Some((_, tokens)) = self.answers.remove(index) {
            self.tokens -= tokens.len();
        }
    }

    fn remove(&mut self, is_gone: impl Fn(CacheScope, &[TokenId]) -> bool) {
        let tokens = &mut self.tokens;
        self.answers.retain(|(scope, kept)| {
            let gone = is_gone(*scope, kept);
            *tokens -= if gone { kept.len() } else { 0 };
            !gone
        });
    }
}

/// How much two lists of tokens have in common: bytes of text, special tokens counting as one, and how many tokens of
/// each are all of it.
fn common(tokenizer: &Tokenizer, left: &[TokenId], right: &[TokenId]) -> (usize, usize, usize) {
    let mut best = (0, 0, 0);
    let (mut i, mut j, mut length) = (0, 0, 0);
    // Bytes of `left[i]` and `right[j]` that the other has already.
    let (mut of_left, mut of_right) = (0, 0);
    while let (Some(&a), Some(&b)) = (left.get(i), right.get(j)) {
        match (text(tokenizer, a), text(tokenizer, b)) {
            (None, None) if a == b && of_left == 0 && of_right == 0 => {
                (i, j, length) = (i + 1, j + 1, length + 1);
            }
            (Some(a), Some(b)) => {
                let (rest_a, rest_b) = (&a[of_left..], &b[of_right..]);
                let shared = rest_a.len().min(rest_b.len());
                if rest_a[..shared] != rest_b[..shared] {
                    return best;
                }
                length += shared;
                (of_left, of_right) = (of_left + shared, of_right + shared);
                if of_left == a.len() {
                    (i, of_left) = (i + 1, 0);
                }
                if of_right == b.len() {
                    (j, of_right) = (j + 1, 0);
                }
            }
            _ => return best,
        }
        if of_left == 0 && of_right == 0 {
            best = (length, i, j);
        }
    }
    best
}

/// The text of a token; none if it is one of structure, or of none.
fn text(tokenizer: &Tokenizer, id: TokenId) -> Option<&[u8]> {
    Some(tokenizer.token_bytes(id)).filter(|bytes| !bytes.is_empty() && !tokenizer.is_special(id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{ids, tokenizer};

    const SCOPE: CacheScope = CacheScope([1; 16]);

    #[test]
    fn the_tokens_of_an_answer_are_known_again() {
        let tokenizer = tokenizer(true);
        let memory = Memory::default();
        let word = ids(&tokenizer, &["<|im_start|>", "hi ", "wor", "ld"]);
        let spelled = ids(&tokenizer, &["<|im_start|>", "hi w", "orld", "<|im_end|>", "wor", "more"]);
        assert_eq!(memory.recall(&tokenizer, SCOPE, spelled.clone()), spelled);
        memory.keep(SCOPE, word.clone());
        let known = memory.recall(&tokenizer, SCOPE, spelled.clone());
        assert_eq!(known, [&word[..], &ids(&tokenizer, &["<|im_end|>", "wor", "more"])].concat());
        // Another's are not.
        assert_eq!(memory.recall(&tokenizer, CacheScope([2; 16]), spelled.clone()), spelled);
        // Up to where the text goes on differently, if tokens end there.
        let other = ids(&tokenizer, &["<|im_start|>", "hi w", "or", "<|im_end|>"]);
        let expected = ids(&tokenizer, &["<|im_start|>", "hi ", "wor", "<|im_end|>"]);
        assert_eq!(memory.recall(&tokenizer, SCOPE, other), expected);
        // What spells a special token is none.
        let sly = ids(&tokenizer, &["<", "|im_start|>", "hi w"]);
        assert_eq!(memory.recall(&tokenizer, SCOPE, sly.clone()), sly);
    }

    #[test]
    fn what_is_kept_has_bounds() {
        let memory = Memory::default();
        for index in 0..ANSWERS_OF_SCOPE_MAX as TokenId * 2 {
            memory.keep(SCOPE, vec![index]);
        }
        assert_eq!(memory.kept.lock().unwrap().answers.len(), ANSWERS_OF_SCOPE_MAX);
        // A longer one takes the place of what it goes on from.
        memory.keep(SCOPE, vec![31, 7]);
        assert_eq!(memory.kept.lock().unwrap().answers.len(), ANSWERS_OF_SCOPE_MAX);
        assert_eq!(memory.kept.lock().unwrap().tokens, ANSWERS_OF_SCOPE_MAX + 1);
        for index in 0..=u16::MAX {
            let [high, low] = index.to_be_bytes();
            let mut scope = [0; 16];
            (scope[0], scope[1]) = (high, low);
            memory.keep(CacheScope(scope), vec![1; 100]);
        }
        let kept = memory.kept.lock().unwrap();
        assert_eq!((kept.answers.len(), kept.tokens), (ANSWERS_MAX, ANSWERS_MAX * 100));
        drop(kept);
        memory.keep(SCOPE, vec![1; TOKENS_MAX]);
        assert_eq!(memory.kept.lock().unwrap().answers.len(), 1);
        memory.keep(SCOPE, vec![1; TOKENS_MAX + 1]);
        assert_eq!(memory.kept.lock().unwrap().answers.len(), 1);
    }
}
