use std::collections::VecDeque;

use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use dialogue::{AnswerEvent, Begun, ChatRequest, Finish, Part, ToolDelta};
use wire::chat::{
    AnswerMessage, ChatCompletion, ChatCompletionChunk, ChatCompletionRequest, Choice, ChunkChoice, Delta,
    FinishReason, LogprobToken, Logprobs, ReasoningEffort, ToolCall, ToolCallDelta, TopLogprob,
};
use wire::{STREAM_DONE, Usage};

use super::{Naming, wire_number, wire_usage};
use crate::accounts::{Client, Standing};
use crate::app::App;
use crate::body::JsonBytes;
use crate::error::ApiError;
use crate::generation::{Asked, Ended, Form, Order, Running, Step, begin, stream, translate, whole};
use crate::sse;

const ENDPOINT: &str = "/v1/chat/completions";

/// Answers to a conversation that the client holds. When the client goes away they are
/// dropped, and that cancels them.
#[utoipa::path(
    post,
    path = "/v1/chat/completions",
    operation_id = "chat_completions",
    tag = "programs",
    request_body = wire::bodies::ChatCompletionBody,
    responses((
        status = 200,
        description = "The answer; with `stream`, events without a name, each a ChatCompletionChunk, and a last `[DONE]`. \
            Whoever had to wait may get an error in its place: the status was sent before.",
        headers(("x-cachalot-reduced" = Option<String>, description = "What was cut of what was asked for, for the load or for \
            whose it is, as in `thinking_tokens=512, output_tokens=1024`: most tokens of the thought, and of all of the \
            answer.")),
        content((ChatCompletion = "application/json"), (String = "text/event-stream")),
    )),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    client: Client,
    standing: Standing,
    JsonBytes(body, room): JsonBytes,
) -> Result<Response, ApiError> {
    let request = ChatCompletionRequest::from_json(&body)?;
    drop(body);
    let (streams, include_usage) = (request.stream, request.include_usage);
    let answers = request.answers as usize;
    let style = Style { logprobs: request.logprobs, functions_form: request.functions_form };
    let model = request.model.clone();
    let order = Order { endpoint: ENDPOINT, model, asked: Asked::Chat(Box::new(asked(request))), answers };
    let running = begin(&app, client, standing, order).await?;
    drop(room);
    let naming = Naming::new(&app, "chatcmpl-", &running);
    if streams {
        let chunks = Chunks { naming, style, include_usage, greeted: vec![false; answers] };
        return Ok(stream(&app, running, chunks));
    }
    let cut = running.cut();
    Ok(cut.mark(whole(&app, completion(running, naming, style, answers)).await?))
}

/// How the client wants the answer.
#[derive(Debug, Clone, Copy)]
struct Style {
    logprobs: bool,
    /// Calls in the form that was before tools.
    functions_form: bool,
}

impl Style {
    fn finish_reason(self, finish: &Finish) -> FinishReason {
        match finish {
            Finish::ToolCalls if self.functions_form => FinishReason::FunctionCall,
            finish => super::finish_reason(finish),
        }
    }
}

fn asked(request: ChatCompletionRequest) -> ChatRequest {
    let logprobs = request.logprobs.then_some(request.top_logprobs.unwrap_or(0));
    let low =
        (request.reasoning_effort == Some(ReasoningEffort::Low)).then_some(translate::LOW_EFFORT_TOKENS);
    let begun = request.begun.map(|turn| Begun { reasoning: turn.reasoning, content: turn.content });
    ChatRequest {
        messages: translate::messages(request.turns),
        sampling: translate::sampling(request.sampling, logprobs),
        tokens_max: request.max_tokens.map(|tokens| tokens as usize),
        stop: request.stop,
        thinking: request.thinking,
        reasoning_tokens_max: request.thinking_tokens_max.or(low).map(|tokens| tokens as usize),
        tools: translate::tools(request.tools),
        tool_choice: translate::tool_choice(request.tool_choice),
        parallel_tool_calls: request.parallel_tool_calls,
        format: translate::format(request.format),
        begun,
        ..ChatRequest::default()
    }
}

/// What an answer has said so far.
struct Gathered {
    content: String,
    reasoning: String,
    calls: Vec<ToolCall>,
    logprobs: Logprobs,
    finish_reason: FinishReason,
}

impl Gathered {
    fn new() -> Self {
        Self {
            content: String::new(),
            reasoning: String::new(),
            calls: Vec::new(),
            logprobs: Logprobs { content: Some(Vec::new()), reasoning_content: None },
            finish_reason: FinishReason::Stop,
        }
    }

    fn take(&mut self, event: AnswerEvent, style: Style) {
        match event {
            AnswerEvent::Started { .. } | AnswerEvent::Prompt(_) => {}
            AnswerEvent::Delta(delta) => {
                add_logprobs(&mut self.logprobs, delta.part, delta.tokens);
                match delta.part {
                    Part::Content => self.content.push_str(&delta.text),
                    Part::Reasoning => self.reasoning.push_str(&delta.text),
                }
            }
            AnswerEvent::ToolCall(ToolDelta { begins, arguments, .. }) => {
                if let Some(begins) = begins {
                    self.calls.push(ToolCall::new(begins.id, begins.name, String::new()));
                }
                // Calls come one after the other.
                if let Some(call) = self.calls.last_mut() {
                    call.function.arguments.push_str(&arguments);
                }
            }
            AnswerEvent::Finished { finish, .. } => self.finish_reason = style.finish_reason(&finish),
        }
    }

    fn choice(self, index: usize, style: Style) -> Choice {
        let reasoning = (!self.reasoning.is_empty()).then_some(self.reasoning);
        let message = AnswerMessage::new(self.content, reasoning).calling(self.calls);
        let message = if style.functions_form { message.in_functions_form() } else { message };
        Choice {
            index: number(index),
            message,
            logprobs: style.logprobs.then_some(self.logprobs),
            finish_reason: self.finish_reason,
        }
    }
}

async fn completion(
    mut running: Running,
    naming: Naming,
    style: Style,
    answers: usize,
) -> Result<ChatCompletion, ApiError> {
    let mut gathered: Vec<_> = (0..answers).map(|_| Gathered::new()).collect();
    while let Step::Event(choice, event) = running.next().await? {
        if let Some(gathered) = gathered.get_mut(choice) {
            gathered.take(event, style);
        }
    }
    let ended = running.ended().ok_or_else(|| ApiError::internal("an answer did not end"))?;
    let choices = gathered.into_iter().enumerate().map(|(index, gathered)| gathered.choice(index, style));
    let Naming { id, created, model, fingerprint } = naming;
    let completion = ChatCompletion::new(id, created, model, choices.collect(), wire_usage(ended.usage));
    Ok(ChatCompletion { system_fingerprint: Some(fingerprint), ..completion })
}

/// Number of a choice or a call, of which there are few.
fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
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

/// The stream of each answer: a chunk that says who speaks, the reasoning, the content, the calls, a last chunk that says
/// why it ended. Behind all of them `[DONE]`. The usage rides on the last chunk, or comes in one of its own where that
/// was asked for.
struct Chunks {
    naming: Naming,
    style: Style,
    include_usage: bool,
    /// Whether the first chunk was sent, of each answer.
    greeted: Vec<bool>,
}

/// What a chunk holds.
#[derive(Default)]
struct Piece {
    delta: Delta,
    logprobs: Option<Logprobs>,
    finish_reason: Option<FinishReason>,
    usage: Option<Usage>,
}

impl From<Delta> for Piece {
    fn from(delta: Delta) -> Self {
        Self { delta, ..Self::default() }
    }
}

impl Chunks {
    fn piece(&self, event: AnswerEvent, ended: Option<Ended>) -> Option<Piece> {
        match event {
            AnswerEvent::Started { .. } | AnswerEvent::Prompt(_) => None,
            AnswerEvent::Delta(delta) => {
                let mut logprobs = Logprobs::default();
                let wanted = !delta.tokens.is_empty();
                add_logprobs(&mut logprobs, delta.part, delta.tokens);
                let text = match delta.part {
                    Part::Reasoning => Delta::reasoning(delta.text),
                    Part::Content => Delta::content(delta.text),
                };
                Some(Piece { logprobs: wanted.then_some(logprobs), ..text.into() })
            }
            AnswerEvent::ToolCall(call) => self.call(call).map(Piece::from),
            AnswerEvent::Finished { finish, .. } => {
                let usage = ended.filter(|_| !self.include_usage).map(|ended| wire_usage(ended.usage));
                let finish_reason = Some(self.style.finish_reason(&finish));
                Some(Piece { finish_reason, usage, ..Piece::default() })
            }
        }
    }

    fn call(&self, call: ToolDelta) -> Option<Delta> {
        let index = number(call.index);
        let call = match call.begins {
            Some(begins) => ToolCallDelta::first(index, begins.id, begins.name, call.arguments),
            None => ToolCallDelta::more(index, call.arguments),
        };
        if !self.style.functions_form {
            return Some(Delta::call(call));
        }
        // The old form has room for one call.
        (index == 0).then(|| Delta::function_call(call.function))
    }

    fn push(&self, choice: usize, piece: Piece, out: &mut VecDeque<Bytes>) {
        let Piece { delta, logprobs, finish_reason, usage } = piece;
        let choice = ChunkChoice { index: number(choice), delta, logprobs, finish_reason };
        send(ChatCompletionChunk { usage, ..self.chunk(vec![choice]) }, out);
    }

    fn chunk(&self, choices: Vec<ChunkChoice>) -> ChatCompletionChunk {
        let Naming { id, created, model, fingerprint } = &self.naming;
        let system_fingerprint = Some(fingerprint.clone());
        ChatCompletionChunk { system_fingerprint, ..ChatCompletionChunk::new(id, *created, model, choices) }
    }
}

fn send(chunk: ChatCompletionChunk, out: &mut VecDeque<Bytes>) {
    out.push_back(sse::data(&chunk));
}

impl Form for Chunks {
    fn event(&mut self, choice: usize, event: AnswerEvent, ended: Option<Ended>, out: &mut VecDeque<Bytes>) {
        let greeted = self.greeted.get_mut(choice).is_none_or(|greeted| std::mem::replace(greeted, true));
        if !greeted {
            self.push(choice, Delta::role().into(), out);
        }
        if let Some(piece) = self.piece(event, ended) {
            self.push(choice, piece, out);
        }
    }

    fn done(&mut self, ended: Option<Ended>, out: &mut VecDeque<Bytes>) {
        if let Some(ended) = ended.filter(|_| self.include_usage) {
            let usage = Some(wire_usage(ended.usage));
            send(ChatCompletionChunk { usage, ..self.chunk(Vec::new()) }, out);
        }
        out.push_back(sse::done(STREAM_DONE));
    }

    /// An error after the response has begun is an event of its own.
    fn error(&mut self, error: &ApiError, out: &mut VecDeque<Bytes>) {
        out.push_back(sse::data(&error.body()));
        out.push_back(sse::done(STREAM_DONE));
    }
}

#[cfg(test)]
mod tests {
    use dialogue::{Timing, ToolCallStart};
    use serde_json::{Value, json};

    use super::*;

    /// What a model says that calls two tools.
    fn events() -> Vec<AnswerEvent> {
        let text = |part, text: &str| {
            AnswerEvent::Delta(dialogue::Delta { part, text: text.to_owned(), tokens: Vec::new() })
        };
        let call = |index, begins: Option<(&str, &str)>, arguments: &str| {
            let begins = begins.map(|(id, name)| ToolCallStart { id: id.to_owned(), name: name.to_owned() });
            AnswerEvent::ToolCall(ToolDelta { index, begins, arguments: arguments.to_owned() })
        };
        vec![
            text(Part::Reasoning, "Hm."),
            text(Part::Content, "See:"),
            call(0, Some(("c1", "depth")), ""),
            call(0, None, "{\"at\""),
            call(0, None, ":1}"),
            call(1, Some(("c2", "dive")), "{}"),
            AnswerEvent::Finished {
                finish: Finish::ToolCalls,
                usage: dialogue::Usage::default(),
                timing: Timing::default(),
            },
        ]
    }

    fn chunks(functions_form: bool) -> Vec<Value> {
        let naming = Naming {
            id: "chatcmpl-1".to_owned(),
            created: 0,
            model: "m".to_owned(),
            fingerprint: "fp".to_owned(),
        };
        let style = Style { logprobs: false, functions_form };
        let mut chunks = Chunks { naming, style, include_usage: false, greeted: vec![false] };
        let mut out = VecDeque::new();
        for event in events() {
            chunks.event(0, event, None, &mut out);
        }
        let read = |bytes: &Bytes| serde_json::from_slice(&bytes[b"data: ".len()..]).unwrap();
        out.iter().map(read).collect()
    }

    #[test]
    fn calls_in_a_stream_come_piece_by_piece_and_alone() {
        let deltas: Vec<_> = chunks(false).iter().map(|chunk| chunk["choices"][0]["delta"].clone()).collect();
        let begins = |index, id: &str, name: &str, arguments: &str| {
            let function = json!({"name": name, "arguments": arguments});
            json!({"tool_calls": [{"index": index, "id": id, "type": "function", "function": function}]})
        };
        let more = |index, arguments: &str| json!({"tool_calls": [{"index": index, "function": {"arguments": arguments}}]});
        let expected = [
            json!({"role": "assistant", "content": ""}),
            json!({"reasoning_content": "Hm."}),
            json!({"content": "See:"}),
            begins(0, "c1", "depth", ""),
            more(0, "{\"at\""),
            more(0, ":1}"),
            begins(1, "c2", "dive", "{}"),
            json!({}),
        ];
        assert_eq!(deltas, expected);
        assert_eq!(chunks(false).last().unwrap()["choices"][0]["finish_reason"], "tool_calls");
    }

    #[test]
    fn calls_of_a_whole_answer() {
        let message = |functions_form| {
            let style = Style { logprobs: false, functions_form };
            let mut gathered = Gathered::new();
            for event in events() {
                gathered.take(event, style);
            }
            serde_json::to_value(gathered.choice(0, style)).unwrap()
        };
        let choice = message(false);
        assert_eq!(choice["finish_reason"], "tool_calls");
        assert_eq!(
            choice["message"],
            json!({
                "role": "assistant",
                "content": "See:",
                "reasoning_content": "Hm.",
                "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "depth", "arguments": "{\"at\":1}"}},
                    {"id": "c2", "type": "function", "function": {"name": "dive", "arguments": "{}"}},
                ],
            })
        );
        let old = message(true);
        assert_eq!(old["finish_reason"], "function_call");
        assert_eq!(old["message"]["function_call"], json!({"name": "depth", "arguments": "{\"at\":1}"}));
        assert_eq!(old["message"].get("tool_calls"), None);
    }

    #[test]
    fn the_old_form_of_a_stream_has_one_call() {
        let chunks = chunks(true);
        let calls: Vec<_> =
            chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"].get("function_call")).collect();
        let expected = [
            json!({"name": "depth", "arguments": ""}),
            json!({"arguments": "{\"at\""}),
            json!({"arguments": ":1}"}),
        ];
        assert_eq!(calls, expected.iter().collect::<Vec<_>>());
        assert_eq!(chunks.last().unwrap()["choices"][0]["finish_reason"], "function_call");
    }
}
