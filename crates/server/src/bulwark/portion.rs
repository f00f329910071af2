//! How large an answer may be: what is asked for, cut down to the caps of the caller's class and, under load, to what
//! the brownout leaves of it. What was cut is said in the response.

use axum::http::HeaderValue;
use axum::response::Response;
use defence::{Caps, Reduced, Request, TooMuch, Weights};
use dialogue::{ChatRequest, CompletionPrompt, CompletionRequest, Dialogue, Prompt, Thinking};
use serde::Serialize;
use utoipa::ToSchema;

use super::Bulwark;
use crate::accounts::Standing;
use crate::error::ApiError;

/// The field of a response that says what was cut: `thinking_tokens=512, output_tokens=1024`.
const REDUCED: &str = "x-cachalot-reduced";
/// Bytes of text that make a token, about.
const TOKEN_BYTES: u64 = 4;
/// No tokenizer gets so many bytes into each token of a text.
const TOKEN_BYTES_MAX: u64 = 16;

/// What somebody asks of a model, before any work for it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wish {
    /// Of the prompts.
    pub(crate) text_bytes: usize,
    /// Whether it may think first.
    pub(crate) may_think: bool,
    /// Most tokens of thought, if any number was asked for.
    pub(crate) thinking_tokens: Option<usize>,
    /// Most tokens of an answer with its thought, if any number was asked for.
    pub(crate) tokens_max: Option<usize>,
}

impl Wish {
    /// Of a conversation, with so many tokens at most.
    pub(crate) fn of_chat(request: &ChatRequest, tokens_max: Option<usize>) -> Self {
        let said = request.messages.iter().map(|message| {
            message.content.len().saturating_add(message.reasoning.as_ref().map_or(0, String::len))
        });
        Self {
            text_bytes: said.sum(),
            may_think: request.thinking != Some(false),
            thinking_tokens: request.reasoning_tokens_max,
            tokens_max,
        }
    }

    /// Of texts to go on with.
    pub(crate) fn of_completions(requests: &[CompletionRequest]) -> Self {
        let bytes = |request: &CompletionRequest| match &request.prompt {
            CompletionPrompt::Text(text) => text.len(),
            CompletionPrompt::Tokens(tokens) => tokens.len().saturating_mul(TOKEN_BYTES as usize),
        };
        let tokens = requests.iter().map(|request| request.tokens_max);
        Self {
            text_bytes: requests.iter().map(bytes).sum(),
            may_think: false,
            thinking_tokens: None,
            // None is the most there is.
            tokens_max: tokens.reduce(|one, other| Some(one?.max(other?))).flatten(),
        }
    }
}

/// What an answer may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Portion {
    caps: Caps,
    asked: Request,
    left: Reduced,
}

/// What was cut, in tokens. Nothing where it is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, ToSchema)]
#[schema(as = AnswerReduced)]
pub(crate) struct Cut {
    /// Most tokens of thought, if that is less than was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) thinking_tokens: Option<u64>,
    /// Most tokens of the answer with its thought, if that is less than was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) output_tokens: Option<u64>,
}

impl Bulwark {
    /// What somebody may have of what they ask for.
    ///
    /// # Errors
    /// When the text is too long for their class, which is known before any of it is read.
    pub(crate) fn portion(
        &self,
        dialogue: &Dialogue,
        standing: Standing,
        wish: Wish,
    ) -> Result<Portion, ApiError> {
        let portion = self.portion_of(dialogue.context() as u64, dialogue.thinking(), standing, wish);
        portion.check_text(wish.text_bytes as u64)?;
        Ok(portion)
    }

    fn portion_of(&self, context: u64, thinking: Thinking, standing: Standing, wish: Wish) -> Portion {
        let caps = self.caps(standing);
        let thinks = wish.may_think && thinking != Thinking::None;
        let number = |tokens: Option<usize>| tokens.map_or(context, |tokens| tokens as u64).min(context);
        let asked = Request {
            prompt_tokens: (wish.text_bytes as u64).div_ceil(TOKEN_BYTES),
            cached_tokens: 0,
            output_tokens_max: number(wish.tokens_max),
            thinking_tokens_max: if thinks { number(wish.thinking_tokens) } else { 0 },
        };
        let cap = |tokens: u64, cap: Option<u64>| cap.map_or(tokens, |cap| tokens.min(cap));
        let (thinking, output) = (
            cap(asked.thinking_tokens_max, caps.thinking_tokens),
            cap(asked.output_tokens_max, caps.output_tokens),
        );
        Portion { caps, asked, left: self.reduce(standing, thinking, output) }
    }
}

impl Portion {
    fn check_text(&self, bytes: u64) -> Result<(), ApiError> {
        let Some(context) = self.caps.context_tokens else { return Ok(()) };
        let given = bytes / TOKEN_BYTES_MAX;
        if given < context {
            return Ok(());
        }
        Err(TooMuch::Context { allowed: context.saturating_sub(1), given }.into())
    }

    /// What so many answers may cost at most.
    pub(crate) fn cost(&self, answers: usize) -> u64 {
        let each = Request {
            prompt_tokens: 0,
            cached_tokens: 0,
            output_tokens_max: self.left.output_tokens,
            thinking_tokens_max: self.left.thinking_tokens,
        };
        let weights = Weights::default();
        self.asked.prompt_tokens.saturating_add(each.cost(weights).saturating_mul(answers as u64))
    }

    /// Most tokens of thought, where that is less than was asked for.
    pub(crate) fn thinking_tokens(&self) -> Option<usize> {
        let left = self.left.thinking_tokens;
        (left < self.asked.thinking_tokens_max).then_some(left as usize)
    }

    /// The prompt for an answer that is no larger, and what was cut.
    ///
    /// # Errors
    /// When the prompt leaves no room for one.
    pub(crate) fn fit(&self, prompt: Prompt) -> Result<(Prompt, Cut), ApiError> {
        let asked = prompt.cost();
        let read = asked.prompt_tokens as u64;
        let most = self.left.output_tokens.saturating_add(self.left.thinking_tokens);
        let caps = Caps { context_tokens: self.caps.context_tokens, ..Caps::default() };
        let request = Request { prompt_tokens: read, output_tokens_max: most, ..Request::default() };
        let most = caps.fit(request)?.output_tokens_max as usize;
        let prompt = prompt.at_most(most);
        let is_cut = prompt.cost().completion_tokens_max < asked.completion_tokens_max;
        let cut = Cut {
            thinking_tokens: self.thinking_tokens().map(|tokens| tokens as u64),
            output_tokens: is_cut.then(|| prompt.cost().completion_tokens_max as u64),
        };
        Ok((prompt, cut))
    }
}

impl Cut {
    /// Nothing was cut.
    pub(crate) fn is_none(self) -> bool {
        self == Self::default()
    }

    /// What was cut of several.
    pub(crate) fn and(self, other: Self) -> Self {
        let least = |one: Option<u64>, other: Option<u64>| one.into_iter().chain(other).min();
        Self {
            thinking_tokens: least(self.thinking_tokens, other.thinking_tokens),
            output_tokens: least(self.output_tokens, other.output_tokens),
        }
    }

    /// Says it in a response.
    pub(crate) fn mark(self, mut response: Response) -> Response {
        let named = [("thinking_tokens", self.thinking_tokens), ("output_tokens", self.output_tokens)];
        let said: Vec<_> =
            named.into_iter().filter_map(|(name, tokens)| Some(format!("{name}={}", tokens?))).collect();
        if !said.is_empty()
            && let Ok(value) = HeaderValue::from_str(&said.join(", "))
        {
            response.headers_mut().insert(REDUCED, value);
        }
        response
    }
}
