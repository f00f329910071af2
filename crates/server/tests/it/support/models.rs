use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use base::{ManualClock, Rng, TokenId};
use dialogue::{Dialogue, DialogueConfig, ModelListing, ModelSource, Profile, Thinking};
use models::LoadedModel;
use models::batch::{BlockId, Chunk, KV_BLOCK_TOKENS, Model, ModelError, ModelInfo, Wanted};
use models::template::{ChatTemplate, SpecialTexts};
use models::tokenizer::{Tokenizer, TokenizerFacts};
use tokio::task::JoinHandle;

const CONTROLS: [&str; 2] = ["<|im_start|>", "<|im_end|>"];
const TAGS: [&str; 2] = ["<think>", "</think>"];
const CALL: &str = "<tool_call>\n{\"name\": \"depth\", \"arguments\": {\"at\": 1}}\n</tool_call>";
pub(crate) const CONTEXT: usize = 2048;

/// Lets an engine take only so many steps. Open unless told otherwise.
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

    pub(crate) fn open(&self) {
        self.allow(usize::MAX);
    }

    /// Lets steps through one by one, slowly, until what is returned is dropped: what a test asks for comes long
    /// before an answer without end reaches the end of the context.
    pub(crate) fn drip(&self) -> Drip {
        let gate = self.clone();
        Drip(tokio::spawn(async move {
            loop {
                gate.allow(1);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }))
    }

    fn pass(&self) {
        let mut allowed = self.0.1.wait_while(self.0.0.lock().unwrap(), |allowed| *allowed == 0).unwrap();
        if *allowed != usize::MAX {
            *allowed -= 1;
        }
    }
}

/// Stops dripping when dropped.
pub(crate) struct Drip(JoinHandle<()>);

impl Drop for Drip {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The models of a test:
///
/// - `plain` says "Hello, whale! 🐋".
/// - `thinker` thinks "Deep." and says "Two km.".
/// - `caller` calls the tool `depth`.
/// - `endless` says `a` without end; its steps pass `gate`. One answer at a time, one more may wait.
/// - `failing` says "Hel" and breaks. So does `failing-late`, whose steps pass `gate`.
/// - `absent` is not installed, `broken` can't be loaded.
#[derive(Debug, Clone, Default)]
pub(crate) struct Models {
    pub(crate) gate: Gate,
    /// Loading passes it.
    pub(crate) loading: Gate,
    /// Loadings that have begun.
    pub(crate) loads: Arc<AtomicUsize>,
    /// While true, listing panics.
    pub(crate) panics: Arc<AtomicBool>,
}

impl ModelSource for Models {
    fn list(&self) -> Vec<ModelListing> {
        assert!(!self.panics.load(Ordering::Relaxed), "listing panics, as a test asked");
        let listing = |name: &str, thinking| ModelListing {
            name: name.to_owned(),
            title: name.to_uppercase(),
            bytes: 1000,
            parameters: 135,
            context: CONTEXT,
            thinking,
            installed: name != "absent",
        };
        vec![
            listing("plain", Thinking::None),
            listing("thinker", Thinking::Always),
            listing("endless", Thinking::None),
            listing("failing", Thinking::None),
            listing("absent", Thinking::None),
            listing("broken", Thinking::None),
            listing("caller", Thinking::None),
            listing("failing-late", Thinking::None),
        ]
    }

    fn load(&self, name: &str) -> Result<Dialogue, String> {
        self.loads.fetch_add(1, Ordering::SeqCst);
        self.loading.pass();
        let tokenizer = tokenizer();
        let end = tokenizer.token_id(CONTROLS[1]).unwrap();
        let many = DialogueConfig { waiting_max: 128, ..DialogueConfig::default() };
        let one = DialogueConfig { running_max: 1, waiting_max: 1, ..DialogueConfig::default() };
        let script = |texts: &[&str], then| Script {
            tokens: ids(&tokenizer, texts),
            then,
            gate: Gate::default(),
            breaks: false,
        };
        let (script, thinking, config) = match name {
            "plain" => (script(&["Hello, whale! 🐋"], end), Thinking::None, many),
            "thinker" => (script(&[TAGS[0], "Deep.", TAGS[1], "Two km."], end), Thinking::Always, many),
            "caller" => (script(&[CALL], end), Thinking::None, many),
            "endless" => {
                let gate = self.gate.clone();
                (Script { gate, ..script(&[], TokenId::from(b'a')) }, Thinking::None, one)
            }
            "failing-late" => {
                let gate = self.gate.clone();
                (Script { gate, breaks: true, ..script(&["Hel"], end) }, Thinking::None, many)
            }
            "failing" => (Script { breaks: true, ..script(&["Hel"], end) }, Thinking::None, many),
            _ => return Err("the file is damaged".to_owned()),
        };
        Ok(dialogue(name, tokenizer, script, thinking, config))
    }
}

fn dialogue(
    name: &str,
    tokenizer: Arc<Tokenizer>,
    script: Script,
    thinking: Thinking,
    config: DialogueConfig,
) -> Dialogue {
    let info = ModelInfo {
        architecture: "fake".to_owned(),
        vocab_size: tokenizer.vocab_size(),
        context_length: CONTEXT,
        layers: 1,
        kv_bytes_per_token: 16,
        weight_bytes: 0,
        parameters: 0,
    };
    let template = ChatTemplate::built_in("chatml", SpecialTexts::of(&tokenizer)).unwrap();
    let model = Box::new(FakeModel { info: info.clone(), script, said: HashMap::new() });
    let loaded =
        LoadedModel { model, tokenizer, template: Some(template), info, name: None, unsaved_pack: None };
    let profile = Profile { thinking: Some(thinking), ..Profile::unknown(name) };
    // Its clock stands, so that its times are the same in every run.
    Dialogue::new(loaded, profile, config, Arc::new(ManualClock::new()), Rng::from_seed(1)).unwrap()
}

#[derive(Clone)]
struct Script {
    tokens: Vec<TokenId>,
    /// What comes after `tokens`, again and again.
    then: TokenId,
    gate: Gate,
    /// Whether the model breaks in the place of `then`.
    breaks: bool,
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
                // Within a prompt anything may come.
                logits.resize(logits.len() + (chunk.tokens.len() - 1) * self.info.vocab_size, 0.0);
            }
            if chunk.wanted != Wanted::None {
                let token = self.script.tokens.get(said).copied();
                if token.is_none() && self.script.breaks {
                    return Err(ModelError::EmptyChunk);
                }
                let token = token.unwrap_or(self.script.then);
                self.said.insert(slot(end - 1), (said + 1, token));
                let row = logits.len();
                logits.resize(row + self.info.vocab_size, 0.0);
                // So far above the others that they have no probability at all.
                logits[row + token as usize] = 1000.0;
            }
        }
        Ok(())
    }
}

/// The byte-level alphabet: printable bytes stand for themselves, the others for characters from U+0100 on.
fn byte_character(byte: u8) -> char {
    let printable = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    if printable(byte) {
        return char::from(byte);
    }
    let before = (0..byte).filter(|&byte| !printable(byte)).count();
    char::from_u32(0x100 + u32::try_from(before).unwrap()).unwrap()
}

/// A tokenizer of single bytes, control tokens and thinking tags.
fn tokenizer() -> Arc<Tokenizer> {
    let mut tokens: Vec<String> = (0..=255).map(|byte| byte_character(byte).to_string()).collect();
    let mut token_types = vec![1; tokens.len()];
    tokens.extend(CONTROLS.map(str::to_owned));
    token_types.extend([3; CONTROLS.len()]);
    tokens.extend(TAGS.map(str::to_owned));
    token_types.extend([4; TAGS.len()]);
    let facts = TokenizerFacts {
        model: "gpt2".to_owned(),
        pre: Some("smollm".to_owned()),
        tokens,
        token_types,
        ..TokenizerFacts::default()
    };
    Arc::new(Tokenizer::new(&facts).unwrap())
}

/// The tokens of texts: a tag is one token, others are bytes.
fn ids(tokenizer: &Tokenizer, texts: &[&str]) -> Vec<TokenId> {
    let mut ids = Vec::new();
    for text in texts {
        match tokenizer.token_id(text).filter(|_| text.len() > 1) {
            Some(id) => ids.push(id),
            None => ids.extend(text.bytes().map(TokenId::from)),
        }
    }
    ids
}
