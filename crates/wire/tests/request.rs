//! Requests as clients send them.

mod common;

use insta::assert_debug_snapshot;
use proptest::prelude::*;
use serde_json::{Value, json};
use wire::RequestErrorKind::{self, Format, Unsupported, Value as BadValue};
use wire::chat::{ChatCompletionRequest, ReasoningEffort};
use wire::turns::{AssistantTurn, FunctionChoice, Turn};

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
        "thinking": { "type": "enabled", "budget_tokens": 512 },
        "reasoning_effort": "medium",
        "user": "ann",
        "n": 1,
        "tools": [],
        "tool_choice": "none",
        "response_format": { "type": "text" },
        "modalities": ["text"],
        "store": false,
        "prompt_cache_key": "k",
        "safety_identifier": "s",
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
    assert_eq!(read(with("seed", json!(-1))).sampling.seed, Some(u64::MAX));
    assert_eq!(read(with("seed", json!(u64::MAX))).sampling.seed, Some(u64::MAX));
    assert_eq!(read(with("top_k", json!(-1))).sampling.top_k, Some(0));
    assert_eq!(read(with("thinking", json!({ "type": "disabled" }))).thinking, Some(false));
    assert_eq!(read(with("thinking", json!({ "type": "auto", "budget": 1 }))).thinking, None);
    assert_eq!(read(with("reasoning_effort", json!("none"))).thinking, Some(false));
    assert_eq!(read(with("reasoning_effort", json!("ultra"))).reasoning_effort, Some(ReasoningEffort::Max));
    assert_eq!(read(with("reasoning_effort", json!("minimal"))).reasoning_effort, Some(ReasoningEffort::Low));
    let system = read(with("messages", json!([{ "role": "system", "content": "" }])));
    assert_eq!(system.turns, [Turn::System(String::new())]);
    assert_eq!(read(with("n", json!(8))).answers, 8);
    let thinking = read(with("thinking", json!({ "type": "enabled", "budget_tokens": 100 })));
    assert_eq!((thinking.thinking, thinking.thinking_tokens_max), (Some(true), Some(100)));
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
    check_field("n", json!(9), BadValue, "n must be between 1 and 8, got 9");
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
        "messages[0].role must be \"system\", \"developer\", \"user\", \"assistant\" or \"tool\", got \"owner\"",
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
    check_field("audio", json!({ "voice": "x" }), Unsupported, "audio: spoken answers are not supported");
    check_field("modalities", json!(["audio"]), Unsupported, "modalities: only [\"text\"] is supported");
    check_field(
        "best_of",
        json!(3),
        Unsupported,
        "best_of: only as many answers are generated as are given (n, which is 1)",
    );
    check_refused(
        with("tools", json!([{ "type": "custom", "custom": { "name": "f" } }])),
        Unsupported,
        "tools[0].type",
        "tools[0].type: only tools of type \"function\" are supported, got \"custom\"",
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

fn function(name: &str) -> Value {
    json!({ "type": "function", "function": { "name": name, "parameters": { "type": "object" } } })
}

#[test]
fn tools_and_their_calls() {
    let request = json!({
        "model": "m",
        "messages": [
            { "role": "user", "content": "How deep?" },
            { "role": "assistant", "content": null, "reasoning_content": "Measure.", "tool_calls": [
                { "id": "c1", "type": "function", "function": { "name": "depth", "arguments": "{\"at\": 1}" } },
                { "id": "c2", "function": { "name": "depth", "arguments": { "at": 2 } } },
            ] },
            { "role": "tool", "tool_call_id": "c1", "content": "2000" },
            { "role": "tool", "tool_call_id": "c2", "content": [{ "type": "text", "text": "3000" }] },
        ],
        "tools": [
            { "type": "function", "function": {
                "name": "depth", "description": "Measures.", "strict": true,
                "parameters": { "type": "object", "properties": { "at": { "type": "integer" } } },
            } },
            { "type": "function", "function": { "name": "dive" } },
        ],
        "tool_choice": { "type": "function", "function": { "name": "dive" } },
        "parallel_tool_calls": false,
    });
    assert_debug_snapshot!(read(request));
}

#[test]
fn the_old_form_of_tools() {
    let request = json!({
        "model": "m",
        "messages": [
            { "role": "user", "content": "How deep?" },
            { "role": "assistant", "content": null, "function_call": { "name": "depth", "arguments": "{}" } },
            { "role": "function", "name": "depth", "content": "2000" },
        ],
        "functions": [{ "name": "depth", "parameters": { "type": "object" } }],
        "function_call": { "name": "depth" },
    });
    assert_debug_snapshot!(read(request));
}

#[test]
fn tool_choices() {
    let chosen = |choice: Value| {
        let mut request = with("tools", json!([function("f"), function("g")]));
        request["tool_choice"] = choice;
        ChatCompletionRequest::from_value(request).map(|request| request.tool_choice)
    };
    for (given, expected) in [
        (json!(null), FunctionChoice::Auto),
        (json!("auto"), FunctionChoice::Auto),
        (json!("none"), FunctionChoice::None),
        (json!("required"), FunctionChoice::Required),
        (json!({ "type": "required" }), FunctionChoice::Required),
        (json!({ "type": "function", "function": { "name": "g" } }), FunctionChoice::Named("g".to_owned())),
    ] {
        assert_eq!(chosen(given.clone()), Ok(expected), "{given}");
    }
    for (given, kind, param) in [
        (json!("any"), BadValue, "tool_choice"),
        (json!(5), Format, "tool_choice"),
        (json!({ "type": "function" }), Format, "tool_choice.function"),
        (json!({ "type": "function", "function": { "name": "h" } }), BadValue, "tool_choice"),
        (json!({ "type": "custom" }), Unsupported, "tool_choice.type"),
    ] {
        let error = chosen(given.clone()).unwrap_err();
        assert_eq!((error.kind, error.param.as_deref()), (kind, Some(param)), "{given}");
    }
    let none = "tool_choice must be absent where there are no tools, got one that requires a tool";
    check_field("tool_choice", json!("required"), BadValue, none);
}

#[test]
fn what_is_wrong_with_tools_is_named() {
    let check = |tools: Value, kind, param: &str| {
        let error = ChatCompletionRequest::from_value(with("tools", tools)).unwrap_err();
        assert_eq!((error.kind, error.param.as_deref()), (kind, Some(param)), "{error}");
    };
    check(json!({}), Format, "tools");
    check(json!([5]), Format, "tools[0]");
    check(json!([{ "function": { "name": "f" } }]), Format, "tools[0].type");
    check(json!([{ "type": "function" }]), Format, "tools[0].function");
    check(json!([{ "type": "function", "function": {} }]), Format, "tools[0].function.name");
    check(json!([function("a b")]), BadValue, "tools[0].function.name");
    check(json!([function("f"), function("f")]), BadValue, "tools[1]");
    check(json!(vec![function("f"); 129]), BadValue, "tools");
    let mut big = function("f");
    big["function"]["parameters"]["title"] = json!("x".repeat(wire::SCHEMA_BYTES_MAX));
    check(json!([big]), BadValue, "tools");
    let mut wrong = function("f");
    wrong["function"]["parameters"] = json!([]);
    check(json!([wrong]), Format, "tools[0].function.parameters");

    let mut both = with("tools", json!([function("f")]));
    both["functions"] = json!([{ "name": "g" }]);
    check_refused(both, Format, "functions", "functions must be absent where tools are given, got an array");
    let orphan = json!([{ "role": "function", "name": "f", "content": "4" }]);
    let error = ChatCompletionRequest::from_value(with("messages", orphan)).unwrap_err();
    assert_eq!(error.param.as_deref(), Some("messages[0].role"));
    let unnamed = json!([{ "role": "tool", "content": "4" }]);
    check_refused(
        with("messages", unnamed),
        Format,
        "messages[0].tool_call_id",
        "messages[0].tool_call_id is missing",
    );
    // DeepSeek's thinking mode takes no choice that requires a call.
    let mut thinking = with("tools", json!([function("f")]));
    thinking["tool_choice"] = json!("required");
    assert!(ChatCompletionRequest::from_value(thinking.clone()).is_ok(), "a model that thinks by habit may");
    thinking["thinking"] = json!({ "type": "enabled" });
    check_refused(
        thinking,
        Format,
        "tool_choice",
        "tool_choice must be \"none\" or \"auto\" where thinking is enabled, got one that requires a call",
    );
}

#[test]
fn a_beginning_is_given_by_the_last_message_alone() {
    let user = json!({ "role": "user", "content": "Hi" });
    let begun = json!({ "role": "assistant", "content": "So", "reasoning_content": "Hm.", "prefix": true });
    let request = read(with("messages", json!([user, begun])));
    let expected =
        AssistantTurn { reasoning: Some("Hm.".to_owned()), content: "So".to_owned(), calls: vec![] };
    assert_eq!((request.turns.len(), request.begun), (1, Some(expected)));
    for (messages, param) in [
        (json!([begun, user]), "messages[0].prefix"),
        (json!([{ "role": "user", "content": "Hi", "prefix": true }]), "messages[0].prefix"),
        (json!([begun]), "messages"),
    ] {
        let error = ChatCompletionRequest::from_value(with("messages", messages)).unwrap_err();
        assert_eq!((error.kind, error.param.as_deref()), (BadValue, Some(param)));
    }
}

#[test]
fn forms_of_the_content() {
    let schema = || json!({ "type": "object", "properties": { "b": {}, "a": {} } });
    let check = |field: &str, value: Value, expected: wire::Format| {
        assert_eq!(read(with(field, value)).format, expected, "{field}");
    };
    let by_schema = |strict| wire::Format::JsonSchema { schema: schema(), strict };
    check("response_format", json!({ "type": "text" }), wire::Format::Text);
    check("response_format", json!({ "type": "json_object" }), wire::Format::JsonObject);
    let described = json!({ "type": "json_schema", "json_schema": { "name": "s", "schema": schema() } });
    check("response_format", described.clone(), by_schema(false));
    let mut strict = described;
    strict["json_schema"]["strict"] = json!(true);
    check("response_format", strict, by_schema(true));
    check("guided_json", schema(), by_schema(true));
    check("guided_json", json!(schema().to_string()), by_schema(true));
    check("guided_regex", json!("a+"), wire::Format::Regex("a+".to_owned()));
    check("guided_choice", json!(["a", "b"]), wire::Format::Choice(vec!["a".to_owned(), "b".to_owned()]));
    check("guided_grammar", json!("start: \"a\""), wire::Format::Grammar("start: \"a\"".to_owned()));
    check("structured_outputs", json!({ "json": schema() }), by_schema(true));
    check("structured_outputs", json!({ "json_object": true }), wire::Format::JsonObject);
    check("structured_outputs", json!({ "regex": "a" }), wire::Format::Regex("a".to_owned()));

    let refused = |field: &str, value: Value, kind, param: &str| {
        let error = ChatCompletionRequest::from_value(with(field, value)).unwrap_err();
        assert_eq!((error.kind, error.param.as_deref()), (kind, Some(param)), "{error}");
    };
    refused("response_format", json!({}), Format, "response_format.type");
    refused("response_format", json!({ "type": "xml" }), BadValue, "response_format.type");
    refused("response_format", json!({ "type": "json_schema" }), Format, "response_format.json_schema");
    let empty = json!({ "type": "json_schema", "json_schema": {} });
    refused("response_format", empty, Format, "response_format.json_schema.schema");
    refused("guided_json", json!("{"), Format, "guided_json");
    refused("guided_json", json!([]), Format, "guided_json");
    refused("guided_regex", json!(""), BadValue, "guided_regex");
    refused("guided_choice", json!([]), BadValue, "guided_choice");
    refused("guided_choice", json!([1]), Format, "guided_choice[0]");
    refused(
        "structured_outputs",
        json!({ "structural_tag": "x" }),
        Unsupported,
        "structured_outputs.structural_tag",
    );
    let big = json!({ "title": "x".repeat(wire::SCHEMA_BYTES_MAX) });
    refused("guided_json", big, BadValue, "guided_json");
    let mut two = with("guided_regex", json!("a"));
    two["response_format"] = json!({ "type": "json_object" });
    let message = "guided_regex must be absent where response_format.type is given, got another form";
    check_refused(two, BadValue, "guided_regex", message);
}

/// Names that a request may have, and names that it gives to things.
const WORDS: &[&str] = &[
    "model",
    "messages",
    "role",
    "content",
    "type",
    "text",
    "function",
    "name",
    "arguments",
    "tools",
    "tool_calls",
    "tool_call_id",
    "parameters",
    "json_schema",
    "schema",
    "user",
    "assistant",
    "tool",
    "prefix",
    "enabled",
    "budget_tokens",
    "required",
    "include_usage",
    "id",
    "json",
    "regex",
    "choice",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever is sent, it is read or refused at a field.
    #[test]
    fn no_json_is_too_strange(request in prop_oneof![
        1 => common::json_like(WORDS),
        4 => common::replaced(whole(), WORDS),
    ]) {
        if let Err(error) = ChatCompletionRequest::from_value(request.clone()) {
            let param = error.param.as_deref().unwrap_or_default();
            prop_assert!(!param.is_empty() || !request.is_object(), "{error}");
            prop_assert!(error.message.len() < 1000 && error.message.contains(param), "{error}");
        }
    }
}

/// A request with every field that there is.
fn whole() -> Value {
    json!({
        "model": "m",
        "messages": [
            { "role": "user", "content": "Hi" },
            { "role": "assistant", "content": "4", "tool_calls": [
                { "id": "c", "type": "function", "function": { "name": "f", "arguments": "{}" } },
            ] },
            { "role": "tool", "content": "4", "tool_call_id": "c" },
            { "role": "assistant", "content": "So", "prefix": true },
        ],
        "max_tokens": 5, "temperature": 1, "top_p": 1, "top_k": 4, "logit_bias": { "5": 1 }, "seed": 1, "stop": "x",
        "stream": true, "stream_options": {}, "logprobs": true, "top_logprobs": 1, "thinking": { "type": "auto" },
        "reasoning_effort": "low", "tools": [function("f")], "tool_choice": "auto", "response_format": { "type": "text" },
        "n": 2, "guided_choice": ["a"], "structured_outputs": {}, "functions": [], "function_call": "auto",
        "user": "ann", "best_of": 2, "modalities": ["text"],
    })
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
    let unsupported = refused(with("best_of", json!(3)));
    assert_eq!(unsupported.status(), 422);
    insta::assert_json_snapshot!("unsupported_error", unsupported.body());
}
