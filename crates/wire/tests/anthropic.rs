//! Anthropic's requests as clients send them, and its answers as clients read them.

mod common;

use insta::{assert_debug_snapshot, assert_snapshot};
use proptest::prelude::*;
use serde_json::{Value, json};
use wire::RequestErrorKind::{self, Format, Unsupported, Value as BadValue};
use wire::anthropic::{
    BlockDelta, ContentBlock, CountTokensRequest, ErrorKind, ErrorReply, InputTokens, Message, MessageEnd,
    MessagesRequest, ModelEntry, ModelPage, StopReason, StreamEvent, Thinking, UNSIGNED, Usage,
};
use wire::turns::{FunctionChoice, Turn};

fn minimal() -> Value {
    json!({"model": "m", "max_tokens": 10, "messages": [{"role": "user", "content": "Hi"}]})
}

fn with(field: &str, value: Value) -> Value {
    let mut request = minimal();
    request[field] = value;
    request
}

fn saying(messages: Value) -> Value {
    with("messages", messages)
}

#[track_caller]
fn read(request: Value) -> MessagesRequest {
    MessagesRequest::from_value(request).expect("a request that is allowed")
}

#[track_caller]
fn check_refused(request: Value, kind: RequestErrorKind, param: &str, message: &str) {
    let error = MessagesRequest::from_value(request).expect_err("a request that is refused");
    assert_eq!((error.kind, error.param.as_deref(), error.message.as_str()), (kind, Some(param), message));
}

fn everything() -> Value {
    json!({
        "model": "m",
        "max_tokens": 2048,
        "system": [
            {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}},
            {"type": "text", "text": "Be kind."},
        ],
        "messages": [
            {"role": "user", "content": "How deep"},
            {"role": "user", "content": [{"type": "text", "text": "does a whale"}, {"type": "text", "text": "dive?"}]},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "I should ", "signature": "unsigned"},
                {"type": "redacted_thinking", "data": "xyz"},
                {"type": "thinking", "thinking": "look.", "signature": ""},
                {"type": "text", "text": "Let me "},
                {"type": "text", "text": "look."},
                {"type": "tool_use", "id": "toolu_1", "name": "look_up", "input": {"what": "whale", "a": [1, 2.5]}},
                {"type": "tool_use", "id": "toolu_2", "name": "look_up", "input": {}},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": [
                    {"type": "text", "text": "2000"}, {"type": "text", "text": "metres"}]},
                {"type": "tool_result", "tool_use_id": "toolu_2", "content": "nothing given", "is_error": true},
                {"type": "text", "text": "Go on."},
            ]},
        ],
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 40,
        "stop_sequences": ["END", "\n\nHuman:"],
        "stream": true,
        "tools": [
            {"name": "look_up", "description": "Looks.", "input_schema": {
                "type": "object", "properties": {"what": {"type": "string"}, "a": {}}, "required": ["what"]}},
            {"type": "custom", "name": "add", "input_schema": {"type": "object"}, "strict": true},
        ],
        "tool_choice": {"type": "tool", "name": "add", "disable_parallel_tool_use": true},
        "thinking": {"type": "enabled", "budget_tokens": 1024, "display": "omitted"},
        "output_config": {"effort": "high", "format": {"type": "json_schema", "schema": {"type": "object"}}},
        "metadata": {"user_id": "ann"},
        "service_tier": "auto",
        "context_management": {"edits": []},
        "mcp_servers": [],
        "container": null,
        "something_new": 1,
    })
}

#[test]
fn the_smallest_request() {
    assert_debug_snapshot!(read(minimal()));
}

#[test]
fn every_field_at_once() {
    assert_debug_snapshot!(read(everything()));
}

#[test]
fn a_request_to_count() {
    let mut request = everything();
    request.as_object_mut().unwrap().remove("max_tokens");
    assert_debug_snapshot!(CountTokensRequest::from_value(request).unwrap());
}

#[test]
fn arguments_keep_the_order_in_which_they_were_written() {
    let text = r#"{"model":"m","max_tokens":1,"messages":[{"role":"assistant","content":[
        {"type":"tool_use","id":"1","name":"f","input":{"z":1,"a":2}}]},
        {"role":"user","content":[{"type":"tool_result","tool_use_id":"1"}]}]}"#;
    let request = MessagesRequest::from_json(text.as_bytes()).unwrap();
    let Turn::Assistant(turn) = &request.turns[0] else { panic!("{request:?}") };
    assert_eq!(turn.calls[0].arguments, r#"{"z":1,"a":2}"#);
    assert_eq!(request.turns[1], Turn::Tool { call_id: "1".to_owned(), content: String::new() });
}

#[test]
fn forms_of_the_same() {
    let thinking = |value| read(with("thinking", value)).thinking;
    assert_eq!(thinking(json!({"type": "disabled"})).enabled, Some(false));
    assert_eq!(thinking(json!({"type": "adaptive"})), Thinking::default());
    assert_eq!(thinking(json!({"type": "between_tools"})), Thinking::default());
    let enabled = Thinking { enabled: Some(true), budget_tokens: Some(9), ..Thinking::default() };
    assert_eq!(thinking(json!({"type": "enabled", "budget_tokens": 9})), enabled);
    assert!(read(with("output_config", json!({"effort": "low"}))).thinking.low_effort);
    let old = json!({"type": "json_schema", "schema": {"type": "object"}});
    assert_eq!(read(with("output_format", old)).schema, Some(json!({"type": "object"})));
    let tools = json!([{"name": "f", "input_schema": {}}]);
    let choosing = |choice: Value| {
        let mut request = with("tools", tools.clone());
        request["tool_choice"] = choice;
        let request = read(request);
        (request.tool_choice, request.parallel_tool_calls)
    };
    assert_eq!(choosing(Value::Null), (FunctionChoice::Auto, true));
    assert_eq!(choosing(json!({"type": "auto"})), (FunctionChoice::Auto, true));
    assert_eq!(choosing(json!({"type": "none"})), (FunctionChoice::None, true));
    let one = json!({"type": "any", "disable_parallel_tool_use": true});
    assert_eq!(choosing(one), (FunctionChoice::Required, false));
    let empty = read(saying(json!([{"role": "user", "content": []}])));
    assert_eq!(empty.turns, [Turn::User(String::new())]);
    let system = read(saying(json!([{"role": "system", "content": "x"}, {"role": "user", "content": "y"}])));
    assert_eq!(system.turns, [Turn::System("x".to_owned()), Turn::User("y".to_owned())]);
}

#[test]
fn what_is_wrong_is_named() {
    let json = MessagesRequest::from_json(b"{\"model\": ").unwrap_err();
    assert_eq!((json.kind, json.param), (Format, None));
    let without = |field: &str| {
        let mut request = minimal();
        request.as_object_mut().unwrap().remove(field);
        request
    };
    for field in ["model", "max_tokens", "messages"] {
        check_refused(without(field), Format, field, &format!("{field} is missing"));
    }
    check_refused(
        with("max_tokens", json!(0)),
        BadValue,
        "max_tokens",
        "max_tokens must be between 1 and 4294967295, got 0",
    );
    check_refused(
        with("temperature", json!(1.5)),
        BadValue,
        "temperature",
        "temperature must be between 0 and 1, got 1.5",
    );
    check_refused(
        saying(json!([])),
        BadValue,
        "messages",
        "messages must be an array of 1 to 4096 items, got one of 0",
    );
    check_refused(
        saying(json!([{"role": "tool", "content": "x"}])),
        BadValue,
        "messages[0].role",
        "messages[0].role must be \"user\", \"assistant\" or \"system\", got \"tool\"",
    );
    check_refused(
        saying(json!([{"role": "user", "content": [{"type": "tool_result", "content": "x"}]}])),
        Format,
        "messages[0].content[0].tool_use_id",
        "messages[0].content[0].tool_use_id is missing",
    );
    check_refused(
        saying(
            json!([{"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "f", "input": "{}"}]}]),
        ),
        Format,
        "messages[0].content[0].input",
        "messages[0].content[0].input must be an object, got a string",
    );
    let budget = with("thinking", json!({"type": "enabled", "budget_tokens": 10}));
    let message = "thinking.budget_tokens must be less than max_tokens (10), got 10";
    check_refused(budget, BadValue, "thinking.budget_tokens", message);
    let choice = with("tool_choice", json!({"type": "tool", "name": "f"}));
    check_refused(
        choice,
        BadValue,
        "tool_choice",
        "tool_choice must be the name of one of the tools, got \"f\"",
    );
    let any = with("tool_choice", json!({"type": "any"}));
    let message = "tool_choice must be absent where there are no tools, got one that requires a tool";
    check_refused(any, BadValue, "tool_choice", message);
    let twice = with("tools", json!([{"name": "f", "input_schema": {}}, {"name": "f", "input_schema": {}}]));
    let message = "tools[1] must be of a name of its own, got another \"f\"";
    check_refused(twice, BadValue, "tools[1]", message);
    let named = with("tools", json!([{"name": "a b", "input_schema": {}}]));
    let message = "tools[0].name must be 1 to 128 letters, digits, _ and -, got \"a b\"";
    check_refused(named, BadValue, "tools[0].name", message);
    let bare = with("tools", json!([{"name": "f"}]));
    check_refused(bare, Format, "tools[0].input_schema", "tools[0].input_schema is missing");
    let stops = with("stop_sequences", json!(["a", ""]));
    let message = "stop_sequences[1] must be a string of at least 1 character, got \"\"";
    check_refused(stops, BadValue, "stop_sequences[1]", message);
}

#[test]
fn what_is_not_supported_is_refused() {
    let image = json!([{"type": "text", "text": "See:"}, {"type": "image", "source": {}}]);
    check_refused(
        saying(json!([{"role": "user", "content": image}])),
        Unsupported,
        "messages[0].content[1].type",
        "messages[0].content[1].type: images are not supported",
    );
    let document = json!([{"type": "tool_result", "tool_use_id": "1", "content": [{"type": "document"}]}]);
    check_refused(
        saying(json!([{"role": "user", "content": document}])),
        Unsupported,
        "messages[0].content[0].content[0].type",
        "messages[0].content[0].content[0].type: documents are not supported",
    );
    check_refused(
        saying(json!([{"role": "user", "content": [{"type": "search_result"}]}])),
        Unsupported,
        "messages[0].content[0].type",
        "messages[0].content[0].type: only blocks of type \"text\" or \"tool_result\" are supported here, \
         got \"search_result\"",
    );
    check_refused(
        with("tools", json!([{"type": "web_search_20250305", "name": "web_search"}])),
        Unsupported,
        "tools[0].type",
        "tools[0].type: tools that run on the server, or whose form the model knows by name, are not supported, \
         got \"web_search_20250305\"; describe the tool with name, description and input_schema",
    );
    let container = "container: there are no containers here: code is not run";
    check_refused(with("container", json!("c")), Unsupported, "container", container);
    let servers = with("mcp_servers", json!([{"type": "url"}]));
    let message = "mcp_servers: MCP servers are not connected to from here; list their tools in tools";
    check_refused(servers, Unsupported, "mcp_servers", message);
}

#[test]
fn a_message() {
    let content = vec![
        ContentBlock::Thinking { thinking: "Deep.".to_owned(), signature: UNSIGNED.to_owned() },
        ContentBlock::Text { text: "Two km.".to_owned() },
        ContentBlock::ToolUse {
            id: "toolu_1".to_owned(),
            name: "f".to_owned(),
            input: json!({"z": 1, "a": "x"}),
        },
    ];
    let usage = Usage::new(30, 20, 12, 5);
    let message =
        Message::new("msg_1", "m", content, (StopReason::StopSequence, Some("END".to_owned())), usage);
    let text = serde_json::to_string_pretty(&message).unwrap();
    assert_eq!(serde_json::from_str::<Message>(&text).unwrap(), message);
    assert_snapshot!(text);
    assert_eq!(serde_json::to_value(InputTokens { input_tokens: 3 }).unwrap(), json!({"input_tokens": 3}));
}

#[test]
fn stop_reasons_have_their_names() {
    let names = [
        (StopReason::EndTurn, "end_turn"),
        (StopReason::MaxTokens, "max_tokens"),
        (StopReason::StopSequence, "stop_sequence"),
        (StopReason::ToolUse, "tool_use"),
        (StopReason::Refusal, "refusal"),
        (StopReason::ModelContextWindowExceeded, "model_context_window_exceeded"),
    ];
    for (reason, name) in names {
        assert_eq!(serde_json::to_value(reason).unwrap(), name);
    }
}

#[test]
fn all_events() {
    let block = |content_block| StreamEvent::ContentBlockStart { index: 0, content_block };
    let delta = |delta| StreamEvent::ContentBlockDelta { index: 0, delta };
    let empty = String::new;
    let events = [
        StreamEvent::MessageStart { message: Message::begun("msg_1", "m", Usage::new(30, 0, 0, 0)) },
        StreamEvent::Ping,
        block(ContentBlock::Thinking { thinking: empty(), signature: empty() }),
        delta(BlockDelta::ThinkingDelta { thinking: "Deep.".to_owned() }),
        delta(BlockDelta::SignatureDelta { signature: UNSIGNED.to_owned() }),
        StreamEvent::ContentBlockStop { index: 0 },
        block(ContentBlock::Text { text: empty() }),
        delta(BlockDelta::TextDelta { text: "Two".to_owned() }),
        block(ContentBlock::ToolUse { id: "toolu_1".to_owned(), name: "f".to_owned(), input: json!({}) }),
        delta(BlockDelta::InputJsonDelta { partial_json: "{\"a\"".to_owned() }),
        StreamEvent::MessageDelta {
            delta: MessageEnd { stop_reason: StopReason::EndTurn, stop_sequence: None },
            usage: Usage::new(30, 20, 12, 5),
        },
        StreamEvent::MessageStop,
        StreamEvent::Error(ErrorReply::new(ErrorKind::OverloadedError, "busy", Some("r".to_owned()))),
    ];
    let mut text = String::new();
    for event in &events {
        let data = serde_json::to_value(event).unwrap();
        // The name is in the data too, and clients may go by either.
        assert_eq!(data["type"], event.name());
        assert_eq!(serde_json::from_value::<StreamEvent>(data).unwrap(), *event);
        text.push_str(&format!(
            "event: {}\ndata: {}\n\n",
            event.name(),
            serde_json::to_string(event).unwrap()
        ));
    }
    assert_snapshot!(text);
}

#[test]
fn errors_have_one_status_each() {
    let names = [
        (400, "invalid_request_error", 400),
        (401, "authentication_error", 401),
        (402, "billing_error", 402),
        (403, "permission_error", 403),
        (404, "not_found_error", 404),
        (405, "invalid_request_error", 405),
        (408, "timeout_error", 408),
        (409, "conflict_error", 409),
        (413, "request_too_large", 413),
        (415, "invalid_request_error", 415),
        (422, "invalid_request_error", 400),
        (429, "rate_limit_error", 429),
        (500, "api_error", 500),
        (503, "overloaded_error", 529),
    ];
    for (ours, name, status) in names {
        let kind = ErrorKind::of_status(ours);
        assert_eq!(serde_json::to_value(kind).unwrap(), name);
        assert_eq!(kind.status(ours), status, "{ours}");
    }
}

#[test]
fn models() {
    let models = vec![ModelEntry::new("a", "A", 8192), ModelEntry::new("b", "B", 32768)];
    assert_snapshot!(serde_json::to_string_pretty(&ModelPage::new(models)).unwrap());
    assert_eq!(ModelPage::new(Vec::new()).first_id, None);
}

const WORDS: &[&str] = &[
    "model",
    "messages",
    "role",
    "user",
    "assistant",
    "system",
    "content",
    "type",
    "text",
    "thinking",
    "signature",
    "redacted_thinking",
    "data",
    "tool_use",
    "id",
    "name",
    "input",
    "tool_result",
    "tool_use_id",
    "is_error",
    "max_tokens",
    "temperature",
    "top_p",
    "top_k",
    "stop_sequences",
    "stream",
    "tools",
    "description",
    "input_schema",
    "strict",
    "tool_choice",
    "auto",
    "any",
    "tool",
    "none",
    "disable_parallel_tool_use",
    "enabled",
    "disabled",
    "budget_tokens",
    "display",
    "omitted",
    "output_config",
    "output_format",
    "format",
    "json_schema",
    "schema",
    "metadata",
    "user_id",
    "image",
    "container",
    "mcp_servers",
    "effort",
];

proptest! {
    #[test]
    fn no_json_makes_the_parsers_panic(value in common::json_like(WORDS)) {
        let _ = MessagesRequest::from_value(value.clone());
        let _ = CountTokensRequest::from_value(value);
    }

    #[test]
    fn no_field_makes_the_parsers_panic_or_is_repeated_at_length(
        value in common::replaced(everything(), WORDS)
    ) {
        if let Err(error) = MessagesRequest::from_value(value.clone()) {
            prop_assert!(error.message.len() < 400, "{}", error.message);
        }
        let _ = CountTokensRequest::from_value(value);
    }

    #[test]
    fn no_bytes_make_the_parser_panic(body in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = MessagesRequest::from_json(&body);
    }
}
