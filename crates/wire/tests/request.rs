//! Requests as clients send them.

use insta::assert_debug_snapshot;
use serde_json::{Value, json};
use wire::RequestErrorKind::{self, Format, Unsupported, Value as BadValue};
use wire::chat::{ChatCompletionRequest, ReasoningEffort, RequestRole};

fn minimal() -> Value {
    json!({ "model": "m", "messages": [{ "role": "user", "content": "Hi" }] })
}

fn with(field: &str, value: Value) -> Value {
    let mut request = minimal();
    request[field] = value;
    request
}

#[track_caller]
fn read(request: Value) -> ChatCompletionRequest {
    ChatCompletionRequest::from_value(request).expect("a request that is allowed")
}

#[track_caller]
fn check_refused(request: Value, kind: RequestErrorKind, param: &str, message: &str) {
    let error = ChatCompletionRequest::from_value(request).expect_err("a request that is refused");
    assert_eq!((error.kind, error.param.as_deref(), error.message.as_str()), (kind, Some(param), message));
}

#[track_caller]
fn check_field(field: &str, value: Value, kind: RequestErrorKind, message: &str) {
    check_refused(with(field, value), kind, field, message);
}

#[test]
fn the_smallest_request() {
    assert_debug_snapshot!(read(minimal()));
}

#[test]
fn every_field_at_once() {
    let request = json!({
        "model": "deepseek-r1",
        "messages": [
            { "role": "developer", "content": "Be brief." },
            { "role": "user", "content": [
                { "type": "text", "text": "What is " },
                { "type": "text", "text": "2+2?" },
            ], "name": "ann" },
            { "role": "assistant", "content": "4", "reasoning_content": "Two and two.", "refusal": null },
            { "role": "assistant", "content": null },
            { "role": "user", "content": "And 3+3?" },
        ],
        "max_completion_tokens": 100,
        "max_tokens": 100,
        "temperature": 0.6,
        "top_p": 0.95,
        "top_k": 40,
        "min_p": 0.05,
        "typical_p": 1,
        "repetition_penalty": 1.1,
        "presence_penalty": -0.5,
        "frequency_penalty": 0.5,
        "logit_bias": { "5": -100 },
        "seed": 7.0,
        "stop": ["\n\n", "END"],
        "stream": true,
        "stream_options": { "include_usage": true },
        "logprobs": true,
        "top_logprobs": 3,
        "thinking": { "type": "enabled" },
        "reasoning_effort": "medium",
        "user": "ann",
        "n": 1,
        "tools": [],
        "tool_choice": "none",
        "response_format": { "type": "text" },
        "modalities": ["text"],
        "store": false,
        "metadata": { "a": "b" },
        "service_tier": "auto",
        "parallel_tool_calls": true,
        "something_new": 1,
    });
    assert_debug_snapshot!(read(request));
}

#[test]
fn null_is_absent() {
    let mut request = minimal();
    let fields = [
        "max_tokens",
        "temperature",
        "top_p",
        "top_k",
        "stop",
        "stream",
        "stream_options",
        "logprobs",
        "seed",
        "top_logprobs",
        "thinking",
        "tools",
        "response_format",
        "n",
        "logit_bias",
        "user",
        "modalities",
        "audio",
    ];
    for field in fields {
        request[field] = Value::Null;
    }
    assert_eq!(read(request), read(minimal()));
}

#[test]
fn forms_of_the_same() {
    assert_eq!(read(with("stop", json!("x"))).stop, ["x"]);
    assert_eq!(read(with("max_tokens", json!(5))).max_tokens, Some(5));
    assert_eq!(read(with("seed", json!(-1))).seed, Some(u64::MAX));
    assert_eq!(read(with("seed", json!(u64::MAX))).seed, Some(u64::MAX));
    assert_eq!(read(with("top_k", json!(-1))).top_k, Some(0));
    assert_eq!(read(with("thinking", json!({ "type": "disabled" }))).thinking, Some(false));
    assert_eq!(read(with("thinking", json!({ "type": "auto", "budget": 1 }))).thinking, None);
    assert_eq!(read(with("reasoning_effort", json!("none"))).thinking, Some(false));
    assert_eq!(read(with("reasoning_effort", json!("ultra"))).reasoning_effort, Some(ReasoningEffort::Max));
    assert_eq!(read(with("reasoning_effort", json!("minimal"))).reasoning_effort, Some(ReasoningEffort::Low));
    let system = read(with("messages", json!([{ "role": "system", "content": "" }])));
    assert_eq!(system.messages[0].role, RequestRole::System);
}

#[test]
fn what_is_not_json() {
    for body in [&b"{"[..], b"", b"\xff", b"[1,2", b"{\"model\": 1} x"] {
        let error = ChatCompletionRequest::from_json(body).unwrap_err();
        assert_eq!((error.kind, error.param), (Format, None));
    }
    let error = ChatCompletionRequest::from_json(b"[]").unwrap_err();
    assert_eq!(error.message, "the request must be an object, got an array");
    // A body that nests without end must not use up the stack.
    let deep = "[".repeat(1_000_000);
    assert!(ChatCompletionRequest::from_json(deep.as_bytes()).is_err());
}

#[test]
fn wrong_types_are_named() {
    check_refused(json!({ "messages": [] }), Format, "model", "model is missing");
    check_refused(json!({ "model": "m" }), Format, "messages", "messages is missing");
    check_field("model", json!(3), Format, "model must be a string, got a whole number");
    check_field("temperature", json!("hot"), Format, "temperature must be a number, got a string");
    check_field("stream", json!("yes"), Format, "stream must be true or false, got a string");
    check_field(
        "max_tokens",
        json!(1.5),
        Format,
        "max_tokens must be a whole number, got a number with a fraction",
    );
    check_field("stop", json!({}), Format, "stop must be a string or an array of strings, got an object");
    check_field("logit_bias", json!([]), Format, "logit_bias must be an object, got an array");
    check_field("thinking", json!(true), Format, "thinking must be an object, got true or false");
    check_field("messages", json!("Hi"), Format, "messages must be an array, got a string");
    check_refused(
        with("messages", json!([{ "role": "user", "content": "a" }, { "role": "user", "content": 5 }])),
        Format,
        "messages[1].content",
        "messages[1].content must be a string or an array of parts, got a whole number",
    );
    check_refused(
        with("messages", json!([{ "role": "user" }])),
        Format,
        "messages[0].content",
        "messages[0].content is missing",
    );
    check_refused(
        with("messages", json!([{ "content": "x" }])),
        Format,
        "messages[0].role",
        "messages[0].role is missing",
    );
    check_refused(
        with("messages", json!([{ "role": "user", "content": ["x"] }])),
        Format,
        "messages[0].content[0]",
        "messages[0].content[0] must be an object, got a string",
    );
    check_refused(
        with("stop", json!(["a", 1])),
        Format,
        "stop[1]",
        "stop[1] must be a string, got a whole number",
    );
    check_refused(with("thinking", json!({})), Format, "thinking.type", "thinking.type is missing");
    check_field(
        "stream_options",
        json!({ "include_usage": true }),
        Format,
        "stream_options must be absent where stream is not true, got an object",
    );
}

#[test]
fn wrong_values_are_named() {
    check_field("temperature", json!(2.5), BadValue, "temperature must be between 0 and 2, got 2.5");
    check_field("top_p", json!(-0.1), BadValue, "top_p must be between 0 and 1, got -0.1");
    check_field("max_tokens", json!(0), BadValue, "max_tokens must be between 1 and 4294967295, got 0");
    check_field("presence_penalty", json!(3), BadValue, "presence_penalty must be between -2 and 2, got 3");
    check_field("top_k", json!(-2), BadValue, "top_k must be at least 1, or 0 or -1 for all, got -2");
    check_field("stop", json!(vec!["x"; 17]), BadValue, "stop must be at most 16 strings, got 17");
    check_field(
        "messages",
        json!([]),
        BadValue,
        "messages must be an array of 1 to 4096 messages, got one of 0",
    );
    check_field(
        "top_logprobs",
        json!(5),
        BadValue,
        "top_logprobs must be absent where logprobs is not true, got a number",
    );
    check_refused(
        with("stop", json!(["a", ""])),
        BadValue,
        "stop[1]",
        "stop[1] must be a string of at least 1 character, got \"\"",
    );
    check_refused(
        with("messages", json!([{ "role": "owner", "content": "x" }])),
        BadValue,
        "messages[0].role",
        "messages[0].role must be \"system\", \"developer\", \"user\" or \"assistant\", got \"owner\"",
    );
    check_refused(
        with("logit_bias", json!({ "12": 500 })),
        BadValue,
        "logit_bias.12",
        "logit_bias.12 must be between -100 and 100, got 500",
    );
    check_field(
        "logit_bias",
        json!({ "the": 1 }),
        BadValue,
        "logit_bias must be an object whose keys are token ids, got \"the\"",
    );
    let mut both = with("max_tokens", json!(5));
    both["max_completion_tokens"] = json!(6);
    let message = "max_completion_tokens must be the same as max_tokens (5) where both are given, got 6";
    check_refused(both, BadValue, "max_completion_tokens", message);
    let mut logprobs = with("top_logprobs", json!(21));
    logprobs["logprobs"] = json!(true);
    check_refused(logprobs, BadValue, "top_logprobs", "top_logprobs must be between 0 and 20, got 21");
    let long = "x".repeat(1000);
    let error = ChatCompletionRequest::from_value(with("reasoning_effort", json!(long))).unwrap_err();
    assert!(error.message.len() < 200, "an error must not repeat long values: {}", error.message);
}

#[test]
fn what_is_not_supported_is_refused() {
    let tool = json!([{ "type": "function", "function": { "name": "f" } }]);
    check_field("tools", tool, Unsupported, "tools: tools are not supported yet");
    check_field("tool_choice", json!("required"), Unsupported, "tool_choice: tools are not supported yet");
    check_field("n", json!(2), Unsupported, "n: only 1 answer per request is supported");
    check_field("audio", json!({ "voice": "x" }), Unsupported, "audio: spoken answers are not supported");
    check_field("modalities", json!(["audio"]), Unsupported, "modalities: only [\"text\"] is supported");
    check_refused(
        with("response_format", json!({ "type": "json_object" })),
        Unsupported,
        "response_format.type",
        "response_format.type: only \"text\" is supported yet, got \"json_object\"",
    );
    check_refused(
        with("messages", json!([{ "role": "tool", "content": "4", "tool_call_id": "c" }])),
        Unsupported,
        "messages[0].role",
        "messages[0].role: tools are not supported yet",
    );
    check_refused(
        with("messages", json!([{ "role": "assistant", "content": null, "tool_calls": [{ "id": "c" }] }])),
        Unsupported,
        "messages[0].tool_calls",
        "messages[0].tool_calls: tools are not supported yet",
    );
    check_refused(
        with("messages", json!([{ "role": "assistant", "content": "So", "prefix": true }])),
        Unsupported,
        "messages[0].prefix",
        "messages[0].prefix: completing a given beginning is not supported yet",
    );
    let image = json!([{ "role": "user", "content": [
        { "type": "text", "text": "See:" },
        { "type": "image_url", "image_url": { "url": "x" } },
    ] }]);
    check_refused(
        with("messages", image),
        Unsupported,
        "messages[0].content[1].type",
        "messages[0].content[1].type: only parts of type \"text\" are supported, got \"image_url\"",
    );
}

#[test]
fn errors_become_bodies() {
    let refused =
        |request| ChatCompletionRequest::from_value(request).expect_err("a request that is refused");
    let format = refused(json!({ "model": "m" }));
    assert_eq!(format.status(), 400);
    insta::assert_json_snapshot!("format_error", format.body());
    let value = refused(with("top_p", json!(7)));
    assert_eq!(value.status(), 422);
    insta::assert_json_snapshot!("value_error", value.body());
    let unsupported = refused(with("n", json!(3)));
    assert_eq!(unsupported.status(), 422);
    insta::assert_json_snapshot!("unsupported_error", unsupported.body());
}
