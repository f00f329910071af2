use std::sync::Arc;
use std::time::Duration;

use base::{Clock, Rng, TokenId};
use engine::{CacheScope, Engine, EngineConfig, EngineStats, Priority, SamplingParams, Submission};
use models::LoadedModel;
use models::batch::{KV_BLOCK_TOKENS, ModelInfo};
use models::template::{ChatTemplate, RenderOptions, TemplateMessage};
use models::tokenizer::{self, Tokenizer};

use crate::answer::Answer;
use crate::assemble::{Assembler, Reading, TagTokens};
use crate::error::DialogueError;
use crate::profile::{Profile, Thinking};
use crate::request::{Begun, ChatRequest, CompletionPrompt, CompletionRequest, Message};
use crate::split::{CLOSING, OPENING, Start};

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
}

impl Default for DialogueConfig {
    /// 2 GiB of KV cache, steps of at most 512 tokens, 8 answers at once, 64 waiting.
    fn default() -> Self {
        Self { kv_bytes_max: 2 << 30, step_tokens_max: 512, running_max: 8, waiting_max: 64 }
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
        }
    }
}

/// An upper bound of what a prompt costs, known before any work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Tokens to read.
    pub prompt_tokens: usize,
    /// Most tokens to generate.
    pub completion_tokens_max: usize,
}

/// A request that was checked, rendered and tokenised. For the dialogue that made it.
#[derive(Debug, Clone, PartialEq)]
pub struct Prompt {
    tokens: Vec<TokenId>,
    tokens_max: usize,
    sampling: SamplingParams,
    stop: Vec<String>,
    start: Start,
    priority: Priority,
    scope: CacheScope,
}

impl Prompt {
    /// What the model is given to continue.
    pub fn tokens(&self) -> &[TokenId] {
        &self.tokens
    }

    /// An upper bound of what it costs.
    pub fn cost(&self) -> Cost {
        Cost { prompt_tokens: self.tokens.len(), completion_tokens_max: self.tokens_max }
    }

    /// The same, for no more than so many tokens, at least 1.
    #[must_use]
    pub fn at_most(self, tokens: usize) -> Self {
        Self { tokens_max: self.tokens_max.min(tokens.max(1)), ..self }
    }

    /// The same for the answer of this number, from 0, among several: where a seed is set, each has one of its own.
    #[must_use]
    pub fn nth(mut self, number: u64) -> Self {
        self.sampling.seed = self.sampling.seed.map(|seed| seed.wrapping_add(number));
        self
    }

    /// How tokens will be chosen: the request's choices over the model's defaults.
    pub fn sampling(&self) -> &SamplingParams {
        &self.sampling
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
    clock: Arc<dyn Clock>,
}

/// What turns messages into tokens and back.
struct Speech {
    name: String,
    sampling: SamplingParams,
    thinking: Thinking,
    tokenizer: Arc<Tokenizer>,
    template: ChatTemplate,
    tags: Option<TagTokens>,
    /// Bytes of text of which more can't be few enough tokens for the context.
    text_bytes_max: usize,
}

impl std::fmt::Debug for Speech {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Speech")
            .field("name", &self.name)
            .field("thinking", &self.thinking)
            .finish_non_exhaustive()
    }
}

impl Dialogue {
    /// Starts the engine of a loaded model.
    ///
    /// # Errors
    /// When the model has no chat template, a size or default is outside its range, or the KV cache can't be had.
    pub fn new(
        loaded: LoadedModel,
        profile: Profile,
        config: DialogueConfig,
        clock: Arc<dyn Clock>,
        rng: Rng,
    ) -> Result<Self, DialogueError> {
        profile.sampling.validate()?;
        let Some(template) = loaded.template else {
            return Err(DialogueError::NoTemplate { name: profile.name });
        };
        let engine_config = config.engine(&loaded.info);
        let speech = Speech::new(loaded.tokenizer, template, profile, &loaded.info);
        let engine = Engine::start(loaded.model, engine_config, Arc::clone(&clock), rng)?;
        Ok(Self { inner: Arc::new(Inner { engine, speech, clock }) })
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

    /// The state of the engine.
    pub fn stats(&self) -> EngineStats {
        self.inner.engine.stats()
    }

    /// Checks a request, renders it with the model's template and tokenises it. No work for the model yet.
    ///
    /// # Errors
    /// When a field is outside its range, the template refuses the messages, or they don't fit in the context
    /// together with the answer asked for. Nothing is ever cut away to make them fit.
    pub fn check(&self, request: &ChatRequest) -> Result<Prompt, DialogueError> {
        request.validate()?;
        let speech = &self.inner.speech;
        let sampling = request.sampling.over(&speech.sampling);
        sampling.validate()?;
        self.check_bias(&sampling)?;
        speech.check_thinking(request.thinking)?;
        let context = self.context();
        speech.check_bytes(request, context)?;
        let (tokens, start) = speech.tokens(request, self.inner.clock.unix_ms())?;
        let prompt_tokens = tokens.len();
        let wanted = request.tokens_max.unwrap_or(1);
        if prompt_tokens.saturating_add(wanted) > context {
            return Err(DialogueError::TooLong { prompt_tokens, tokens_max: request.tokens_max, context });
        }
        Ok(Prompt {
            tokens,
            tokens_max: request.tokens_max.unwrap_or(context - prompt_tokens),
            sampling,
            stop: request.stop.clone(),
            start,
            priority: request.priority,
            scope: request.scope,
        })
    }

    /// Checks a text to continue and tokenises it.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn check_completion(&self, request: &CompletionRequest) -> Result<Prompt, DialogueError> {
        let speech = &self.inner.speech;
        if request.suffix.is_some() {
            return Err(DialogueError::invalid("suffix", "absent", "a text"));
        }
        let sampling = request.sampling.over(&speech.sampling);
        sampling.validate()?;
        self.check_bias(&sampling)?;
        let tokens = match &request.prompt {
            CompletionPrompt::Text(text) => speech.tokenizer.encode_text(text)?,
            CompletionPrompt::Tokens(tokens) => tokens.clone(),
        };
        let context = self.context();
        let prompt_tokens = tokens.len();
        let wanted = request.tokens_max.unwrap_or(1);
        if prompt_tokens.saturating_add(wanted) > context {
            return Err(DialogueError::TooLong { prompt_tokens, tokens_max: request.tokens_max, context });
        }
        Ok(Prompt {
            tokens,
            tokens_max: request.tokens_max.unwrap_or(context - prompt_tokens),
            sampling,
            stop: request.stop.clone(),
            start: Start::Content,
            priority: request.priority,
            scope: request.scope,
        })
    }

    /// Text and bytes of one token; a control token's name.
    pub fn spell(&self, token: TokenId) -> (String, Vec<u8>) {
        let tokenizer = &self.inner.speech.tokenizer;
        let bytes = tokenizer.token_bytes(token);
        if bytes.is_empty() {
            let name = tokenizer.token_text(token).unwrap_or_default();
            return (name.to_owned(), name.as_bytes().to_vec());
        }
        (String::from_utf8_lossy(bytes).into_owned(), bytes.to_vec())
    }

    /// Queues a prompt and returns at once.
    ///
    /// # Errors
    /// When the queue is full or the model is shutting down.
    pub fn start(&self, prompt: Prompt) -> Result<Answer, DialogueError> {
        let speech = &self.inner.speech;
        let reading = Reading {
            start: prompt.start,
            tags: speech.tags,
            stop: &prompt.stop,
            logprobs: prompt.sampling.logprobs.is_some(),
        };
        let assembler = Assembler::new(Arc::clone(&speech.tokenizer), &reading);
        let sequence = self.inner.engine.submit(Submission {
            prompt: prompt.tokens,
            sampling: prompt.sampling,
            tokens_max: prompt.tokens_max,
            end_tokens: speech.tokenizer.end_tokens().to_vec(),
            priority: prompt.priority,
            scope: prompt.scope,
            steering: None,
            prompt_logprobs: None,
        })?;
        Ok(Answer::new(sequence, assembler))
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
        let vocab_size = self.info().vocab_size;
        let outside = |id: TokenId| usize::try_from(id).is_ok_and(|id| id >= vocab_size);
        match sampling.logit_bias.iter().find(|&&(id, _)| outside(id)) {
            Some(&(id, _)) => Err(DialogueError::invalid(
                "logit_bias",
                format!("of token ids below {vocab_size}"),
                id.to_string(),
            )),
            None => Ok(()),
        }
    }
}

impl Speech {
    fn new(tokenizer: Arc<Tokenizer>, template: ChatTemplate, profile: Profile, info: &ModelInfo) -> Self {
        let tags = tokenizer
            .token_id(OPENING)
            .zip(tokenizer.token_id(CLOSING))
            .map(|(opening, closing)| TagTokens { opening, closing });
        let thinking = profile.thinking.unwrap_or_else(|| detect_thinking(&template));
        let longest = (0..tokenizer.vocab_size()).map(|id| tokenizer.token_bytes(id as TokenId).len()).max();
        // Unicode normalisation makes a text shorter by less than this factor.
        let token_bytes_max = longest.unwrap_or(1).max(1).saturating_mul(4);
        let text_bytes_max = info.context_length.saturating_mul(token_bytes_max);
        let (name, sampling) = (profile.name, profile.sampling);
        Self { name, sampling, thinking, tokenizer, template, tags, text_bytes_max }
    }

    fn check_thinking(&self, wanted: Option<bool>) -> Result<(), DialogueError> {
        if wanted == Some(true) && self.thinking == Thinking::None {
            let allowed = format!("off or not set: {} does not think", self.name);
            return Err(DialogueError::invalid("thinking", allowed, "on"));
        }
        Ok(())
    }

    /// Refuses texts that are so long that tokenising them would only tell by how much.
    fn check_bytes(&self, request: &ChatRequest, context: usize) -> Result<(), DialogueError> {
        let said = request.said().map_or(0, |begun| {
            begun.reasoning.as_ref().map_or(0, String::len).saturating_add(begun.content.len())
        });
        let bytes =
            request.messages.iter().fold(said, |sum, message| sum.saturating_add(message.content.len()));
        if bytes <= self.text_bytes_max {
            return Ok(());
        }
        let prompt_tokens = bytes / (self.text_bytes_max / context.max(1)).max(1);
        Err(DialogueError::TooLong { prompt_tokens, tokens_max: request.tokens_max, context })
    }

    fn tokens(
        &self,
        request: &ChatRequest,
        now_unix_ms: i64,
    ) -> Result<(Vec<TokenId>, Start), DialogueError> {
        let messages: Vec<_> = request.messages.iter().map(template_message).collect();
        let said = request.said();
        // What was begun with a thought, or without, goes on so.
        let wanted = said.map_or(request.thinking, |begun| Some(begun.reasoning.is_some()));
        let enable_thinking = wanted.filter(|_| self.thinking == Thinking::Switchable);
        let options = RenderOptions { add_generation_prompt: true, enable_thinking, now_unix_ms };
        let rendered = self.template.render(&messages, &options)?;
        let mut parts = rendered.parts();
        let opened = rendered.opens_thinking();
        let thinks = self.thinking != Thinking::None;
        let close = thinks && wanted == Some(false) && (opened || self.thinking == Thinking::Always);
        let start = match opened {
            _ if wanted == Some(false) => Start::Content,
            true => Start::Reasoning,
            false if ends_with_closing(&parts) => Start::Content,
            false if thinks || self.tags.is_some() => Start::Open,
            false => Start::Content,
        };
        // A model without a switch is given thinking that is over already (Ma et al. 2025, "Reasoning Models Can
        // Be Effective Without Thinking").
        let lead = match said {
            Some(Begun { reasoning: Some(_), .. }) if !opened => "<think>\n".to_owned(),
            _ if close => format!("{}\n{CLOSING}\n\n", if opened { "" } else { "<think>\n" }),
            _ => String::new(),
        };
        // Markup must be one with the markup before it.
        let last;
        if !lead.is_empty() {
            let before = match parts.last() {
                Some(&tokenizer::Part::Markup(text)) => {
                    parts.pop();
                    text
                }
                _ => "",
            };
            last = format!("{before}{lead}");
            parts.push(tokenizer::Part::Markup(&last));
        }
        let start = said.map_or(start, |begun| go_on(begun, &mut parts));
        Ok((self.tokenizer.encode_rendered(&parts)?, start))
    }
}

/// Puts what the model has said already at the end of the prompt, and tells where it goes on.
fn go_on<'a>(begun: &'a Begun, parts: &mut Vec<tokenizer::Part<'a>>) -> Start {
    if let Some(reasoning) = &begun.reasoning {
        parts.push(tokenizer::Part::User(reasoning));
        if begun.content.is_empty() {
            return Start::MidReasoning;
        }
        let closing = if reasoning.ends_with('\n') { "</think>\n\n" } else { "\n</think>\n\n" };
        parts.push(tokenizer::Part::Markup(closing));
    }
    parts.push(tokenizer::Part::User(&begun.content));
    Start::Content
}

/// The message as the model is shown it: without the reasoning of earlier turns.
fn template_message(message: &Message) -> TemplateMessage {
    TemplateMessage {
        role: message.role.name().to_owned(),
        content: message.content.clone(),
        reasoning: None,
    }
}

/// What the template says about a model of which nothing else is known.
fn detect_thinking(template: &ChatTemplate) -> Thinking {
    let prompt = template.thinking();
    match (prompt.switchable, prompt.opens) {
        (true, _) => Thinking::Switchable,
        (false, true) => Thinking::Always,
        (false, false) => Thinking::None,
    }
}

/// Whether the template, not a message, ends the prompt with the closing tag, white space aside.
fn ends_with_closing(parts: &[tokenizer::Part<'_>]) -> bool {
    matches!(parts.last(), Some(tokenizer::Part::Markup(text)) if text.trim_end().ends_with(CLOSING))
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
            (134_515_008, 512),
            (494_032_768, 278),
            (1_543_714_304, 89),
            (8_030_261_312, 17),
            (70_553_706_560, 16),
        ] {
            assert_eq!(steps(parameters, default), expected, "{parameters}");
        }
        assert_eq!(steps(0, default), 512);
        // What one asks for is the most that one gets.
        assert_eq!(steps(8_030_261_312, DialogueConfig { step_tokens_max: 4, ..default }), 4);
    }
}
