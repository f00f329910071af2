//! Tokens back to text, one at a time.

use base::TokenId;

use super::Tokenizer;

/// Turns the tokens of one answer into text as they come. What it gives, put together, is [`Tokenizer::decode`] of all
/// the tokens: a character whose bytes come in several tokens appears with its last byte, bytes that can never become
/// a character appear as U+FFFD, and the space that SentencePiece puts before a text is left out.
#[derive(Clone, Debug, Default)]
pub struct Detokenizer {
    /// Bytes of a character that is not complete: at most 3 between calls.
    pending: Vec<u8>,
    started: bool,
}

impl Detokenizer {
    /// At the start of a text.
    pub fn new() -> Self {
        Self::default()
    }

    /// The text that became certain with token `id`; empty while a character is incomplete.
    pub fn push(&mut self, tokenizer: &Tokenizer, id: TokenId) -> String {
        let mut bytes = tokenizer.token_bytes(id);
        if !self.started && !bytes.is_empty() {
            self.started = true;
            if tokenizer.adds_space_prefix() {
                bytes = bytes.strip_prefix(b" ").unwrap_or(bytes);
            }
        }
        self.pending.extend_from_slice(bytes);
        self.take(false)
    }

    /// The end of the text: what is still incomplete becomes U+FFFD.
    pub fn finish(&mut self) -> String {
        self.take(true)
    }

    /// Takes complete characters from the front of `pending`, or everything if nothing more will come.
    fn take(&mut self, end: bool) -> String {
        let mut text = String::new();
        let mut at = 0;
        for chunk in self.pending.utf8_chunks() {
            text.push_str(chunk.valid());
            at += chunk.valid().len();
            let invalid = chunk.invalid();
            let incomplete = at + invalid.len() == self.pending.len() && may_continue(invalid);
            if invalid.is_empty() || (incomplete && !end) {
                break;
            }
            text.push(char::REPLACEMENT_CHARACTER);
            at += invalid.len();
        }
        self.pending.drain(..at);
        text
    }
}

/// Whether further bytes could make `bytes` a character.
fn may_continue(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}
