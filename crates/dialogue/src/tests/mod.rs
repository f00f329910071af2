//! A model that says what a test tells it to, and the tests that need one.

mod assemble;
mod dialogue;
mod hostile;
mod hub;
mod schemas;
mod steer;
mod tools;

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex};

use base::{Clock, ManualClock, Rng, TokenId};
use models::LoadedModel;
use models::batch::{BlockId, Chunk, KV_BLOCK_TOKENS, Model, ModelError, ModelInfo, Wanted};
use models::template::{ChatTemplate, SpecialTexts};
use models::tokenizer::{Tokenizer, TokenizerFacts};

use crate::{Dialogue, DialogueConfig, Profile, Thinking};

/// Tokens of more than one byte, after the 256 of one byte.
const WORDS: [&str; 6] = ["Hello", "wor", "ld", "!E", "ND", "\u{120}again"];
const CONTROLS: [&str; 2] = ["<|im_start|>", "<|im_end|>"];
pub(crate) const TAGS: [&str; 2] = ["<think>", "</think>"];
/// The markup of calls.
pub(crate) const MARKS: [&str; 8] = [
    "<tool_call>",
    "</tool_call>",
    "<|python_tag|>",
    "<｜tool▁calls▁begin｜>",
    "<｜tool▁call▁begin｜>",
    "<｜tool▁sep｜>",
    "<｜tool▁call▁end｜>",
    "<｜tool▁calls▁end｜>",
];
pub(crate) const CONTEXT: usize = 512;

/// The byte-level alphabet: printable bytes stand for themselves, the others for characters from U+0100 on.
fn byte_character(byte: u8) -> char {
    let printable = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    if printable(byte) {
        return char::from(byte);
    }
    let before = (0..byte).filter(|&byte| !printable(byte)).count();
    char::from_u32(0x100 + before as u32).expect("a character of Latin Extended-A")
}

/// A tokenizer of single bytes, a few words that only the model says, and control tokens; `tags` for thinking tags
/// that are tokens.
pub(crate) fn tokenizer(tags: bool) -> Arc<Tokenizer> {
    tokenizer_with(tags, &[])
}

/// The same with some of [`MARKS`] as tokens.
pub(crate) fn tokenizer_with(tags: bool, marks: &[&str]) -> Arc<Tokenizer> {
    let mut tokens: Vec<String> = (0..=255).map(|byte| byte_character(byte).to_string()).collect();
    tokens.extend(WORDS.map(str::to_owned));
    let mut token_types = vec![1; tokens.len()];
    tokens.extend(CONTROLS.map(str::to_owned));
    token_types.extend([3; CONTROLS.len()]);
    if tags {
        tokens.extend(TAGS.map(str::to_owned));
        token_types.extend([4; TAGS.len()]);
    }
    for mark in marks {
        // Some are control tokens, which have no text.
        tokens.push((*mark).to_owned());
        token_types.push(if mark.starts_with("<|") { 3 } else { 4 });
    }
    let facts = TokenizerFacts {
        model: "gpt2".to_owned(),
        pre: Some("smollm".to_owned()),
        tokens,
        token_types,
        ..TokenizerFacts::default()
    };
    Arc::new(Tokenizer::new(&facts).expect("a tokenizer of bytes"))
}

/// The tokens of texts: each that is a token's spelling is that token, others are bytes.
pub(crate) fn ids(tokenizer: &Tokenizer, texts: &[&str]) -> Vec<TokenId> {
    let mut ids = Vec::new();
    for text in texts {
        let whole = [&WORDS[..], &CONTROLS, &TAGS, &MARKS].concat().contains(text);
        match tokenizer.token_id(text).filter(|_| whole) {
            Some(id) => ids.push(id),
            None => ids.extend(text.bytes().map(TokenId::from)),
        }
    }
    ids
}

/// Lets a model or a loader take only so many steps. Open unless told otherwise.
#[derive(Debug, Clone)]
pub(crate) struct Gate(Arc<(Mutex<usize>, Condvar)>);

impl Default for Gate {
    fn default() -> Self {
        Self(Arc::new((Mutex::new(usize::MAX), Condvar::new())))
    }
}

impl Gate {
    /// Allows this many more steps from now on.
    pub(crate) fn allow(&self, steps: usize) {
        *self.0.0.lock().unwrap() = steps;
        self.0.1.notify_all();
    }

    /// Waits until a step is allowed.
    pub(crate) fn pass(&self) {
        let mut allowed = self.0.1.wait_while(self.0.0.lock().unwrap(), |allowed| *allowed == 0).unwrap();
        if *allowed != usize::MAX {
            *allowed -= 1;
        }
    }
}

/// Says the same to everyone.
#[derive(Clone)]
pub(crate) struct Script {
    pub(crate) tokens: Vec<TokenId>,
    /// What comes after `tokens`, again and again.
    pub(crate) then: TokenId,
    /// Each step passes it.
    pub(crate) gate: Gate,
}

impl Script {
    /// Says `a` without end.
    pub(crate) fn endless(gate: &Gate) -> Self {
        Self { tokens: Vec::new(), then: TokenId::from(b'a'), gate: gate.clone() }
    }
}

struct FakeModel {
    info: ModelInfo,
    script: Script,
    /// After each token of the cache that something was said upon, by block and place in it: how many tokens were said by
    /// then, and the last of them.
    said: HashMap<(BlockId, usize), (usize, TokenId)>,
}

impl Model for FakeModel {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn allocate_kv(&mut self, _blocks: usize) -> Result<(), ModelError> {
        Ok(())
    }

    fn forward(&mut self, chunks: &[Chunk<'_>], logits: &mut Vec<f32>) -> Result<(), ModelError> {
        self.script.gate.pass();
        logits.clear();
        for chunk in chunks {
            let slot = |position| (chunk.blocks[position / KV_BLOCK_TOKENS], position % KV_BLOCK_TOKENS);
            // What was said last goes on; anything else is a prompt, or the rest of one behind what is cached.
            let before = chunk.position.checked_sub(1).and_then(|position| self.said.get(&slot(position)));
            let said = before.filter(|(_, last)| chunk.tokens == [*last]).map_or(0, |&(said, _)| said);
            let end = chunk.position + chunk.tokens.len();
            for position in chunk.position..end {
                self.said.remove(&slot(position));
            }
            if chunk.wanted == Wanted::All {
                // Of what the prompt might have gone on with nothing is said.
                logits.resize(logits.len() + (chunk.tokens.len() - 1) * self.info.vocab_size, 0.0);
            }
            if chunk.wanted != Wanted::None {
                let token = self.script.tokens.get(said).copied().unwrap_or(self.script.then);
                self.said.insert(slot(end - 1), (said + 1, token));
                let row = logits.len();
                logits.resize(row + self.info.vocab_size, 0.0);
                logits[row + token as usize] = 20.0;
            }
        }
        Ok(())
    }
}

/// A model to be loaded. `template` is a built-in one's name; empty for none.
pub(crate) struct Fixture {
    pub(crate) tags: bool,
    pub(crate) template: &'static str,
    pub(crate) thinking: Option<Thinking>,
    pub(crate) config: DialogueConfig,
    pub(crate) context: usize,
}

impl Default for Fixture {
    fn default() -> Self {
        Self {
            tags: true,
            template: "chatml",
            thinking: None,
            config: DialogueConfig::default(),
            context: CONTEXT,
        }
    }
}

impl Fixture {
    /// A dialogue whose model says `texts` (see [`ids`]), then ends its answer.
    pub(crate) fn saying(&self, texts: &[&str]) -> Dialogue {
        let tokenizer = tokenizer(self.tags);
        let then = tokenizer.token_id("<|im_end|>").expect("a control token");
        self.dialogue("fake", Script { tokens: ids(&tokenizer, texts), then, gate: Gate::default() })
    }

    /// A dialogue whose model never ends its answer, and the gate that its steps pass.
    pub(crate) fn endless(&self) -> (Dialogue, Gate) {
        let gate = Gate::default();
        (self.dialogue("fake", Script::endless(&gate)), gate)
    }

    pub(crate) fn dialogue(&self, name: &str, script: Script) -> Dialogue {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new());
        let tokenizer = tokenizer(self.tags);
        let info = ModelInfo {
            architecture: "fake".to_owned(),
            vocab_size: tokenizer.vocab_size(),
            context_length: self.context,
            layers: 1,
            kv_bytes_per_token: 16,
            weight_bytes: 0,
            parameters: 0,
        };
        let template = (!self.template.is_empty())
            .then(|| ChatTemplate::built_in(self.template, SpecialTexts::of(&tokenizer)).expect("built in"));
        let model = Box::new(FakeModel { info: info.clone(), script, said: HashMap::new() });
        let loaded = LoadedModel { model, tokenizer, template, info, name: None, unsaved_pack: None };
        let profile = Profile { thinking: self.thinking, ..Profile::unknown(name) };
        Dialogue::new(loaded, profile, self.config, clock, Rng::from_seed(1)).expect("a valid configuration")
    }
}
