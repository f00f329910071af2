//! Grammars over tokens, by llguidance.
//!
//! llguidance works out which tokens a grammar allows next: an Earley parser over a lexer of lazily derived regular
//! expressions, walked along a trie of the vocabulary. What is compiled here comes from strangers, so its size, its
//! depth and its work have limits, and its panics are errors.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};

use base::TokenId;
use llguidance::api::{ParserLimits, TopLevelGrammar};
use llguidance::earley::SlicedBiasComputer;
use llguidance::{Matcher, ParserFactory};
use models::tokenizer::Tokenizer;
use toktrie::{InferenceCapabilities, TokEnv, TokRxInfo, TokTrie, TokenizerEnv};

/// The stack on which grammars are compiled: schemas nest, and their compiler recurses. Only what is used is ever
/// backed by memory.
const COMPILER_STACK_BYTES: usize = 64 << 20;

/// Longest reason that a caller is given, in characters.
const REASON_CHARS_MAX: usize = 400;

/// Limits of one grammar. The units are llguidance's; the times are what they come to on a slow core.
fn limits() -> ParserLimits {
    ParserLimits {
        max_items_in_row: 2000,
        // Some 40 ms.
        initial_lexer_fuel: 1_000_000,
        // Some 30 ms a token at the very most; a usual token takes a hundredth of that.
        step_lexer_fuel: 200_000,
        step_max_items: 50_000,
        // At 1 to 2 kB each.
        max_lexer_states: 10_000,
        max_grammar_size: 100_000,
        precompute_large_lexemes: false,
        // Errors go to callers, and are not to hold what was generated.
        verbose_errors: false,
    }
}

/// Compiles grammars for one model. What they share is made when the first is compiled.
pub(crate) struct Grammars {
    tokenizer: Arc<Tokenizer>,
    factory: OnceLock<Result<ParserFactory, String>>,
}

impl std::fmt::Debug for Grammars {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Grammars").field("made", &self.factory.get().is_some()).finish_non_exhaustive()
    }
}

impl Grammars {
    pub(crate) fn new(tokenizer: Arc<Tokenizer>) -> Self {
        Self { tokenizer, factory: OnceLock::new() }
    }

    /// Compiles a grammar. Blocks for some milliseconds, for a hostile grammar some hundred; the first one for the
    /// time that it takes to sort the vocabulary.
    ///
    /// # Errors
    /// Why the grammar can't be used, for the caller.
    pub(crate) fn compile(&self, grammar: TopLevelGrammar) -> Result<Grammar, String> {
        on_deep_stack(|| {
            let factory = self.factory.get_or_init(|| factory(&self.tokenizer)).as_ref()?;
            let mut matcher = Matcher::new(factory.create_parser(grammar));
            if let Some(error) = matcher.get_error() {
                return Err(reason(&error));
            }
            // The first mask shows what no limit of the compiler sees, and it makes the caches that clones begin with.
            if !matcher.is_stopped() {
                matcher.compute_mask().map_err(|error| reason(&error.to_string()))?;
            }
            Ok(Grammar { matcher: Box::new(matcher) })
        })
    }
}

/// What llguidance says, fit for a caller: without the state of the parser, without backtraces.
fn reason(error: &str) -> String {
    let error = error.split("\n<").next().unwrap_or_default().trim();
    if error.starts_with("panic:") {
        return "it is too large or too complex".to_owned();
    }
    if error == "NoExtensionBias" {
        return "it allows nothing".to_owned();
    }
    error.chars().take(REASON_CHARS_MAX).collect()
}

fn on_deep_stack<T: Send>(work: impl FnOnce() -> Result<T, String> + Send) -> Result<T, String> {
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .name("grammar".to_owned())
            .stack_size(COMPILER_STACK_BYTES)
            .spawn_scoped(scope, work)
            .map_err(|error| format!("no thread to compile it: {error}"))?
            .join()
            .unwrap_or_else(|_| Err("it is too large or too complex".to_owned()))
    })
}

fn factory(tokenizer: &Arc<Tokenizer>) -> Result<ParserFactory, String> {
    let unfit = |reason: &str| format!("the model's vocabulary can't be constrained: {reason}");
    catch_unwind(AssertUnwindSafe(|| {
        let trie = trie(tokenizer).ok_or_else(|| unfit("it has no token that ends an answer"))?;
        let env: TokEnv = Arc::new(Env { tokenizer: Arc::clone(tokenizer), trie });
        let slices = SlicedBiasComputer::general_slices();
        let mut factory = ParserFactory::new(&env, InferenceCapabilities::default(), &slices)
            .map_err(|error| unfit(&reason(&error.to_string())))?;
        *factory.limits_mut() = limits();
        factory.quiet();
        Ok(factory)
    }))
    .unwrap_or_else(|_| Err(unfit("it is not one that was expected")))
}

/// The vocabulary as llguidance wants it: tokens of structure behind a marker byte, so that no text is ever made of
/// them; those without text that are nothing of the kind are left out.
fn trie(tokenizer: &Tokenizer) -> Option<TokTrie> {
    let ends = tokenizer.end_tokens();
    let word = |id: TokenId| {
        if tokenizer.is_special(id) || ends.contains(&id) {
            let mut marked = vec![TokTrie::SPECIAL_TOKEN_MARKER];
            marked.extend_from_slice(tokenizer.token_text(id).unwrap_or_default().as_bytes());
            return marked;
        }
        // A token of the marker byte alone would be taken for structure. It is in no UTF-8 text.
        match tokenizer.token_bytes(id) {
            [TokTrie::SPECIAL_TOKEN_MARKER, ..] => Vec::new(),
            _ if tokenizer.unknown() == Some(id) => Vec::new(),
            bytes => bytes.to_vec(),
        }
    };
    let words: Vec<Vec<u8>> = (0..tokenizer.vocab_size()).map(|id| word(id as TokenId)).collect();
    let info = TokRxInfo::new(words.len() as u32, *ends.first()?);
    Some(TokTrie::from(&info, &words).with_eos_tokens(ends))
}

/// The tokenizer as llguidance wants it.
struct Env {
    tokenizer: Arc<Tokenizer>,
    trie: TokTrie,
}

impl TokenizerEnv for Env {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }

    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<TokenId> {
        self.trie.tokenize_with_greedy_fallback(bytes, |text| {
            self.tokenizer.encode_text(text).unwrap_or_else(|_| self.trie.greedy_tokenize(text.as_bytes()))
        })
    }

    fn tokenize_is_canonical(&self) -> bool {
        // If it were, all text that the grammar leaves no choice about would be worked out and tokenised at each token,
        // and a grammar may leave no choice about two gigabytes. It is no faster either: the model reads each token.
        false
    }
}

/// A compiled grammar and a place in a text of it.
#[derive(Clone)]
pub(crate) struct Grammar {
    /// Some kilobytes.
    matcher: Box<Matcher>,
}

impl std::fmt::Debug for Grammar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Grammar").field("stopped", &self.matcher.is_stopped()).finish_non_exhaustive()
    }
}

/// What a grammar says of the next token.
#[derive(Debug)]
pub(crate) enum Next {
    /// One of these.
    Among(toktrie::SimpleVob),
    /// This one.
    Only(TokenId),
    /// The text is complete and nothing may follow.
    End,
}

impl Grammar {
    /// The same place, sharing nothing that a text on the way would change or lock.
    pub(crate) fn fork(&self) -> Self {
        Self { matcher: Box::new(self.matcher.deep_clone()) }
    }

    /// What may follow.
    ///
    /// # Errors
    /// When working that out takes more than it may.
    pub(crate) fn next(&mut self) -> Result<Next, String> {
        if self.matcher.is_stopped() {
            return self.matcher.get_error().map_or(Ok(Next::End), |error| Err(reason(&error)));
        }
        let set = self.matcher.compute_mask().map_err(|error| reason(&error.to_string()))?;
        Ok(match (set.num_set(), set.first_bit_set()) {
            (1, Some(token)) => Next::Only(token as TokenId),
            _ => Next::Among(set),
        })
    }

    /// Whether this token may follow.
    pub(crate) fn admits(&mut self, token: TokenId) -> bool {
        !self.matcher.is_stopped() && self.matcher.validate_tokens(&[token]).is_ok_and(|valid| valid == 1)
    }

    /// Goes on behind this token.
    ///
    /// # Errors
    /// When the token may not follow.
    pub(crate) fn take(&mut self, token: TokenId) -> Result<(), String> {
        self.matcher.consume_token(token).map_err(|error| reason(&error.to_string()))
    }

    /// Goes on behind these tokens; false, and then no longer usable, if they may not follow.
    pub(crate) fn take_all(&mut self, tokens: &[TokenId]) -> bool {
        tokens.iter().all(|&token| self.admits(token) && self.take(token).is_ok())
    }
}
