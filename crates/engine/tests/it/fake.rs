//! A model whose next token is a function of all tokens before it, read back from a KV cache of its own, so that
//! a wrong block table, a lost block or a skipped position shows as a wrong token.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::time::Duration;

use base::{ManualClock, TokenId};
use models::batch::{Chunk, KV_BLOCK_TOKENS, Model, ModelError, ModelInfo, Ran, Wanted};

pub(crate) const VOCAB_SIZE: usize = 61;

/// Makes the model refuse any batch with it.
pub(crate) const REFUSED: TokenId = 57;
/// Makes the model panic.
pub(crate) const PANICS: TokenId = 58;
/// Makes the row's logits NaN.
pub(crate) const NOT_A_NUMBER: TokenId = 59;
/// Makes the model forget the row's logits.
pub(crate) const SHORT: TokenId = 60;
/// Tokens that the model generates are below this.
const GENERATED_BELOW: usize = 57;

/// State of the hash before the first token.
pub(crate) const HASH_START: u64 = 0x5eed;

/// Continues the hash of a history by the token at `position`.
pub(crate) fn hash_token(hash: u64, position: usize, token: TokenId) -> u64 {
    let mixed = hash ^ (position as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (u64::from(token) << 40);
    let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^ (mixed >> 32)
}

/// Logits (`[VOCAB_SIZE]`) of a history.
pub(crate) fn logits_of(hash: u64, out: &mut Vec<f32>) {
    for id in 0..VOCAB_SIZE {
        let bits = hash_token(hash, 1 << 32, id as TokenId);
        let logit = (bits >> 44) as f32 / 1024.0 / 64.0;
        out.push(if id < GENERATED_BELOW { logit } else { -1e9 });
    }
}

/// The most probable next token of a history.
pub(crate) fn greedy_of(hash: u64) -> TokenId {
    let mut logits = Vec::with_capacity(VOCAB_SIZE);
    logits_of(hash, &mut logits);
    let mut best = 0;
    for (id, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = id;
        }
    }
    best as TokenId
}

/// The greedy answer to a prompt, without any cache.
pub(crate) fn greedy_answer(prompt: &[TokenId], tokens: usize) -> Vec<TokenId> {
    let mut history = prompt.to_vec();
    let mut hash = HASH_START;
    for at in 0.. {
        hash = hash_token(hash, at, history[at]);
        if at + 1 == history.len() {
            if history.len() == prompt.len() + tokens {
                break;
            }
            history.push(greedy_of(hash));
        }
    }
    history.split_off(prompt.len())
}

/// Lets a test decide how many steps a model may run.
#[derive(Debug)]
pub(crate) struct Gate {
    permits: Mutex<Option<usize>>,
    changed: Condvar,
}

impl Gate {
    fn new() -> Self {
        Self { permits: Mutex::new(None), changed: Condvar::new() }
    }

    /// From now on only steps that are let through may run.
    pub(crate) fn close(&self) {
        *self.permits.lock().expect("no holder panics") = Some(0);
    }

    pub(crate) fn let_through(&self, steps: usize) {
        if let Some(permits) = self.permits.lock().expect("no holder panics").as_mut() {
            *permits += steps;
        }
        self.changed.notify_all();
    }

    pub(crate) fn open(&self) {
        *self.permits.lock().expect("no holder panics") = None;
        self.changed.notify_all();
    }

    fn pass(&self) {
        let closed = |permits: &mut Option<usize>| *permits == Some(0);
        let guard = self.permits.lock().expect("no holder panics");
        let mut guard = self.changed.wait_while(guard, closed).expect("no holder panics");
        if let Some(permits) = guard.as_mut() {
            *permits -= 1;
        }
    }
}

/// One chunk as the model got it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SeenChunk {
    pub(crate) tokens: Vec<TokenId>,
    pub(crate) position: usize,
}

/// What a test can see and steer of a model that the engine owns.
#[derive(Debug, Clone)]
pub(crate) struct Controls {
    pub(crate) gate: Arc<Gate>,
    /// The batches run, in order.
    pub(crate) seen: Arc<Mutex<Vec<Vec<SeenChunk>>>>,
    /// Moves by `step_time` in each step.
    pub(crate) clock: Arc<ManualClock>,
    /// Blocks whose memory was claimed.
    pub(crate) claimed: Arc<AtomicUsize>,
    /// While set, steps with a part of a prompt don't end by themselves, but where the one before was given up.
    pub(crate) holds: Arc<AtomicBool>,
    /// While set, such steps panic at their end.
    pub(crate) breaks: Arc<AtomicBool>,
    /// How often such a step has asked whether it is to be given up.
    pub(crate) asked: Arc<AtomicUsize>,
}

pub(crate) struct FakeModel {
    info: ModelInfo,
    /// `[blocks * KV_BLOCK_TOKENS]`, position and token in each slot.
    cache: Vec<(usize, TokenId)>,
    blocks: usize,
    controls: Controls,
    step_time: Duration,
    /// Whether the last step with a part of a prompt was given up.
    gave_up: bool,
    /// Hears when the model is dropped.
    pub(crate) dropped: Option<mpsc::Sender<()>>,
}

impl FakeModel {
    pub(crate) fn new(context_length: usize) -> Self {
        Self {
            info: ModelInfo {
                architecture: "fake".to_owned(),
                vocab_size: VOCAB_SIZE,
                context_length,
                layers: 1,
                kv_bytes_per_token: 16,
                weight_bytes: 0,
                parameters: 0,
            },
            cache: Vec::new(),
            blocks: 0,
            controls: Controls {
                gate: Arc::new(Gate::new()),
                seen: Arc::new(Mutex::new(Vec::new())),
                clock: Arc::new(ManualClock::new()),
                claimed: Arc::default(),
                holds: Arc::default(),
                breaks: Arc::default(),
                asked: Arc::default(),
            },
            step_time: Duration::from_millis(10),
            gave_up: false,
            dropped: None,
        }
    }

    pub(crate) fn controls(&self) -> Controls {
        self.controls.clone()
    }

    fn check(&self, chunk: &Chunk<'_>) -> Result<(), ModelError> {
        let needed = (chunk.position + chunk.tokens.len()).div_ceil(KV_BLOCK_TOKENS);
        let given = chunk.blocks.len();
        if chunk.tokens.is_empty() {
            return Err(ModelError::EmptyChunk);
        }
        if needed > given || chunk.blocks.iter().any(|block| *block as usize >= self.blocks) {
            return Err(ModelError::Blocks { needed, given, allocated: self.blocks });
        }
        if chunk.tokens.contains(&REFUSED) {
            return Err(ModelError::TokenOutOfRange { given: REFUSED, vocab_size: VOCAB_SIZE });
        }
        assert!(!chunk.tokens.contains(&PANICS), "the fake model was told to panic");
        Ok(())
    }

    /// Runs a batch without the test's controls.
    pub(crate) fn run(&mut self, chunks: &[Chunk<'_>], logits: &mut Vec<f32>) -> Result<(), ModelError> {
        logits.clear();
        chunks.iter().try_for_each(|chunk| self.check(chunk))?;
        for chunk in chunks {
            let slot = |position: usize| {
                chunk.blocks[position / KV_BLOCK_TOKENS] as usize * KV_BLOCK_TOKENS
                    + position % KV_BLOCK_TOKENS
            };
            for (at, token) in chunk.tokens.iter().enumerate() {
                self.cache[slot(chunk.position + at)] = (chunk.position + at, *token);
            }
            if chunk.wanted == Wanted::None || chunk.tokens.contains(&SHORT) {
                continue;
            }
            let end = chunk.position + chunk.tokens.len();
            let wanted = if chunk.wanted == Wanted::All { chunk.position } else { end - 1 };
            let mut hash = HASH_START;
            for at in 0..end {
                let (position, token) = self.cache[slot(at)];
                hash = hash_token(hash, position, token);
                if at >= wanted {
                    let start = logits.len();
                    logits_of(hash, logits);
                    if chunk.tokens.contains(&NOT_A_NUMBER) {
                        logits[start + 5] = f32::NAN;
                    }
                }
            }
        }
        Ok(())
    }
}

impl Model for FakeModel {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn allocate_kv(&mut self, blocks: usize) -> Result<(), ModelError> {
        self.blocks = blocks;
        self.cache = vec![(usize::MAX, TokenId::MAX); blocks * KV_BLOCK_TOKENS];
        Ok(())
    }

    fn claim_kv(&mut self) {
        self.controls.claimed.store(self.blocks, Ordering::SeqCst);
    }

    fn forward(&mut self, chunks: &[Chunk<'_>], logits: &mut Vec<f32>) -> Result<(), ModelError> {
        self.controls.gate.pass();
        self.controls.clock.advance(self.step_time);
        let seen = |chunk: &Chunk<'_>| SeenChunk { tokens: chunk.tokens.to_vec(), position: chunk.position };
        let batch = chunks.iter().map(seen).collect();
        self.controls.seen.lock().expect("no holder panics").push(batch);
        self.run(chunks, logits)
    }

    fn forward_unless(
        &mut self,
        chunks: &[Chunk<'_>],
        logits: &mut Vec<f32>,
        stop: &mut dyn FnMut() -> bool,
    ) -> Result<Ran, ModelError> {
        self.forward(chunks, logits)?;
        if chunks.iter().all(|chunk| chunk.wanted != Wanted::None) {
            return Ok(Ran::Whole);
        }
        let goes_on = std::mem::take(&mut self.gave_up);
        while self.controls.holds.load(Ordering::SeqCst) {
            if stop() {
                assert!(!goes_on, "of steps with parts, two in a row must not be given up");
                self.gave_up = true;
                logits.clear();
                return Ok(Ran::GivenUp);
            }
            if goes_on {
                break;
            }
            self.controls.asked.fetch_add(1, Ordering::SeqCst);
            std::thread::yield_now();
        }
        assert!(!self.controls.breaks.load(Ordering::SeqCst), "the fake model was told to panic");
        Ok(Ran::Whole)
    }
}

impl Drop for FakeModel {
    fn drop(&mut self) {
        if let Some(dropped) = &self.dropped {
            let _ = dropped.send(());
        }
    }
}
