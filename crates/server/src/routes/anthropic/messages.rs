use std::collections::VecDeque;

use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use dialogue::{AnswerEvent, Finish, HubError, Part, SamplingOverrides, ToolDelta};
use serde_json::{Map, Value};
use wire::anthropic::{
    BlockDelta, ContentBlock, Message, MessageEnd, MessagesRequest, StopReason, StreamEvent, UNSIGNED, Usage,
};

use crate::accounts::{Client, Standing};
use crate::app::App;
use crate::body::JsonBytes;
use crate::error::{ApiError, displaced};
use crate::generation::{Asked, Ended, Form, Order, Running, Step, begin, stream, whole_as};
use crate::layers::anthropic::{error_bytes, error_reply};
use crate::sse;

const ENDPOINT: &str = "/anthropic/v1/messages";

/// The next message of a conversation that the client holds. When the client goes away the
/// answer is dropped, and that cancels it.
#[utoipa::path(
    post,
    path = "/anthropic/v1/messages",
    operation_id = "anthropic_messages",
    tag = "programs",
    request_body = wire::bodies::MessagesBody,
    responses((
        status = 200,
        description = "The message; with `stream`, events that tell how it comes about, each an AnthropicStreamEvent whose name \
            is its `type`. \
            Whoever had to wait may get an error in its place: the status was sent before.",
        headers(("x-cachalot-reduced" = Option<String>, description = "What was cut of what was asked for, for the load or for \
            whose it is, as in `thinking_tokens=512, output_tokens=1024`: most tokens of the thought, and of all of the \
            answer.")),
        content((Message = "application/json"), (String = "text/event-stream")),
    )),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    client: Client,
    standing: Standing,
    JsonBytes(body, room): JsonBytes,
) -> Result<Response, ApiError> {
    let request = MessagesRequest::from_json(&body)?;
    drop(body);
    let (streams, omitted, max_tokens) =
        (request.stream, request.thinking.omitted, request.max_tokens as usize);
    let order = Order {
        endpoint: ENDPOINT,
        model: request.model.clone(),
        asked: Asked::AsMuchAsFits(Box::new(asked(request)), max_tokens),
        answers: 1,
    };
    let running = begin(&app, client, standing, order).await?;
    drop(room);
    let dialogue = running.dialogue();
    let (id, model) = (format!("msg_{}", app.random_name()), dialogue.name());
    let message = Message::begun(id, model, Usage::new(running.prompt_tokens(), 0, 0, 0));
    let most = running.cut().output_tokens.map_or(max_tokens, |tokens| max_tokens.min(tokens as usize));
    let limits = Limits { max_tokens: most, context: dialogue.context() };
    let writer = Writer { message, omitted, limits, streams, greeted: false, open: None, stop: None };
    if streams {
        return Ok(stream(&app, running, writer));
    }
    let cut = running.cut();
    Ok(cut.mark(whole_as(&app, whole_message(running, writer), error_bytes).await?))
}

fn asked(request: MessagesRequest) -> dialogue::ChatRequest {
    let sampling = SamplingOverrides {
        temperature: request.temperature,
        top_k: request.top_k.map(|top_k| top_k as usize),
        top_p: request.top_p,
        ..SamplingOverrides::default()
    };
    let stop = request.stop_sequences.clone();
    dialogue::ChatRequest { sampling, stop, ..super::asked(request.into()) }
}

async fn whole_message(mut running: Running, mut writer: Writer) -> Result<Message, ApiError> {
    let mut nowhere = VecDeque::new();
    while let Step::Event(choice, event) = running.next().await? {
        let ended = running.ended();
        writer.event(choice, event, ended, &mut nowhere);
    }
    writer.whole()
}

/// What ends an answer for its length.
struct Limits {
    max_tokens: usize,
    context: usize,
}

/// A block that has begun.
enum Block {
    Thinking(String),
    Text(String),
    Tool { id: String, name: String, json: String },
}

/// Writes an answer, as a stream or whole.
struct Writer {
    /// What is whole of it.
    message: Message,
    /// Whether the thoughts are left out.
    omitted: bool,
    limits: Limits,
    streams: bool,
    /// Whether `message_start` was sent.
    greeted: bool,
    open: Option<Block>,
    /// Why it ended, once it has.
    stop: Option<Result<(StopReason, Option<String>), ApiError>>,
}

impl Writer {
    fn send(&self, event: &StreamEvent, out: &mut VecDeque<Bytes>) {
        if self.streams {
            out.push_back(sse::event(event.name(), event));
        }
    }

    fn greet(&mut self, out: &mut VecDeque<Bytes>) {
        if !std::mem::replace(&mut self.greeted, true) {
            self.send(&StreamEvent::MessageStart { message: self.message.clone() }, out);
        }
    }

    /// The number of the block that is open, or that comes next.
    fn index(&self) -> usize {
        self.message.content.len()
    }

    fn open(&mut self, block: Block, out: &mut VecDeque<Bytes>) {
        self.close(out);
        let content_block = match &block {
            Block::Thinking(_) => {
                ContentBlock::Thinking { thinking: String::new(), signature: String::new() }
            }
            Block::Text(_) => ContentBlock::Text { text: String::new() },
            Block::Tool { id, name, .. } => {
                ContentBlock::ToolUse { id: id.clone(), name: name.clone(), input: Value::Object(Map::new()) }
            }
        };
        self.send(&StreamEvent::ContentBlockStart { index: self.index(), content_block }, out);
        self.open = Some(block);
    }

    fn add(&self, delta: BlockDelta, out: &mut VecDeque<Bytes>) {
        self.send(&StreamEvent::ContentBlockDelta { index: self.index(), delta }, out);
    }

    fn close(&mut self, out: &mut VecDeque<Bytes>) {
        let Some(block) = self.open.take() else { return };
        if let Block::Thinking(_) = block {
            self.add(BlockDelta::SignatureDelta { signature: UNSIGNED.to_owned() }, out);
        }
        self.send(&StreamEvent::ContentBlockStop { index: self.index() }, out);
        self.message.content.push(match block {
            Block::Thinking(thinking) => ContentBlock::Thinking { thinking, signature: UNSIGNED.to_owned() },
            Block::Text(text) => ContentBlock::Text { text },
            Block::Tool { id, name, json } => {
                // What was cut is no object; `whole` leaves it out.
                let input = serde_json::from_str(&json).unwrap_or_default();
                ContentBlock::ToolUse { id, name, input }
            }
        });
    }

    fn text(&mut self, part: Part, text: String, out: &mut VecDeque<Bytes>) {
        match (part, &self.open) {
            (Part::Reasoning, Some(Block::Thinking(_))) | (Part::Content, Some(Block::Text(_))) => {}
            (Part::Reasoning, _) => self.open(Block::Thinking(String::new()), out),
            (Part::Content, _) => self.open(Block::Text(String::new()), out),
        }
        match &mut self.open {
            Some(Block::Thinking(_)) if self.omitted => {}
            Some(Block::Thinking(thinking)) => {
                thinking.push_str(&text);
                self.add(BlockDelta::ThinkingDelta { thinking: text }, out);
            }
            Some(Block::Text(said)) => {
                said.push_str(&text);
                self.add(BlockDelta::TextDelta { text }, out);
            }
            Some(Block::Tool { .. }) | None => {}
        }
    }

    fn call(&mut self, delta: ToolDelta, out: &mut VecDeque<Bytes>) {
        if let Some(begins) = delta.begins {
            self.open(Block::Tool { id: begins.id, name: begins.name, json: String::new() }, out);
        }
        if let Some(Block::Tool { json, .. }) = &mut self.open
            && !delta.arguments.is_empty()
        {
            json.push_str(&delta.arguments);
            self.add(BlockDelta::InputJsonDelta { partial_json: delta.arguments }, out);
        }
    }

    fn stop(&self, finish: Finish, usage: dialogue::Usage) -> Result<(StopReason, Option<String>), ApiError> {
        Ok(match finish {
            Finish::Stop => (StopReason::EndTurn, None),
            Finish::StopString(stop) => (StopReason::StopSequence, Some(stop)),
            Finish::ToolCalls => (StopReason::ToolUse, None),
            Finish::Length => {
                let taken = usage.prompt_tokens.saturating_add(usage.completion_tokens);
                let full = taken >= self.limits.context && usage.completion_tokens < self.limits.max_tokens;
                (if full { StopReason::ModelContextWindowExceeded } else { StopReason::MaxTokens }, None)
            }
            Finish::Cancelled | Finish::ShuttingDown => return Err(HubError::ShuttingDown.into()),
            Finish::Displaced => return Err(displaced()),
            Finish::Failed(why) => return Err(ApiError::internal(why)),
        })
    }

    /// The message that has ended. A call whose arguments were cut is none.
    fn whole(mut self) -> Result<Message, ApiError> {
        let stop = self.stop.unwrap_or_else(|| Err(ApiError::internal("the answer did not end")))?;
        let cut =
            |block: &ContentBlock| matches!(block, ContentBlock::ToolUse { input, .. } if !input.is_object());
        self.message.content.retain(|block| !cut(block));
        let Message { id, model, content, usage, .. } = self.message;
        Ok(Message::new(id, model, content, stop, usage))
    }
}

impl Form for Writer {
    fn event(&mut self, _choice: usize, event: AnswerEvent, ended: Option<Ended>, out: &mut VecDeque<Bytes>) {
        self.greet(out);
        match event {
            AnswerEvent::Started { .. } | AnswerEvent::Prompt(_) => {}
            AnswerEvent::Delta(delta) => self.text(delta.part, delta.text, out),
            AnswerEvent::ToolCall(delta) => self.call(delta, out),
            AnswerEvent::Finished { finish, usage, .. } => {
                self.close(out);
                let taken = ended.map_or(usage, |ended| ended.usage);
                self.message.usage = Usage::new(
                    taken.prompt_tokens,
                    taken.cached_tokens,
                    taken.completion_tokens,
                    taken.reasoning_tokens,
                );
                self.stop = Some(self.stop(finish, taken));
            }
        }
    }

    fn done(&mut self, _ended: Option<Ended>, out: &mut VecDeque<Bytes>) {
        match self.stop.take() {
            Some(Ok((stop_reason, stop_sequence))) => {
                let delta = MessageEnd { stop_reason, stop_sequence };
                self.send(&StreamEvent::MessageDelta { delta, usage: self.message.usage }, out);
                self.send(&StreamEvent::MessageStop, out);
            }
            Some(Err(error)) => self.error(&error, out),
            None => self.error(&ApiError::internal("the answer did not end"), out),
        }
    }

    /// An error after the response has begun is an event of its own, and the last.
    fn error(&mut self, error: &ApiError, out: &mut VecDeque<Bytes>) {
        self.send(&StreamEvent::Error(error_reply(error)), out);
    }

    fn keep_alive(&self) -> Bytes {
        sse::event(StreamEvent::Ping.name(), &StreamEvent::Ping)
    }
}

#[cfg(test)]
mod tests {
    use dialogue::{Delta, Timing, ToolCallStart};
    use serde_json::json;

    use super::*;

    fn writer(streams: bool) -> Writer {
        let message = Message::begun("msg_1", "m", Usage::new(3, 0, 0, 0));
        let limits = Limits { max_tokens: 10, context: 100 };
        Writer { message, omitted: false, limits, streams, greeted: false, open: None, stop: None }
    }

    fn call(index: usize, name: Option<&str>, arguments: &str) -> AnswerEvent {
        let begins = name.map(|name| ToolCallStart { id: format!("call_{index}"), name: name.to_owned() });
        AnswerEvent::ToolCall(ToolDelta { index, begins, arguments: arguments.to_owned() })
    }

    fn text(part: Part, text: &str) -> AnswerEvent {
        AnswerEvent::Delta(Delta { part, text: text.to_owned(), tokens: Vec::new() })
    }

    /// The events of an answer that thinks, speaks and calls two tools.
    fn answer(finish: Finish, last: &str) -> Vec<AnswerEvent> {
        let (usage, timing) = (dialogue::Usage::default(), Timing::default());
        vec![
            text(Part::Reasoning, "Deep."),
            text(Part::Content, "Let me look."),
            call(0, Some("look_up"), ""),
            call(0, None, "{\"z\": 1, "),
            call(0, None, "\"a\": 2}"),
            call(1, Some("now"), last),
            AnswerEvent::Finished { finish, usage, timing },
        ]
    }

    fn whole(finish: Finish, last: &str) -> Message {
        let (mut writer, mut out) = (writer(false), VecDeque::new());
        for event in answer(finish, last) {
            writer.event(0, event, None, &mut out);
        }
        assert!(out.is_empty());
        writer.whole().unwrap()
    }

    #[test]
    fn calls_are_blocks_of_their_own() {
        let (mut writer, mut out) = (writer(true), VecDeque::new());
        for event in answer(Finish::ToolCalls, "{}") {
            writer.event(0, event, None, &mut out);
        }
        writer.done(None, &mut out);
        let text: String = out.iter().map(|bytes| std::str::from_utf8(bytes).unwrap()).collect();
        insta::assert_snapshot!(text);
    }

    #[test]
    fn a_whole_message_has_what_its_stream_has() {
        let message = whole(Finish::ToolCalls, "{}");
        assert_eq!(message.stop_reason, Some(StopReason::ToolUse));
        let thinking = json!({"type": "thinking", "thinking": "Deep.", "signature": "unsigned"});
        let text = json!({"type": "text", "text": "Let me look."});
        let look_up =
            json!({"type": "tool_use", "id": "call_0", "name": "look_up", "input": {"z": 1, "a": 2}});
        let now = json!({"type": "tool_use", "id": "call_1", "name": "now", "input": {}});
        let content = serde_json::to_string(&message.content).unwrap();
        assert_eq!(content, serde_json::to_string(&[thinking, text, look_up, now]).unwrap());
    }

    #[test]
    fn a_call_that_is_cut_is_none() {
        let message = whole(Finish::Length, "{\"a\": ");
        assert_eq!((message.content.len(), message.stop_reason), (3, Some(StopReason::MaxTokens)));
        assert!(matches!(&message.content[2], ContentBlock::ToolUse { name, .. } if name == "look_up"));
    }
}
