use std::collections::VecDeque;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use base::Clock;
use bytes::Bytes;
use dialogue::{
    AnswerEvent, ChatRequest, Delta, Finish, Format, HubError, Message, Part, SamplingOverrides,
    TokenLogprob, ToolDelta,
};
use wire::responses::{
    Content, Effort, ErrorCode, EventKind, IncompleteDetails, IncompleteReason, ItemPlace, ItemStatus,
    Logprob, OutputItem, PartPlace, ResponseError, ResponseEvent, ResponseObject, ResponsesRequest, Status,
    TextFormat, TopLogprob, Usage,
};

use super::wire_number;
use crate::accounts::{Client, Standing};
use crate::app::App;
use crate::body::JsonBytes;
use crate::error::{ApiError, displaced};
use crate::generation::{Asked, Ended, Form, Order, Running, Step, begin, stream, translate, whole};
use crate::sse;

const ENDPOINT: &str = "/v1/responses";

/// OpenAI's newer form of an answer to a conversation that the client holds. Nothing is kept of it.
/// When the client goes away the answer is dropped, and that cancels it.
#[utoipa::path(
    post,
    path = "/v1/responses",
    operation_id = "responses",
    tag = "programs",
    request_body = wire::bodies::ResponsesBody,
    responses((
        status = 200,
        description = "The response; with `stream`, events that tell how it comes about, each a ResponsesResponseEvent whose \
            name is its `type`. \
            Whoever had to wait may get an error in its place: the status was sent before.",
        headers(("x-cachalot-reduced" = Option<String>, description = "What was cut of what was asked for, for the load or for \
            whose it is, as in `thinking_tokens=512, output_tokens=1024`: most tokens of the thought, and of all of the \
            answer.")),
        content((ResponseObject = "application/json"), (String = "text/event-stream")),
    )),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    client: Client,
    standing: Standing,
    JsonBytes(body, room): JsonBytes,
) -> Result<Response, ApiError> {
    let request = ResponsesRequest::from_json(&body)?;
    drop(body);
    let name = app.random_name();
    let created_at = app.clock.unix_ms() / 1000;
    let response = ResponseObject::begun(format!("resp_{name}"), created_at, &request.model, &request);
    let streams = request.stream;
    let order = Order {
        endpoint: ENDPOINT,
        model: request.model.clone(),
        asked: Asked::Chat(Box::new(asked(request))),
        answers: 1,
    };
    let begun = begin(&app, client, standing, order).await;
    let running = begun.map_err(|error| error.renamed("messages", "input"))?;
    drop(room);
    let writer = Writer::new(Arc::clone(&app.clock), name, response, streams);
    if streams {
        return Ok(stream(&app, running, writer));
    }
    let cut = running.cut();
    Ok(cut.mark(whole(&app, whole_response(running, writer)).await?))
}

fn asked(mut request: ResponsesRequest) -> ChatRequest {
    let (tools, tool_choice) = request.callable();
    let instructions = request.instructions.take().map(Message::system);
    let turns = std::mem::take(&mut request.turns);
    let effort = request.reasoning.effort;
    ChatRequest {
        messages: instructions.into_iter().chain(translate::messages(turns)).collect(),
        sampling: SamplingOverrides {
            temperature: request.temperature,
            top_p: request.top_p,
            logprobs: request.logprobs.then_some(request.top_logprobs.unwrap_or(0) as usize),
            ..SamplingOverrides::default()
        },
        tokens_max: request.max_output_tokens.map(|tokens| tokens as usize),
        // How much is a hint; that it is none is not.
        thinking: (effort == Some(Effort::None)).then_some(false),
        reasoning_tokens_max: matches!(effort, Some(Effort::Minimal | Effort::Low))
            .then_some(translate::LOW_EFFORT_TOKENS as usize),
        tools: translate::tools(tools),
        tool_choice: translate::tool_choice(tool_choice),
        parallel_tool_calls: request.parallel_tool_calls,
        format: match request.format {
            TextFormat::Text => Format::Text,
            TextFormat::JsonObject => Format::JsonObject,
            TextFormat::JsonSchema { schema, strict, .. } => Format::JsonSchema { schema, strict },
        },
        ..ChatRequest::default()
    }
}

async fn whole_response(mut running: Running, mut writer: Writer) -> Result<ResponseObject, ApiError> {
    let mut nowhere = VecDeque::new();
    while let Step::Event(choice, event) = running.next().await? {
        let ended = running.ended();
        writer.event(choice, event, ended, &mut nowhere);
    }
    match writer.failure {
        Some(error) => Err(error),
        None => Ok(writer.response),
    }
}

/// An item that has begun.
enum Item {
    Reasoning { text: String },
    Message { text: String, logprobs: Vec<Logprob> },
    Call { call_id: String, name: String, arguments: String },
}

/// Writes a response, as a stream or whole.
struct Writer {
    clock: Arc<dyn Clock>,
    /// What is the same in the ids of all items.
    name: String,
    /// What is whole of it.
    response: ResponseObject,
    streams: bool,
    /// Whether the first events were sent.
    greeted: bool,
    /// Of the next event.
    number: u64,
    open: Option<Item>,
    /// Why it broke off.
    failure: Option<ApiError>,
}

impl Writer {
    fn new(clock: Arc<dyn Clock>, name: String, response: ResponseObject, streams: bool) -> Self {
        Self { clock, name, response, streams, greeted: false, number: 0, open: None, failure: None }
    }

    fn send(&mut self, kind: impl FnOnce(&Self) -> EventKind, out: &mut VecDeque<Bytes>) {
        if self.streams {
            let event = ResponseEvent { kind: kind(self), sequence_number: self.number };
            out.push_back(sse::event(event.kind.name(), &event));
            self.number += 1;
        }
    }

    fn so_far(&self) -> Box<ResponseObject> {
        Box::new(self.response.clone())
    }

    fn greet(&mut self, out: &mut VecDeque<Bytes>) {
        if !std::mem::replace(&mut self.greeted, true) {
            self.send(|writer| EventKind::Created { response: writer.so_far() }, out);
            self.send(|writer| EventKind::InProgress { response: writer.so_far() }, out);
        }
    }

    /// The number of the item that is open, or that comes next.
    fn index(&self) -> usize {
        self.response.output.len()
    }

    fn id(&self, item: &Item) -> String {
        match item {
            Item::Reasoning { .. } => format!("rs_{}", self.name),
            Item::Message { .. } => format!("msg_{}", self.name),
            // There may be several.
            Item::Call { .. } => format!("fc_{}_{}", self.name, self.index()),
        }
    }

    fn place(&self, item: &Item) -> PartPlace {
        PartPlace { item_id: self.id(item), output_index: self.index(), content_index: 0 }
    }

    fn call_place(&self, item: &Item) -> ItemPlace {
        ItemPlace { item_id: self.id(item), output_index: self.index() }
    }

    /// The item as far as it is. One that has just begun has no parts.
    fn written(&self, item: &Item, status: ItemStatus) -> OutputItem {
        let id = self.id(item);
        let content: Vec<_> = part(item).into_iter().filter(|_| status != ItemStatus::InProgress).collect();
        match item {
            Item::Reasoning { .. } => {
                OutputItem::Reasoning { id, summary: Vec::new(), content, encrypted_content: None, status }
            }
            Item::Message { .. } => OutputItem::Message { id, status, role: "assistant".to_owned(), content },
            Item::Call { call_id, name, arguments } => {
                let (call_id, name, arguments) = (call_id.clone(), name.clone(), arguments.clone());
                OutputItem::FunctionCall { id, call_id, name, arguments, status }
            }
        }
    }

    fn open(&mut self, item: Item, out: &mut VecDeque<Bytes>) {
        self.close(ItemStatus::Completed, out);
        self.send(
            |writer| EventKind::ItemAdded {
                output_index: writer.index(),
                item: writer.written(&item, ItemStatus::InProgress),
            },
            out,
        );
        if let Some(part) = part(&item) {
            self.send(|writer| EventKind::PartAdded { place: writer.place(&item), part }, out);
        }
        self.open = Some(item);
    }

    fn close(&mut self, status: ItemStatus, out: &mut VecDeque<Bytes>) {
        let Some(item) = self.open.take() else { return };
        let done = |writer: &Self| match &item {
            Item::Reasoning { text } => {
                EventKind::ReasoningDone { place: writer.place(&item), text: text.clone() }
            }
            Item::Message { text, logprobs } => EventKind::TextDone {
                place: writer.place(&item),
                text: text.clone(),
                logprobs: logprobs.clone(),
            },
            Item::Call { name, arguments, .. } => EventKind::ArgumentsDone {
                place: writer.call_place(&item),
                name: name.clone(),
                arguments: arguments.clone(),
            },
        };
        self.send(done, out);
        if let Some(part) = part(&item) {
            self.send(|writer| EventKind::PartDone { place: writer.place(&item), part }, out);
        }
        let written = self.written(&item, status);
        let sent = written.clone();
        self.send(|writer| EventKind::ItemDone { output_index: writer.index(), item: sent }, out);
        self.response.output.push(written);
    }

    fn text(&mut self, delta: Delta, out: &mut VecDeque<Bytes>) {
        match (delta.part, &self.open) {
            (Part::Reasoning, Some(Item::Reasoning { .. })) | (Part::Content, Some(Item::Message { .. })) => {
            }
            (Part::Reasoning, _) => self.open(Item::Reasoning { text: String::new() }, out),
            (Part::Content, _) => {
                self.open(Item::Message { text: String::new(), logprobs: Vec::new() }, out);
            }
        }
        let Some(mut item) = self.open.take() else { return };
        match &mut item {
            Item::Reasoning { text } => {
                text.push_str(&delta.text);
                let event = |writer: &Self| EventKind::ReasoningDelta {
                    place: writer.place(&item),
                    delta: delta.text,
                };
                self.send(event, out);
            }
            Item::Message { text, logprobs } => {
                text.push_str(&delta.text);
                let new: Vec<_> = delta.tokens.into_iter().map(logprob).collect();
                logprobs.extend(new.iter().cloned());
                let event = |writer: &Self| EventKind::TextDelta {
                    place: writer.place(&item),
                    delta: delta.text,
                    logprobs: new,
                };
                self.send(event, out);
            }
            Item::Call { .. } => {}
        }
        self.open = Some(item);
    }

    fn call(&mut self, delta: ToolDelta, out: &mut VecDeque<Bytes>) {
        if let Some(begins) = delta.begins {
            let item = Item::Call { call_id: begins.id, name: begins.name, arguments: String::new() };
            self.open(item, out);
        }
        let Some(mut item) = self.open.take() else { return };
        if let Item::Call { arguments, .. } = &mut item
            && !delta.arguments.is_empty()
        {
            arguments.push_str(&delta.arguments);
            let event = |writer: &Self| EventKind::ArgumentsDelta {
                place: writer.call_place(&item),
                delta: delta.arguments,
            };
            self.send(event, out);
        }
        self.open = Some(item);
    }

    fn finish(&mut self, finish: Finish, usage: Option<dialogue::Usage>, out: &mut VecDeque<Bytes>) {
        let length = finish == Finish::Length;
        self.close(if length { ItemStatus::Incomplete } else { ItemStatus::Completed }, out);
        self.response.usage = usage.map(wire_usage);
        match finish {
            Finish::Stop | Finish::StopString(_) | Finish::ToolCalls => {
                self.response.status = Status::Completed;
                self.response.completed_at = Some(self.clock.unix_ms() / 1000);
            }
            Finish::Length => {
                self.response.status = Status::Incomplete;
                let reason = IncompleteReason::MaxOutputTokens;
                self.response.incomplete_details = Some(IncompleteDetails { reason });
            }
            Finish::Cancelled | Finish::ShuttingDown => self.failure = Some(HubError::ShuttingDown.into()),
            Finish::Displaced => self.failure = Some(displaced()),
            Finish::Failed(why) => self.failure = Some(ApiError::internal(why)),
        }
    }
}

impl Form for Writer {
    fn event(&mut self, _choice: usize, event: AnswerEvent, ended: Option<Ended>, out: &mut VecDeque<Bytes>) {
        self.greet(out);
        match event {
            AnswerEvent::Started { .. } | AnswerEvent::Prompt(_) => {}
            AnswerEvent::Delta(delta) => self.text(delta, out),
            AnswerEvent::ToolCall(delta) => self.call(delta, out),
            AnswerEvent::Finished { finish, .. } => {
                self.finish(finish, ended.map(|ended| ended.usage), out);
            }
        }
    }

    fn done(&mut self, _ended: Option<Ended>, out: &mut VecDeque<Bytes>) {
        if let Some(error) = self.failure.take() {
            return self.error(&error, out);
        }
        let ended = |writer: &Self| match writer.response.status {
            Status::Incomplete => EventKind::Incomplete { response: writer.so_far() },
            _ => EventKind::Completed { response: writer.so_far() },
        };
        self.send(ended, out);
    }

    /// What went wrong in our words, and a response that says it in OpenAI's.
    fn error(&mut self, error: &ApiError, out: &mut VecDeque<Bytes>) {
        self.greet(out);
        self.close(ItemStatus::Incomplete, out);
        let busy = matches!(error.status(), StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS);
        let code = if busy { ErrorCode::RateLimitExceeded } else { ErrorCode::ServerError };
        self.response.status = Status::Failed;
        self.response.error = Some(ResponseError { code, message: error.message().to_owned() });
        let said = error.body().error;
        let event = EventKind::Error { code: said.code, message: said.message, param: said.param };
        self.send(|_| event, out);
        self.send(|writer| EventKind::Failed { response: writer.so_far() }, out);
    }
}

fn wire_usage(usage: dialogue::Usage) -> Usage {
    Usage::new(usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens, usage.reasoning_tokens)
}

/// The part of an item, which calls don't have.
fn part(item: &Item) -> Option<Content> {
    match item {
        Item::Reasoning { text } => Some(Content::ReasoningText { text: text.clone() }),
        Item::Message { text, logprobs } => Some(Content::OutputText {
            text: text.clone(),
            annotations: Vec::new(),
            logprobs: logprobs.clone(),
        }),
        Item::Call { .. } => None,
    }
}

fn logprob(token: TokenLogprob) -> Logprob {
    let top = |top: dialogue::TopLogprob| TopLogprob {
        token: top.text,
        bytes: top.bytes,
        logprob: wire_number(top.logprob),
    };
    Logprob {
        token: token.text,
        bytes: token.bytes,
        logprob: wire_number(token.logprob),
        top_logprobs: token.top.into_iter().map(top).collect(),
    }
}

#[cfg(test)]
mod tests {
    use base::ManualClock;
    use dialogue::{Timing, ToolCallStart};
    use serde_json::{Value, json};

    use super::*;

    fn writer(streams: bool) -> Writer {
        let request = ResponsesRequest::from_value(json!({"model": "m", "input": "Hi"})).unwrap();
        let response = ResponseObject::begun("resp_1", 0, "m", &request);
        Writer::new(Arc::new(ManualClock::new()), "1".to_owned(), response, streams)
    }

    fn call(index: usize, name: Option<&str>, arguments: &str) -> AnswerEvent {
        let begins = name.map(|name| ToolCallStart { id: format!("call_{index}"), name: name.to_owned() });
        AnswerEvent::ToolCall(ToolDelta { index, begins, arguments: arguments.to_owned() })
    }

    fn text(part: Part, text: &str) -> AnswerEvent {
        AnswerEvent::Delta(Delta { part, text: text.to_owned(), tokens: Vec::new() })
    }

    /// The events of an answer that thinks, speaks and calls two functions.
    fn answer(finish: Finish) -> Vec<AnswerEvent> {
        let (usage, timing) = (dialogue::Usage::default(), Timing::default());
        vec![
            text(Part::Reasoning, "Deep."),
            text(Part::Content, "Let me"),
            text(Part::Content, " look."),
            call(0, Some("look_up"), ""),
            call(0, None, "{\"what\": "),
            call(0, None, "\"whale\"}"),
            call(1, Some("now"), "{}"),
            AnswerEvent::Finished { finish, usage, timing },
        ]
    }

    fn events(finish: Finish) -> Vec<Value> {
        let (mut writer, mut out) = (writer(true), VecDeque::new());
        for event in answer(finish) {
            writer.event(0, event, None, &mut out);
        }
        writer.done(None, &mut out);
        let data = |bytes: Bytes| {
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            serde_json::from_str(text.split_once("data: ").unwrap().1).unwrap()
        };
        out.into_iter().map(data).collect()
    }

    #[test]
    fn calls_are_items_of_their_own() {
        let events = events(Finish::ToolCalls);
        let names: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
        let expected = [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added",
            "response.reasoning_text.delta",
            "response.reasoning_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_text.delta",
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.output_item.added",
            "response.function_call_arguments.delta",
            "response.function_call_arguments.delta",
            "response.function_call_arguments.done",
            "response.output_item.done",
            "response.output_item.added",
            "response.function_call_arguments.delta",
            "response.function_call_arguments.done",
            "response.output_item.done",
            "response.completed",
        ];
        assert_eq!(names, expected);
        let output = &events.last().unwrap()["response"]["output"];
        let call = json!({
            "type": "function_call", "id": "fc_1_2", "call_id": "call_0", "name": "look_up",
            "arguments": "{\"what\": \"whale\"}", "status": "completed",
        });
        assert_eq!(output.as_array().map(Vec::len), Some(4));
        assert_eq!(output[2], call);
        assert_eq!(events[15]["item"]["arguments"], "");
        assert_eq!(events[19]["item"], call);
        let indexes = events.iter().filter_map(|event| event["output_index"].as_u64());
        assert!(indexes.is_sorted());
    }

    #[test]
    fn a_call_that_is_cut_says_so() {
        let events = events(Finish::Length);
        let last = events.last().unwrap();
        assert_eq!(last["type"], "response.incomplete");
        let output = &last["response"]["output"];
        assert_eq!((&output[2]["status"], &output[3]["status"]), (&json!("completed"), &json!("incomplete")));
    }
}
