//! `POST /v1/chat/completions`: one answer to a conversation that the client holds. When the client goes away the
//! answer is dropped, and that cancels it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use dialogue::{
    Answer, AnswerEvent, CacheScope, ChatRequest, Dialogue, Finish, HubError, Message, Part,
    SamplingOverrides,
};
use tokio::time::timeout;
use wire::STREAM_DONE;
use wire::chat::{
    AnswerMessage, ChatCompletion, ChatCompletionChunk, ChatCompletionRequest, Choice, ChunkChoice, Delta,
    FinishReason, LogprobToken, Logprobs, RequestMessage, RequestRole, TopLogprob, Usage,
};

use crate::accounts::Caller;
use crate::answers::{Admission, Place, admit, start};
use crate::app::App;
use crate::body::JsonBytes;
use crate::error::ApiError;
use crate::sse;

pub(crate) async fn handle(
    State(app): State<App>,
    caller: Result<Caller, ApiError>,
    body: JsonBytes,
) -> Result<Response, ApiError> {
    tokio::select! {
        biased;
        response = answer(&app, caller.ok(), body) => response,
        () = app.cut_off() => Err(HubError::ShuttingDown.into()),
    }
}

/// What groups give binds whoever is signed in. A program on this machine without a session is bound by nothing, and shares
/// what was read with its like only.
async fn answer(
    app: &App,
    caller: Option<Caller>,
    JsonBytes(body, room): JsonBytes,
) -> Result<Response, ApiError> {
    let request = ChatCompletionRequest::from_json(&body)?;
    drop(body);
    let (stream, include_usage, logprobs) = (request.stream, request.include_usage, request.logprobs);
    let admitted = match caller {
        Some(caller) => Some(admit(app, caller.user, &request.model).await?),
        None => None,
    };
    let begun = begin(app, request, admitted.as_ref(), caller).await;
    if let (Err(_), Some(admitted)) = (&begun, &admitted) {
        admitted.give_back(app).await;
    }
    let (answer, dialogue) = begun?;
    drop(room);
    let naming = Naming {
        id: format!("chatcmpl-{}", app.random_name()),
        created: app.clock.unix_ms() / 1000,
        model: dialogue.name().to_owned(),
    };
    let place = admitted.map(|admitted| admitted.place);
    let running = Running { answer, _dialogue: dialogue, _place: place };
    if stream {
        Ok(sse::respond(Chunks::new(app, running, naming, include_usage)))
    } else {
        Ok(Json(whole(app, running, naming, logprobs).await?).into_response())
    }
}

async fn begin(
    app: &App,
    request: ChatCompletionRequest,
    admitted: Option<&Admission>,
    caller: Option<Caller>,
) -> Result<(Answer, Arc<Dialogue>), ApiError> {
    let dialogue = app.hub.get(&request.model).await?;
    let scope = caller.map_or_else(CacheScope::default, |caller| CacheScope(caller.user.into()));
    let request = ChatRequest { scope, ..asked(request) };
    let tokens_max = admitted.and_then(|admitted| admitted.tokens_max);
    let answer = start(app, &dialogue, request, tokens_max).await?;
    Ok((answer, dialogue))
}

/// An answer, the model that it keeps from being unloaded, and the place of the caller that it takes.
struct Running {
    answer: Answer,
    _dialogue: Arc<Dialogue>,
    _place: Option<Place>,
}

/// What is the same in every chunk of an answer.
struct Naming {
    id: String,
    created: i64,
    model: String,
}

fn asked(request: ChatCompletionRequest) -> ChatRequest {
    let top = |logprobs: bool| logprobs.then_some(request.top_logprobs.unwrap_or(0) as usize);
    ChatRequest {
        sampling: SamplingOverrides {
            temperature: request.temperature,
            top_k: request.top_k.map(|top_k| top_k as usize),
            top_p: request.top_p,
            min_p: request.min_p,
            typical_p: request.typical_p,
            repetition_penalty: request.repetition_penalty,
            presence_penalty: request.presence_penalty,
            frequency_penalty: request.frequency_penalty,
            penalty_window: None,
            logit_bias: (!request.logit_bias.is_empty()).then_some(request.logit_bias),
            seed: request.seed,
            logprobs: top(request.logprobs),
        },
        tokens_max: request.max_tokens.map(|tokens| tokens as usize),
        messages: request.messages.into_iter().map(message).collect(),
        stop: request.stop,
        thinking: request.thinking,
        ..ChatRequest::default()
    }
}

fn message(message: RequestMessage) -> Message {
    let role = match message.role {
        RequestRole::System => dialogue::Role::System,
        RequestRole::User => dialogue::Role::User,
        RequestRole::Assistant => dialogue::Role::Assistant,
    };
    let reasoning = message.reasoning_content;
    Message { role, content: message.content, reasoning, tool_calls: Vec::new(), tool_call_id: None }
}

async fn whole(
    app: &App,
    mut running: Running,
    naming: Naming,
    wanted: bool,
) -> Result<ChatCompletion, ApiError> {
    let (mut content, mut reasoning) = (String::new(), String::new());
    let mut logprobs = Logprobs { content: Some(Vec::new()), reasoning_content: None };
    let too_long = |_| ApiError::busy("queue_timeout", too_long_in_queue(app.settings.start_timeout));
    let mut event = timeout(app.settings.start_timeout, running.answer.next()).await.map_err(too_long)?;
    loop {
        match event {
            Some(AnswerEvent::Started { .. } | AnswerEvent::Prompt(_) | AnswerEvent::ToolCall(_)) => {}
            Some(AnswerEvent::Delta(delta)) => {
                add_logprobs(&mut logprobs, delta.part, delta.tokens);
                match delta.part {
                    Part::Content => content.push_str(&delta.text),
                    Part::Reasoning => reasoning.push_str(&delta.text),
                }
            }
            Some(AnswerEvent::Finished { finish, usage, .. }) => {
                let finish_reason = finish_reason(&finish).map_err(|why| failed(&why))?;
                let reasoning = (!reasoning.is_empty()).then_some(reasoning);
                let message = AnswerMessage::new(content, reasoning);
                let logprobs = wanted.then_some(logprobs);
                let choice = Choice { index: 0, message, logprobs, finish_reason };
                return Ok(ChatCompletion::new(
                    naming.id,
                    naming.created,
                    naming.model,
                    choice,
                    wire_usage(usage),
                ));
            }
            None => return Err(ApiError::internal("the answer ended without a last event")),
        }
        event = running.answer.next().await;
    }
}

fn finish_reason(finish: &Finish) -> Result<FinishReason, String> {
    Ok(match finish {
        Finish::Stop | Finish::StopString(_) | Finish::ToolCalls => FinishReason::Stop,
        Finish::Length => FinishReason::Length,
        Finish::Cancelled => FinishReason::Aborted,
        Finish::ShuttingDown => FinishReason::InsufficientSystemResource,
        Finish::Failed(why) => return Err(why.clone()),
    })
}

fn failed(why: &str) -> ApiError {
    ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "generation_failed", why)
}

fn too_long_in_queue(waited: Duration) -> String {
    format!("the model is busy: the request waited {} s for its turn; try again later", waited.as_secs())
}

fn wire_usage(usage: dialogue::Usage) -> Usage {
    Usage::new(usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens, usage.reasoning_tokens)
}

fn add_logprobs(logprobs: &mut Logprobs, part: Part, tokens: Vec<dialogue::TokenLogprob>) {
    let list = match part {
        Part::Content => &mut logprobs.content,
        Part::Reasoning => &mut logprobs.reasoning_content,
    };
    if !tokens.is_empty() {
        list.get_or_insert_default().extend(tokens.into_iter().map(wire_logprob));
    }
}

fn wire_logprob(token: dialogue::TokenLogprob) -> LogprobToken {
    LogprobToken {
        token: token.text,
        logprob: wire_number(token.logprob),
        bytes: token.bytes,
        top_logprobs: token
            .top
            .into_iter()
            .map(|top| TopLogprob { token: top.text, logprob: wire_number(top.logprob), bytes: top.bytes })
            .collect(),
    }
}

/// JSON has no infinity; the API has -9999.0 for a probability of 0.
fn wire_number(logprob: f32) -> f32 {
    if logprob.is_finite() { logprob } else { -9999.0 }
}

/// The stream: a chunk that says who speaks, the reasoning, the content, a last chunk that says why it ended, `[DONE]`.
/// The usage rides on the last chunk, or comes in one of its own where that was asked for.
struct Chunks {
    app: App,
    running: Running,
    naming: Naming,
    include_usage: bool,
    keep_alive: Duration,
    /// Waits of `keep_alive` that are left until the request is given up; none once it has started.
    patience: Option<u128>,
    start_timeout: Duration,
    /// Whether the first chunk was sent.
    greeted: bool,
    ready: VecDeque<Bytes>,
    ended: bool,
}

impl Chunks {
    fn new(app: &App, running: Running, naming: Naming, include_usage: bool) -> Self {
        let settings = &app.settings;
        let waits = settings.start_timeout.as_millis().div_ceil(settings.keep_alive.as_millis().max(1));
        Self {
            app: App::clone(app),
            running,
            naming,
            include_usage,
            keep_alive: settings.keep_alive,
            patience: Some(waits.max(1)),
            start_timeout: settings.start_timeout,
            greeted: false,
            ready: VecDeque::new(),
            ended: false,
        }
    }

    fn take(&mut self, event: Option<AnswerEvent>) {
        match event {
            Some(AnswerEvent::Prompt(_) | AnswerEvent::ToolCall(_)) => {}
            Some(AnswerEvent::Started { .. }) => {
                self.patience = None;
                self.greet();
            }
            Some(AnswerEvent::Delta(delta)) => {
                let mut logprobs = Logprobs::default();
                let wanted = !delta.tokens.is_empty();
                add_logprobs(&mut logprobs, delta.part, delta.tokens);
                let text = match delta.part {
                    Part::Reasoning => Delta::reasoning(delta.text),
                    Part::Content => Delta::content(delta.text),
                };
                self.piece(text, wanted.then_some(logprobs), None, None);
            }
            Some(AnswerEvent::Finished { finish, usage, .. }) => match finish_reason(&finish) {
                Ok(reason) => self.finish(reason, Some(wire_usage(usage))),
                Err(why) => self.break_off(&failed(&why)),
            },
            None => self.break_off(&ApiError::internal("the answer ended without a last event")),
        }
    }

    fn greet(&mut self) {
        if !std::mem::replace(&mut self.greeted, true) {
            self.push(Delta::role(), None, None, None);
        }
    }

    fn piece(
        &mut self,
        delta: Delta,
        logprobs: Option<Logprobs>,
        finish_reason: Option<FinishReason>,
        usage: Option<Usage>,
    ) {
        self.greet();
        self.push(delta, logprobs, finish_reason, usage);
    }

    fn push(
        &mut self,
        delta: Delta,
        logprobs: Option<Logprobs>,
        finish_reason: Option<FinishReason>,
        usage: Option<Usage>,
    ) {
        let Naming { id, created, model } = &self.naming;
        let choice = ChunkChoice { index: 0, delta, logprobs, finish_reason };
        let chunk = ChatCompletionChunk { usage, ..ChatCompletionChunk::piece(id, *created, model, choice) };
        self.ready.push_back(sse::data(&chunk));
    }

    fn finish(&mut self, reason: FinishReason, usage: Option<Usage>) {
        let riding = usage.filter(|_| !self.include_usage);
        self.piece(Delta::default(), None, Some(reason), riding);
        if let Some(usage) = usage.filter(|_| self.include_usage) {
            let Naming { id, created, model } = &self.naming;
            self.ready.push_back(sse::data(&ChatCompletionChunk::usage(id, *created, model, usage)));
        }
        self.end();
    }

    /// An error after the response has begun is an event of its own.
    fn break_off(&mut self, error: &ApiError) {
        self.ready.push_back(sse::data(&error.body()));
        self.end();
    }

    fn end(&mut self) {
        self.ready.push_back(Bytes::from(format!("data: {STREAM_DONE}\n\n")));
        self.ended = true;
    }

    /// Nothing came for a while.
    fn wait_on(&mut self) {
        self.patience = self.patience.map(|left| left.saturating_sub(1));
        if self.patience == Some(0) {
            self.break_off(&ApiError::busy("queue_timeout", too_long_in_queue(self.start_timeout)));
        } else {
            self.ready.push_back(sse::KEEP_ALIVE);
        }
    }
}

impl sse::Source for Chunks {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Some(bytes);
            }
            if self.ended {
                return None;
            }
            tokio::select! {
                biased;
                event = timeout(self.keep_alive, self.running.answer.next()) => match event {
                    Ok(event) => self.take(event),
                    Err(_) => self.wait_on(),
                },
                // The model does not say how much it was.
                () = self.app.cut_off() => self.finish(FinishReason::InsufficientSystemResource, None),
            }
        }
    }
}
