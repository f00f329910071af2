//! Tokens that may not come because of what they would spell.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use base::TokenId;
use models::tokenizer::Tokenizer;

/// Most lists that are kept. There is one for each beginning of each text that begins calls, and of the closing tag.
const LISTS_MAX: usize = 128;

/// Why tokens are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Ban {
    /// The text that begins calls would be complete with it.
    Begins,
    /// The text that begins calls would end in the middle of it, and the grammar of calls begins between two tokens.
    Straddles,
    /// The closing tag would end in the middle of it, with more behind it than line ends.
    Closes,
}

type Lists = HashMap<(Ban, String), Arc<[TokenId]>>;

/// Lists of tokens, by what came before them. Looking through a vocabulary takes a few milliseconds, so what was found
/// is kept.
#[derive(Debug, Default)]
pub(crate) struct Bans {
    lists: Mutex<Lists>,
}

impl Bans {
    /// The tokens whose bytes are banned after this text.
    pub(super) fn list(
        &self,
        tokenizer: &Tokenizer,
        ban: Ban,
        held: &str,
        banned: impl Fn(&[u8]) -> bool,
    ) -> Arc<[TokenId]> {
        let key = (ban, held.to_owned());
        if let Some(list) = self.lists.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Arc::clone(list);
        }
        let ids = (0..tokenizer.vocab_size()).map(|id| id as TokenId);
        let list: Arc<[TokenId]> = ids.filter(|&id| banned(tokenizer.token_bytes(id))).collect();
        let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        if lists.len() >= LISTS_MAX {
            lists.clear();
        }
        lists.insert(key, Arc::clone(&list));
        list
    }
}
