use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base::{Clock, Rng, TokenId};
use engine::{Engine, EngineConfig, EngineStats, SamplingParams, Steering, Submission};
use models::LoadedModel;
use models::batch::{KV_BLOCK_TOKENS, ModelInfo};
use models::template::{ChatTemplate, SpecialTexts};
use models::tokenizer::Part;

use crate::answer::Answer;
use crate::assemble::{Assembler, Reading, spell};
use crate::error::DialogueError;
use crate::memory::Memory;
use crate::profile::{Profile, Thinking};
use crate::prompt::Prompt;
use crate::request::{ChatRequest, CompletionPrompt, CompletionRequest, check_stops};
use crate::speech::{Speech, bytes_of, looks_for_calls};
use crate::split::Start;
use crate::steer::Steer;

/// Most tokens of a step of the engine by default: what the layers of a small model pass on should fit the caches of a
/// core or two.
pub const STEP_TOKENS_MAX: usize = 256;

/// Sizes of a dialogue, all at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DialogueConfig {
    /// Most bytes of KV cache. What `running_max` answers of full context need is enough, and no more is taken.
    pub kv_bytes_max: u64,
    /// Most tokens of a step of the engine; large models take fewer, so that a step stays short.
    pub step_tokens_max: usize,
    /// Most answers generated at once.
    pub running_max: usize,
    /// Answers that may wait for their turn.
    pub waiting_max: usize,
    /// Whether the KV cache takes all its memory when the model is loaded, so that the first of many callers at once
    /// don't wait for the system to clear it.
    pub kv_claimed: bool,
}

impl Default for DialogueConfig {
    /// 2 GiB of KV cache, steps of at most [`STEP_TOKENS_MAX`] tokens, 8 answers at once, 64 waiting; memory is taken as it is used.
    fn default() -> Self {
        Self {
            kv_bytes_max: 2 << 30,
            step_tokens_max: STEP_TOKENS_MAX,
            running_max: 8,
            waiting_max: 64,
            kv_claimed: false,
        }
    }
}

/// Weights times tokens that two slow cores get through in about a second: a model of 8 billion weights reads some
/// 17 tokens a second there. While a step reads a prompt, answers in progress, cancellation and shutdown wait for it.
const STEP_WORK: u64 = 1 << 37;
/// A step of fewer tokens would only load the weights more often.
const STEP_TOKENS_MIN: usize = 16;

/// Tokens of a step that take about a second on a slow machine. What an answer says doesn't depend on it.
fn step_tokens(parameters: u64) -> usize {
    usize::try_from(STEP_WORK / parameters.max(1)).unwrap_or(usize::MAX).max(STEP_TOKENS_MIN)
}

impl DialogueConfig {
    /// For one person at one terminal: as the default, with one answer at a time.
    pub fn single() -> Self {
        Self { running_max: 1, waiting_max: 1, ..Self::default() }
    }

    fn engine(&self, info: &ModelInfo) -> EngineConfig {
        let block_bytes = (info.kv_bytes_per_token as u64).saturating_mul(KV_BLOCK_TOKENS as u64).max(1);
        let wanted = info.context_length.div_ceil(KV_BLOCK_TOKENS).saturating_mul(self.running_max);
        let allowed = usize::try_from(self.kv_bytes_max / block_bytes).unwrap_or(usize::MAX);
        EngineConfig {
            kv_blocks: wanted.min(allowed).max(1),
            step_tokens_max: self.step_tokens_max.min(step_tokens(info.parameters)),
            running_max: self.running_max,
            waiting_max: self.waiting_max,
            kv_claimed: self.kv_claimed,
        }
    }
}

/// One loaded model that answers conversations. A handle: clones share the model.
#[derive(Debug, Clone)]
pub struct Dialogue {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    engine: Engine,
    speech: Speech,
    memory: Arc<Memory>,
    /// For the ids of calls.
    rng: Mutex<Rng>,
    clock: Arc<dyn Clock>,
}

impl Dialogue {
    /// Starts the engine of a loaded model.
    ///
    /// # Errors
    /// When a size or default is outside its range, or the KV cache can't be had.
    pub fn new(
        loaded: LoadedModel,
        profile: Profile,
        config: DialogueConfig,
        clock: Arc<dyn Clock>,
        mut rng: Rng,
    ) -> Result<Self, DialogueError> {
        profile.sampling.validate()?;
        let engine_config = config.engine(&loaded.info);
        let speech = Speech::new(loaded.tokenizer, loaded.template, profile, &loaded.info);
        let ids = Mutex::new(rng.fork());
        let engine = Engine::start(loaded.model, engine_config, Arc::clone(&clock), rng)?;
        let memory = Arc::new(Memory::default());
        Ok(Self { inner: Arc::new(Inner { engine, speech, memory, rng: ids, clock }) })
    }

    /// The name that the model is asked for by.
    pub fn name(&self) -> &str {
        &self.inner.speech.name
    }

    /// Facts about the model.
    pub fn info(&self) -> &ModelInfo {
        self.inner.engine.info()
    }

    /// Whether it thinks before it answers.
    pub fn thinking(&self) -> Thinking {
        self.inner.speech.thinking
    }

    /// How tokens are chosen where a request doesn't say.
    pub fn sampling(&self) -> &SamplingParams {
        &self.inner.speech.sampling
    }

    /// Tokens that a conversation and its answer may have together: the model's context, or the KV cache if that
    /// is smaller.
    pub fn context(&self) -> usize {
        self.inner.engine.length_max()
    }

    /// Answers that are generated or wait at most, and how many of them may be generated at once.
    pub fn places(&self) -> (usize, usize) {
        self.inner.engine.places()
    }

    /// The state of the engine.
    pub fn stats(&self) -> EngineStats {
        self.inner.engine.stats()
    }

    /// The tokens of a text, none of them special.
    ///
    /// # Errors
    /// When the text is too long.
    pub fn tokens_of_text(&self, text: &str) -> Result<Vec<TokenId>, DialogueError> {
        Ok(self.inner.speech.tokenizer.encode_text(text)?)
    }

    /// The tokens of a text, special ones where their names stand in it: for those who measure a model, not for what
    /// users wrote. `begins` puts the token before it that the model expects a sequence to begin with.
    ///
    /// # Errors
    /// When the text is too long.
    pub fn tokens_of_markup(&self, text: &str, begins: bool) -> Result<Vec<TokenId>, DialogueError> {
        let tokenizer = &self.inner.speech.tokenizer;
        let parts = [Part::Markup(text)];
        Ok(if begins { tokenizer.encode_rendered(&parts)? } else { tokenizer.encode_parts(&parts)? })
    }

    /// The text of tokens, special ones spelled out.
    ///
    /// # Errors
    /// When an id is none of the model's.
    pub fn text_of_tokens(&self, tokens: &[TokenId]) -> Result<String, DialogueError> {
        self.check_ids("tokens", tokens.iter().copied())?;
        Ok(self.inner.speech.tokenizer.decode_all(tokens))
    }

    /// The literals of the model's special tokens.
    pub fn special_texts(&self) -> SpecialTexts {
        SpecialTexts::of(&self.inner.speech.tokenizer)
    }

    /// The text of the model's chat template; none in models that only go on with a text.
    pub fn template_source(&self) -> Option<&str> {
        self.inner.speech.template.as_ref().map(ChatTemplate::source)
    }

    /// Text and bytes of one token; a control token's name.
    pub fn spell(&self, token: TokenId) -> (String, Vec<u8>) {
        spell(&self.inner.speech.tokenizer, token)
    }

    /// Checks a request, renders it with the model's template and tokenises it, and compiles the form that its answer
    /// is to have. No work for the model yet, but it may take some ten milliseconds, and a few hundred the first time
    /// that an answer has a form: not for async code.
    ///
    /// # Errors
    /// When a field is outside its range, the template refuses the messages, a form or tool can't be held to, or the
    /// messages don't fit in the context together with the answer asked for. Nothing is ever cut away to make them fit.
    pub fn check(&self, request: &ChatRequest) -> Result<Prompt, DialogueError> {
        request.validate()?;
        let Inner { speech, memory, .. } = &*self.inner;
        let sampling = request.sampling.over(&speech.sampling);
        sampling.validate()?;
        self.check_bias(&sampling)?;
        speech.check_thinking(request.thinking)?;
        speech.check_bytes(bytes_of(request), request.tokens_max, self.context())?;
        let (tokens, start) = speech.tokens(request, self.inner.clock.unix_ms())?;
        let tokens = memory.recall(&speech.tokenizer, request.scope, tokens);
        let tokens_max = self.room(tokens.len(), request.tokens_max, 1)?;
        Ok(Prompt {
            tokens,
            tokens_max,
            sampling,
            stop: request.stop.clone(),
            start,
            plan: speech.planner.chat(request, start)?,
            calls: looks_for_calls(request),
            read_logprobs: None,
            of_conversation: true,
            priority: request.priority,
            scope: request.scope,
        })
    }

    /// Checks a request to go on with a text. As [`check`](Self::check), without a conversation around it.
    ///
    /// # Errors
    /// As [`check`](Self::check); also when the model can't fill in the middle of a text and is asked to.
    pub fn check_completion(&self, request: &CompletionRequest) -> Result<Prompt, DialogueError> {
        let speech = &self.inner.speech;
        check_stops(&request.stop)?;
        let sampling = request.sampling.over(&speech.sampling);
        sampling.validate()?;
        self.check_bias(&sampling)?;
        if request.tokens_max == Some(0) && request.prompt_logprobs.is_none() {
            return Err(DialogueError::invalid("max_tokens", "at least 1", "0"));
        }
        let tokens = self.completion_tokens(request)?;
        let least = usize::from(request.tokens_max != Some(0));
        let tokens_max = self.room(tokens.len(), request.tokens_max, least)?;
        Ok(Prompt {
            tokens,
            tokens_max,
            sampling,
            stop: request.stop.clone(),
            start: Start::Content,
            plan: speech.planner.text(&request.format)?,
            calls: false,
            read_logprobs: request.prompt_logprobs,
            of_conversation: false,
            priority: request.priority,
            scope: request.scope,
        })
    }

    /// The tokens to go on with.
    fn completion_tokens(&self, request: &CompletionRequest) -> Result<Vec<TokenId>, DialogueError> {
        let speech = &self.inner.speech;
        let suffix = request.suffix.as_deref().filter(|suffix| !suffix.is_empty());
        let text = match &request.prompt {
            CompletionPrompt::Text(text) => text,
            CompletionPrompt::Tokens(_) if suffix.is_some() => {
                return Err(DialogueError::invalid("suffix", "with a prompt of text", "with one of tokens"));
            }
            CompletionPrompt::Tokens(tokens) => {
                self.check_ids("prompt", tokens.iter().copied())?;
                if tokens.is_empty() {
                    return Err(DialogueError::invalid("prompt", "at least 1 token", "none"));
                }
                return Ok(tokens.clone());
            }
        };
        let bytes = text.len().saturating_add(suffix.map_or(0, str::len));
        speech.check_bytes(bytes, request.tokens_max, self.context())?;
        let tokenizer = &speech.tokenizer;
        if let Some(suffix) = suffix {
            let Some(fim) = tokenizer.fim() else {
                let allowed = format!("none: {} can't fill in the middle of a text", speech.name);
                return Err(DialogueError::invalid("suffix", allowed, "one"));
            };
            let mut tokens: Vec<TokenId> =
                tokenizer.bos().filter(|_| tokenizer.add_bos()).into_iter().collect();
            tokens.push(fim.prefix);
            tokens.extend(tokenizer.encode_text(text)?);
            tokens.push(fim.suffix);
            tokens.extend(tokenizer.encode_text(suffix)?);
            tokens.push(fim.middle);
            return Ok(tokens);
        }
        let mut tokens = tokenizer.encode_rendered(&[Part::User(text)])?;
        if tokens.is_empty() {
            // There must be something to go on from.
            let first = tokenizer.bos().or(tokenizer.eos());
            tokens.extend(first);
        }
        if tokens.is_empty() {
            return Err(DialogueError::invalid("prompt", "at least 1 byte", "none"));
        }
        Ok(tokens)
    }

    /// Tokens that may be generated behind a prompt: as many as were asked for, or all that fit, `least` at least.
    fn room(
        &self,
        prompt_tokens: usize,
        tokens_max: Option<usize>,
        least: usize,
    ) -> Result<usize, DialogueError> {
        let context = self.context();
        let wanted = tokens_max.unwrap_or(least);
        if prompt_tokens.saturating_add(wanted) > context {
            return Err(DialogueError::TooLong { prompt_tokens, tokens_max, context });
        }
        Ok(tokens_max.unwrap_or(context - prompt_tokens))
    }

    /// Queues a prompt and returns at once.
    ///
    /// # Errors
    /// When the queue is full or the model is shutting down.
    pub fn start(&self, prompt: Prompt) -> Result<Answer, DialogueError> {
        let Inner { speech, memory, .. } = &*self.inner;
        let reading = Reading {
            start: prompt.start,
            tags: speech.tags.filter(|_| prompt.of_conversation),
            calls: speech.markup.clone().filter(|_| prompt.calls),
            stop: &prompt.stop,
            logprobs: prompt.sampling.logprobs.is_some(),
        };
        let rng = self.inner.rng.lock().unwrap_or_else(PoisonError::into_inner).fork();
        let mut assembler = Assembler::new(Arc::clone(&speech.tokenizer), &reading, rng);
        if prompt.of_conversation {
            assembler.remember(Arc::clone(memory), prompt.scope, prompt.tokens.clone());
        }
        let steering = prompt.plan.map(|plan| {
            Box::new(Steer::new(Arc::clone(&speech.planner), plan, prompt.start)) as Box<dyn Steering>
        });
        let sequence = self.inner.engine.submit(Submission {
            prompt: prompt.tokens,
            sampling: prompt.sampling,
            tokens_max: prompt.tokens_max,
            end_tokens: speech.tokenizer.end_tokens().to_vec(),
            priority: prompt.priority,
            scope: prompt.scope,
            steering,
            prompt_logprobs: prompt.read_logprobs,
        })?;
        Ok(Answer::new(sequence, assembler, prompt.stop))
    }

    /// Refuses new prompts from now on, lets answers go on for at most `deadline`, then cuts them with
    /// [`Finish::ShuttingDown`](crate::Finish::ShuttingDown). Returns at once. A second call may only shorten the
    /// deadline.
    pub fn shutdown(&self, deadline: Duration) {
        self.inner.engine.shutdown(deadline);
    }

    /// Blocks until every answer has its last event and the model is no longer in memory. Not for async code.
    pub fn wait_stopped(&self) {
        self.inner.engine.wait_stopped();
    }

    fn check_bias(&self, sampling: &SamplingParams) -> Result<(), DialogueError> {
        self.check_ids("logit_bias", sampling.logit_bias.iter().map(|&(id, _)| id))
    }

    fn check_ids(
        &self,
        name: &'static str,
        mut ids: impl Iterator<Item = TokenId>,
    ) -> Result<(), DialogueError> {
        let vocab_size = self.info().vocab_size;
        match ids.find(|&id| usize::try_from(id).is_ok_and(|id| id >= vocab_size)) {
            Some(id) => {
                Err(DialogueError::invalid(name, format!("of token ids below {vocab_size}"), id.to_string()))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_models_take_small_steps() {
        let steps = |parameters: u64, config: DialogueConfig| {
            let info = ModelInfo {
                architecture: "llama".to_owned(),
                vocab_size: 1000,
                context_length: 4096,
                layers: 2,
                kv_bytes_per_token: 64,
                weight_bytes: parameters,
                parameters,
            };
            config.engine(&info).step_tokens_max
        };
        let default = DialogueConfig::default();
        // SmolLM2-135M, Qwen2.5 0.5B and 1.5B, Llama 3.1 8B, Llama 3.1 70B.
        for (parameters, expected) in [
            (134_515_008, 256),
            (494_032_768, 256),
            (1_543_714_304, 89),
            (8_030_261_312, 17),
            (70_553_706_560, 16),
        ] {
            assert_eq!(steps(parameters, default), expected, "{parameters}");
        }
        assert_eq!(steps(0, default), 256);
        // What one asks for is the most that one gets.
        assert_eq!(steps(8_030_261_312, DialogueConfig { step_tokens_max: 4, ..default }), 4);
    }
}
