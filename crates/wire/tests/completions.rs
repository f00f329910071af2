//! Requests for completions as clients send them.

mod common;

use insta::assert_debug_snapshot;
use proptest::prelude::*;
use serde_json::{Value, json};
use wire::RequestErrorKind::{Format, Unsupported, Value as BadValue};
use wire::completions::{CompletionInput, CompletionRequest};

fn with(field: &str, value: Value) -> Value {
    let mut request = json!({ "model": "m", "prompt": "Once" });
    request[field] = value;
    request
}

#[track_caller]
fn read(request: Value) -> CompletionRequest {
    CompletionRequest::from_value(request).expect("a request that is allowed")
}

#[test]
fn the_smallest_request() {
    assert_debug_snapshot!("smallest_completion", read(with("stop", Value::Null)));
}

#[test]
fn every_field_at_once() {
    assert_debug_snapshot!("every_field_of_a_completion", read(whole()));
}

fn whole() -> Value {
    json!({
        "model": "m",
        "prompt": ["a", [1, 2]],
        "suffix": "",
        "max_tokens": 0,
        "n": 3,
        "best_of": 3,
        "echo": true,
        "logprobs": 5,
        "temperature": 0,
        "top_p": 0.5,
        "frequency_penalty": 1,
        "logit_bias": { "1": 2 },
        "seed": 1234,
        "stop": "x",
        "stream": true,
        "stream_options": { "include_usage": true },
        "guided_regex": "a+",
        "user": "ann",
    })
}

#[test]
fn forms_of_prompts() {
    let text = |text: &str| CompletionInput::Text(text.to_owned());
    let tokens = |ids: &[u32]| CompletionInput::Tokens(ids.to_vec());
    for (given, expected) in [
        (json!("a"), vec![text("a")]),
        (json!(["a"]), vec![text("a")]),
        (json!(["a", "b"]), vec![text("a"), text("b")]),
        (json!([1, 2]), vec![tokens(&[1, 2])]),
        (json!([[1, 2], [3]]), vec![tokens(&[1, 2]), tokens(&[3])]),
    ] {
        assert_eq!(read(with("prompt", given)).prompts, expected);
    }
}

#[test]
fn what_is_wrong_is_named() {
    let check = |request: Value, kind, param: &str| {
        let error = CompletionRequest::from_value(request.clone()).expect_err("a request that is refused");
        assert_eq!((error.kind, error.param.as_deref()), (kind, Some(param)), "{error}");
    };
    check(json!({ "prompt": "a" }), Format, "model");
    check(json!({ "model": "m" }), Format, "prompt");
    check(with("prompt", json!(5)), Format, "prompt");
    check(with("prompt", json!([])), BadValue, "prompt");
    check(with("prompt", json!([[]])), BadValue, "prompt[0]");
    check(with("prompt", json!(["a", 1])), Format, "prompt[1]");
    check(with("prompt", json!([1, "a"])), Format, "prompt[1]");
    check(with("prompt", json!([1, -2])), Format, "prompt[1]");
    check(with("prompt", json!([[1], [2.5]])), Format, "prompt[1][0]");
    check(with("prompt", json!(vec!["a"; 129])), BadValue, "prompt");
    check(with("max_tokens", json!(0)), BadValue, "max_tokens");
    check(with("logprobs", json!(21)), BadValue, "logprobs");
    check(with("logprobs", json!(true)), Format, "logprobs");
    check(with("best_of", json!(2)), Unsupported, "best_of");
    check(with("stream_options", json!({})), Format, "stream_options");
    let mut many = with("prompt", json!(vec!["a"; 17]));
    many["n"] = json!(8);
    check(many, BadValue, "n");
    let mut echo = with("suffix", json!("end"));
    echo["echo"] = json!(true);
    check(echo, BadValue, "echo");
}

/// Names that a request may have.
const WORDS: &[&str] = &[
    "model",
    "prompt",
    "suffix",
    "echo",
    "logprobs",
    "max_tokens",
    "n",
    "best_of",
    "stop",
    "seed",
    "json",
    "type",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever is sent, it is read or refused at a field.
    #[test]
    fn no_json_is_too_strange(request in prop_oneof![
        1 => common::json_like(WORDS),
        4 => common::replaced(whole(), WORDS),
    ]) {
        if let Err(error) = CompletionRequest::from_value(request.clone()) {
            let param = error.param.as_deref().unwrap_or_default();
            prop_assert!(!param.is_empty() || !request.is_object(), "{error}");
            prop_assert!(error.message.len() < 1000 && error.message.contains(param), "{error}");
        }
    }
}
