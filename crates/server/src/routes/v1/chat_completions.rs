//! `POST /v1/chat/completions`: answers to a conversation that the client holds. When the client goes away they are
//! dropped, and that cancels them.

use std::collections::VecDeque;

use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use dialogue::{AnswerEvent, ChatRequest, Finish, Message, Part, SamplingOverrides};
use wire::STREAM_DONE;
use wire::chat::{
    AnswerMessage, ChatCompletion, ChatCompletionChunk, ChatCompletionRequest, Choice, ChunkChoice, Delta,
    FinishReason, LogprobToken, Logprobs, RequestMessage, RequestRole, TopLogprob, Usage,
};

use crate::accounts::Client;
use crate::app::App;
use crate::body::JsonBytes;
use crate::error::ApiError;
use crate::generation::{Asked, Ended, Form, Order, Running, Step, begin, stream, whole};
use crate::sse;

const ENDPOINT: &str = "/v1/chat/completions";

pub(crate) async fn handle(
    State(app): State<App>,
    client: Client,
    JsonBytes(body, room): JsonBytes,
) -> Result<Response, ApiError> {
    let request = ChatCompletionRequest::from_json(&body)?;
    drop(body);
    let (streams, include_usage, logprobs) = (request.stream, request.include_usage, request.logprobs);
    let order = Order {
        endpoint: ENDPOINT,
        model: request.model.clone(),
        asked: Asked::Chat(Box::new(asked(request))),
        answers: 1,
    };
    let running = begin(&app, client, order).await?;
    drop(room);
    let naming = Naming {
        id: format!("chatcmpl-{}", app.random_name()),
        created: app.clock.unix_ms() / 1000,
        model: running.dialogue().name().to_owned(),
    };
    if streams {
        let chunks = Chunks { naming, include_usage, greeted: false };
        return Ok(stream(&app, running, chunks));
    }
    whole(&app, completion(running, naming, logprobs)).await
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

async fn completion(mut running: Running, naming: Naming, wanted: bool) -> Result<ChatCompletion, ApiError> {
    let (mut content, mut reasoning) = (String::new(), String::new());
    let mut logprobs = Logprobs { content: Some(Vec::new()), reasoning_content: None };
    let mut reason = FinishReason::Stop;
    while let Step::Event(_, event) = running.next().await? {
        match event {
            AnswerEvent::Started { .. } | AnswerEvent::Prompt(_) | AnswerEvent::ToolCall(_) => {}
            AnswerEvent::Delta(delta) => {
                add_logprobs(&mut logprobs, delta.part, delta.tokens);
                match delta.part {
                    Part::Content => content.push_str(&delta.text),
                    Part::Reasoning => reasoning.push_str(&delta.text),
                }
            }
            AnswerEvent::Finished { finish, .. } => reason = finish_reason(&finish),
        }
    }
    let ended = running.ended().ok_or_else(|| ApiError::internal("the answer did not end"))?;
    let reasoning = (!reasoning.is_empty()).then_some(reasoning);
    let message = AnswerMessage::new(content, reasoning);
    let choice = Choice { index: 0, message, logprobs: wanted.then_some(logprobs), finish_reason: reason };
    let Naming { id, created, model } = naming;
    Ok(ChatCompletion::new(id, created, model, choice, wire_usage(ended.usage)))
}

fn finish_reason(finish: &Finish) -> FinishReason {
    match finish {
        Finish::Stop | Finish::StopString(_) | Finish::ToolCalls => FinishReason::Stop,
        Finish::Length => FinishReason::Length,
        Finish::Cancelled => FinishReason::Aborted,
        Finish::ShuttingDown | Finish::Failed(_) => FinishReason::InsufficientSystemResource,
    }
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
    naming: Naming,
    include_usage: bool,
    /// Whether the first chunk was sent.
    greeted: bool,
}

impl Chunks {
    fn greet(&mut self, out: &mut VecDeque<Bytes>) {
        if !std::mem::replace(&mut self.greeted, true) {
            self.push(Delta::role(), None, None, None, out);
        }
    }

    fn push(
        &self,
        delta: Delta,
        logprobs: Option<Logprobs>,
        finish_reason: Option<FinishReason>,
        usage: Option<Usage>,
        out: &mut VecDeque<Bytes>,
    ) {
        let Naming { id, created, model } = &self.naming;
        let choice = ChunkChoice { index: 0, delta, logprobs, finish_reason };
        let chunk = ChatCompletionChunk { usage, ..ChatCompletionChunk::piece(id, *created, model, choice) };
        out.push_back(sse::data(&chunk));
    }
}

impl Form for Chunks {
    fn event(&mut self, _choice: usize, event: AnswerEvent, ended: Option<Ended>, out: &mut VecDeque<Bytes>) {
        self.greet(out);
        match event {
            AnswerEvent::Started { .. } | AnswerEvent::Prompt(_) | AnswerEvent::ToolCall(_) => {}
            AnswerEvent::Delta(delta) => {
                let mut logprobs = Logprobs::default();
                let wanted = !delta.tokens.is_empty();
                add_logprobs(&mut logprobs, delta.part, delta.tokens);
                let text = match delta.part {
                    Part::Reasoning => Delta::reasoning(delta.text),
                    Part::Content => Delta::content(delta.text),
                };
                self.push(text, wanted.then_some(logprobs), None, None, out);
            }
            AnswerEvent::Finished { finish, .. } => {
                let riding = ended.filter(|_| !self.include_usage).map(|ended| wire_usage(ended.usage));
                self.push(Delta::default(), None, Some(finish_reason(&finish)), riding, out);
            }
        }
    }

    fn done(&mut self, ended: Option<Ended>, out: &mut VecDeque<Bytes>) {
        if let Some(ended) = ended.filter(|_| self.include_usage) {
            let Naming { id, created, model } = &self.naming;
            let usage = wire_usage(ended.usage);
            out.push_back(sse::data(&ChatCompletionChunk::usage(id, *created, model, usage)));
        }
        out.push_back(Bytes::from(format!("data: {STREAM_DONE}\n\n")));
    }

    /// An error after the response has begun is an event of its own.
    fn error(&mut self, error: &ApiError, out: &mut VecDeque<Bytes>) {
        out.push_back(sse::data(&error.body()));
        out.push_back(Bytes::from(format!("data: {STREAM_DONE}\n\n")));
    }
}
