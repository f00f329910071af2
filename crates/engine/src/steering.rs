use base::TokenId;

/// A set of tokens of a vocabulary, one bit each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenMask {
    /// Bit `i % 32` of word `i / 32` is token `i`.
    words: Vec<u32>,
    vocab_size: usize,
}

impl TokenMask {
    /// The empty set.
    pub fn new(vocab_size: usize) -> Self {
        Self { words: vec![0; vocab_size.div_ceil(32)], vocab_size }
    }

    /// Takes all tokens out.
    pub fn clear(&mut self) {
        self.words.fill(0);
    }

    /// Puts all tokens in.
    pub fn fill(&mut self) {
        self.words.fill(u32::MAX);
    }

    /// Puts a token in; nothing if the vocabulary does not have it.
    pub fn allow(&mut self, token: TokenId) {
        let token = token as usize;
        if token < self.vocab_size {
            self.words[token / 32] |= 1 << (token % 32);
        }
    }

    /// Takes a token out.
    pub fn forbid(&mut self, token: TokenId) {
        if let Some(word) = self.words.get_mut(token as usize / 32) {
            *word &= !(1 << (token % 32));
        }
    }

    /// Whether a token is in.
    pub fn contains(&self, token: TokenId) -> bool {
        let token = token as usize;
        token < self.vocab_size && self.words[token / 32] >> (token % 32) & 1 == 1
    }

    /// The bits, 32 tokens a word. Bits beyond the vocabulary are nobody's and may have any value.
    pub fn words(&self) -> &[u32] {
        &self.words
    }

    /// [`words`](Self::words), to write.
    pub fn words_mut(&mut self) -> &mut [u32] {
        &mut self.words
    }

    /// Tokens in the vocabulary.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }
}

/// What may come next in a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowed {
    /// Any token.
    All,
    /// Those in the mask.
    Masked,
    /// This one and no other: nothing is drawn.
    Forced(TokenId),
}

/// Says, token by token, what may come next in one sequence: a grammar, say, or a bound on the reasoning.
///
/// [`allowed`](Self::allowed) is asked once for each token, on another thread while the model computes the logits, and
/// [`took`](Self::took) is told once of each token that was taken. Errors and panics end the sequence, and only that.
pub trait Steering: Send + std::fmt::Debug {
    /// What may follow the tokens that were taken. `mask` comes empty and matters for [`Allowed::Masked`] only.
    ///
    /// # Errors
    /// A text for the caller, with which the sequence ends as failed.
    fn allowed(&mut self, mask: &mut TokenMask) -> Result<Allowed, String>;

    /// A token was taken, perhaps one that ends the sequence.
    ///
    /// # Errors
    /// As above.
    fn took(&mut self, token: TokenId) -> Result<(), String>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_holds_what_is_put_in_and_nothing_beyond_its_vocabulary() {
        let mut mask = TokenMask::new(70);
        assert_eq!((mask.words().len(), mask.vocab_size()), (3, 70));
        for token in [0, 31, 32, 69, 70, 1000] {
            mask.allow(token);
        }
        let held: Vec<_> = (0..2000).filter(|&token| mask.contains(token)).collect();
        assert_eq!(held, [0, 31, 32, 69]);
        mask.forbid(32);
        mask.forbid(5000);
        assert!(!mask.contains(32) && mask.contains(31));
        mask.fill();
        assert!(mask.contains(69) && !mask.contains(70), "bits beyond the vocabulary are nobody's");
        mask.clear();
        assert!((0..70).all(|token| !mask.contains(token)));
    }
}
