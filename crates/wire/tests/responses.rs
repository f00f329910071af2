//! Requests for responses as clients send them, and responses as clients read them.

mod common;

use insta::{assert_debug_snapshot, assert_snapshot};
use proptest::prelude::*;
use serde_json::{Value, json};
use wire::RequestErrorKind::{self, Format, Unsupported, Value as BadValue};
use wire::responses::{
    Content, ErrorCode, EventKind, IncompleteDetails, IncompleteReason, ItemPlace, ItemStatus, Logprob,
    OutputItem, PartPlace, ResponseError, ResponseEvent, ResponseObject, ResponsesRequest, Status,
    TopLogprob, Usage,
};
use wire::turns::{AssistantTurn, Call, FunctionChoice, Turn};

fn minimal() -> Value {
    json!({"model": "m", "input": "Hi"})
}

fn with(field: &str, value: Value) -> Value {
    let mut request = minimal();
    request[field] = value;
    request
}

#[track_caller]
fn read(request: Value) -> ResponsesRequest {
    ResponsesRequest::from_value(request).expect("a request that is allowed")
}

#[track_caller]
fn check_refused(request: Value, kind: RequestErrorKind, param: &str, message: &str) {
    let error = ResponsesRequest::from_value(request).expect_err("a request that is refused");
    assert_eq!((error.kind, error.param.as_deref(), error.message.as_str()), (kind, Some(param), message));
}

#[track_caller]
fn check_field(field: &str, value: Value, kind: RequestErrorKind, message: &str) {
    check_refused(with(field, value), kind, field, message);
}

fn everything() -> Value {
    json!({
        "model": "m",
        "instructions": "Be brief.",
        "input": [
            {"role": "developer", "content": "Be kind."},
            {"type": "message", "role": "user", "content": [
                {"type": "input_text", "text": "How deep "}, {"type": "input_text", "text": "does a whale dive?"}]},
            {"type": "reasoning", "id": "rs_1", "summary": [], "content": [
                {"type": "reasoning_text", "text": "I should look."}]},
            {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [
                {"type": "output_text", "text": "Let me look.", "annotations": []}]},
            {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "look_up", "arguments": "{\"a\": 1}"},
            {"type": "function_call", "call_id": "call_2", "name": "look_up", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "call_1", "output": "2000"},
            {"type": "function_call_output", "call_id": "call_2", "output": [{"type": "input_text", "text": "m"}]},
            {"type": "reasoning", "id": "rs_2", "summary": [{"type": "summary_text", "text": "In short."}]},
            {"role": "assistant", "content": "Two kilometres."},
            {"role": "assistant", "content": "And more."},
            {"role": "user", "content": "How long?"},
        ],
        "max_output_tokens": 100,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_logprobs": 2,
        "include": ["reasoning.encrypted_content", "message.output_text.logprobs"],
        "stream": true,
        "stream_options": {"include_obfuscation": false},
        "tools": [
            {"type": "function", "name": "look_up", "description": "Looks.", "parameters": {
                "type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"],
                "additionalProperties": false}},
            {"type": "function", "name": "add", "parameters": {"type": "object", "properties": {"b": {}}}},
            {"type": "function", "name": "now", "parameters": null, "strict": true},
        ],
        "tool_choice": {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "add"}]},
        "parallel_tool_calls": false,
        "text": {"verbosity": "low", "format": {
            "type": "json_schema", "name": "depth", "schema": {"type": "object"}, "strict": true}},
        "reasoning": {"effort": "xhigh", "summary": "auto"},
        "metadata": {"a": "b"},
        "user": "ann",
        "prompt_cache_key": "k",
        "safety_identifier": "s",
        "store": true,
        "background": false,
        "truncation": "disabled",
        "previous_response_id": null,
        "service_tier": "auto",
        "something_new": 1,
    })
}

#[test]
fn the_smallest_request() {
    assert_debug_snapshot!(read(minimal()));
}

#[test]
fn every_field_at_once() {
    let request = read(everything());
    let (callable, choice) = request.callable();
    assert_eq!(callable.iter().map(|tool| tool.name.as_str()).collect::<Vec<_>>(), ["add"]);
    assert_eq!(choice, FunctionChoice::Required);
    assert_debug_snapshot!(request);
}

#[test]
fn items_of_one_turn_of_the_model_are_put_together() {
    let call = |id: &str| json!({"type": "function_call", "call_id": id, "name": "f", "arguments": "{}"});
    let result = |id: &str| json!({"type": "function_call_output", "call_id": id, "output": "x"});
    let said = |text: &str| json!({"role": "assistant", "content": text});
    let turns =
        read(with("input", json!([call("1"), said("a"), call("2"), call("3"), result("2"), result("3")])))
            .turns;
    let calls = |ids: &[&str]| -> Vec<_> {
        let call =
            |id: &&str| Call { id: (*id).to_owned(), name: "f".to_owned(), arguments: "{}".to_owned() };
        ids.iter().map(call).collect()
    };
    let turn = |content: &str, ids: &[&str]| {
        Turn::Assistant(AssistantTurn { reasoning: None, content: content.to_owned(), calls: calls(ids) })
    };
    assert_eq!(turns[..2], [turn("", &["1"]), turn("a", &["2", "3"])]);
    assert_eq!(turns.len(), 4);
}

#[test]
fn choices() {
    let tools = json!([{"type": "function", "name": "f"}]);
    let choosing = |choice: Value| {
        let mut request = with("tools", tools.clone());
        request["tool_choice"] = choice;
        read(request).callable().1
    };
    assert_eq!(choosing(Value::Null), FunctionChoice::Auto);
    assert_eq!(choosing(json!("auto")), FunctionChoice::Auto);
    assert_eq!(choosing(json!("none")), FunctionChoice::None);
    assert_eq!(choosing(json!("required")), FunctionChoice::Required);
    let named = json!({"type": "function", "name": "f"});
    assert_eq!(choosing(named), FunctionChoice::Named("f".to_owned()));
}

#[test]
fn what_is_wrong_is_named() {
    check_refused(json!({"input": "Hi"}), Format, "model", "model is missing");
    check_refused(json!({"model": "m"}), Format, "input", "input is missing");
    check_field("input", json!(5), Format, "input must be a string or an array of items, got a whole number");
    check_field("input", json!([]), BadValue, "input must be an array of 1 to 4096 items, got one of 0");
    let last = json!([{"role": "assistant", "content": "x"}]);
    let message =
        "input must be ended by an item of the user, the system or a tool, got a last item of the assistant";
    check_field("input", last, BadValue, message);
    let message = "max_output_tokens must be between 1 and 4294967295, got 0";
    check_field("max_output_tokens", json!(0), BadValue, message);
    let message = "tool_choice must be \"auto\", \"none\" or \"required\", got \"any\"";
    check_field("tool_choice", json!("any"), BadValue, message);
    let message = "tool_choice must be absent where there are no tools, got one that requires a tool";
    check_field("tool_choice", json!("required"), BadValue, message);
    let allowed =
        json!({"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]});
    let message = "tool_choice.tools[0].name must be the name of one of the tools, got \"f\"";
    check_refused(with("tool_choice", allowed), BadValue, "tool_choice.tools[0].name", message);
    let message = "metadata must be an object whose keys and values are strings of at most 2048 bytes, got a whole number";
    check_field("metadata", json!({"a": 1}), BadValue, message);
}

#[test]
fn what_is_not_supported_is_refused() {
    let message =
        "previous_response_id: no responses are kept here (store is false); send the earlier items in input";
    check_field("previous_response_id", json!("resp_1"), Unsupported, message);
    let message = "conversation: no conversations are kept here; send the items in input";
    check_field("conversation", json!({"id": "c"}), Unsupported, message);
    let message = "background: a response is written while its request waits, and not without it";
    check_field("background", json!(true), Unsupported, message);
    let message = "truncation: only \"disabled\" is supported: nothing is ever cut from a conversation";
    check_field("truncation", json!("auto"), Unsupported, message);
    check_refused(
        with("tools", json!([{"type": "web_search"}])),
        Unsupported,
        "tools[0].type",
        "tools[0].type: only tools of type \"function\" are supported, got \"web_search\"",
    );
    check_refused(
        with("tool_choice", json!({"type": "file_search"})),
        Unsupported,
        "tool_choice.type",
        "tool_choice.type: only choices of type \"function\" or \"allowed_tools\" are supported, got \"file_search\"",
    );
    let image = json!([{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]);
    check_refused(
        with("input", image),
        Unsupported,
        "input[0].content[0].type",
        "input[0].content[0].type: only parts of type \"input_text\", \"output_text\" or \"refusal\" are supported, \
         got \"input_image\"",
    );
    check_refused(
        with("input", json!([{"type": "item_reference", "id": "x"}])),
        Unsupported,
        "input[0].type",
        "input[0].type: no items are kept here; send the item itself",
    );
    check_refused(
        with("input", json!([{"type": "web_search_call"}])),
        Unsupported,
        "input[0].type",
        "input[0].type: only items of type \"message\", \"function_call\", \"function_call_output\" or \"reasoning\" \
         are supported, got \"web_search_call\"",
    );
}

fn logprob() -> Logprob {
    let top = TopLogprob { token: "T".to_owned(), bytes: vec![84], logprob: -0.25 };
    Logprob { token: "T".to_owned(), bytes: vec![84], logprob: -0.25, top_logprobs: vec![top] }
}

fn output() -> Vec<OutputItem> {
    let status = ItemStatus::Completed;
    vec![
        OutputItem::Reasoning {
            id: "rs_1".to_owned(),
            summary: Vec::new(),
            content: vec![Content::ReasoningText { text: "Deep.".to_owned() }],
            encrypted_content: None,
            status,
        },
        OutputItem::Message {
            id: "msg_1".to_owned(),
            status,
            role: "assistant".to_owned(),
            content: vec![Content::OutputText {
                text: "Two km.".to_owned(),
                annotations: Vec::new(),
                logprobs: vec![logprob()],
            }],
        },
        OutputItem::FunctionCall {
            id: "fc_1".to_owned(),
            call_id: "call_1".to_owned(),
            name: "f".to_owned(),
            arguments: "{\"a\": 1}".to_owned(),
            status: ItemStatus::Incomplete,
        },
    ]
}

#[test]
fn a_response() {
    let mut response = ResponseObject::begun("resp_1", 1_700_000_000, "m", &read(everything()));
    response.output = output();
    response.status = Status::Completed;
    response.completed_at = Some(1_700_000_001);
    response.usage = Some(Usage::new(30, 20, 12, 5));
    let text = serde_json::to_string_pretty(&response).unwrap();
    assert_eq!(serde_json::from_str::<ResponseObject>(&text).unwrap(), response);
    assert_snapshot!(text);
}

#[test]
fn all_events() {
    let begun = || Box::new(ResponseObject::begun("resp_1", 1_700_000_000, "m", &read(minimal())));
    let place = || PartPlace { item_id: "msg_1".to_owned(), output_index: 1, content_index: 0 };
    let call = || ItemPlace { item_id: "fc_1".to_owned(), output_index: 2 };
    let incomplete = ResponseObject {
        status: Status::Incomplete,
        incomplete_details: Some(IncompleteDetails { reason: IncompleteReason::MaxOutputTokens }),
        ..*begun()
    };
    let error = ResponseError { code: ErrorCode::ServerError, message: "broken".to_owned() };
    let failed = ResponseObject { status: Status::Failed, error: Some(error), ..*begun() };
    let item = || output().remove(1);
    let part = || Content::ReasoningText { text: "Deep.".to_owned() };
    let text = || "Two".to_owned();
    let kinds = vec![
        EventKind::Created { response: begun() },
        EventKind::InProgress { response: begun() },
        EventKind::ItemAdded { output_index: 0, item: item() },
        EventKind::PartAdded { place: place(), part: part() },
        EventKind::ReasoningDelta { place: place(), delta: text() },
        EventKind::ReasoningDone { place: place(), text: text() },
        EventKind::TextDelta { place: place(), delta: text(), logprobs: vec![logprob()] },
        EventKind::TextDone { place: place(), text: text(), logprobs: Vec::new() },
        EventKind::PartDone { place: place(), part: part() },
        EventKind::ArgumentsDelta { place: call(), delta: "{".to_owned() },
        EventKind::ArgumentsDone { place: call(), name: "f".to_owned(), arguments: "{}".to_owned() },
        EventKind::ItemDone { output_index: 0, item: item() },
        EventKind::Completed { response: begun() },
        EventKind::Incomplete { response: Box::new(incomplete) },
        EventKind::Error { code: Some("queue_timeout".to_owned()), message: "busy".to_owned(), param: None },
        EventKind::Failed { response: Box::new(failed) },
    ];
    let mut transcript = String::new();
    for (sequence_number, kind) in (0..).zip(kinds) {
        let name = kind.name();
        let event = ResponseEvent { kind, sequence_number };
        let data = serde_json::to_value(&event).unwrap();
        assert_eq!(data["type"], name);
        assert_eq!(serde_json::from_value::<ResponseEvent>(data).unwrap(), event);
        transcript.push_str(&format!("event: {name}\ndata: {}\n\n", serde_json::to_string(&event).unwrap()));
    }
    assert_snapshot!(transcript);
}

const WORDS: &[&str] = &[
    "model",
    "input",
    "role",
    "user",
    "assistant",
    "system",
    "developer",
    "content",
    "type",
    "text",
    "input_text",
    "output_text",
    "refusal",
    "reasoning",
    "summary",
    "summary_text",
    "reasoning_text",
    "function_call",
    "call_id",
    "name",
    "arguments",
    "function_call_output",
    "output",
    "item_reference",
    "instructions",
    "max_output_tokens",
    "temperature",
    "top_p",
    "top_logprobs",
    "include",
    "stream",
    "tools",
    "function",
    "parameters",
    "strict",
    "tool_choice",
    "auto",
    "none",
    "required",
    "allowed_tools",
    "mode",
    "format",
    "json_schema",
    "json_object",
    "schema",
    "verbosity",
    "low",
    "effort",
    "metadata",
    "store",
    "background",
    "truncation",
    "message",
    "properties",
    "additionalProperties",
];

proptest! {
    #[test]
    fn no_json_makes_the_parser_panic(value in common::json_like(WORDS)) {
        let _ = ResponsesRequest::from_value(value);
    }

    #[test]
    fn no_field_makes_the_parser_panic_or_is_repeated_at_length(
        value in common::replaced(everything(), WORDS)
    ) {
        match ResponsesRequest::from_value(value) {
            Ok(request) => {
                let response = ResponseObject::begun("resp_1", 0, "m", &request);
                prop_assert!(serde_json::to_string(&response).is_ok());
            }
            Err(error) => prop_assert!(error.message.len() < 400, "{}", error.message),
        }
    }

    #[test]
    fn no_bytes_make_the_parser_panic(body in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = ResponsesRequest::from_json(&body);
    }
}
