use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{
    ChatCompletionBody, CompletionBody, CountTokensBody, DetokenizeBody, MessagesBody, ResponsesBody,
    TokenizeBody,
};
use crate::anthropic::{CountTokensRequest, MessagesRequest};
use crate::chat::ChatCompletionRequest;
use crate::completions::CompletionRequest;
use crate::error::RequestError;
use crate::fields::asked;
use crate::responses::ResponsesRequest;
use crate::tokens::{DetokenizeRequest, TokenizeRequest};

/// Names of fields by the place of their object, `messages[].content[]` and the like.
type Names = BTreeMap<String, BTreeSet<String>>;

/// What a schema says that a request may have.
struct Described {
    schemas: BTreeMap<String, Value>,
    names: Names,
}

impl Described {
    fn of<T: ToSchema>() -> Names {
        let mut schemas = Vec::new();
        T::schemas(&mut schemas);
        let json = |schema| serde_json::to_value(schema).unwrap();
        let schemas = schemas.into_iter().map(|(name, schema)| (name, json(schema))).collect();
        let mut described = Self { schemas, names: Names::new() };
        described.walk("", &serde_json::to_value(T::schema()).unwrap(), 0);
        described.names
    }

    fn walk(&mut self, place: &str, schema: &Value, depth: usize) {
        assert!(depth < 32, "{place} has no end");
        if let Some(to) = schema["$ref"].as_str() {
            let name = to.rsplit('/').next().unwrap();
            let schema = self.schemas.get(name).unwrap_or_else(|| panic!("{name} is not there")).clone();
            return self.walk(place, &schema, depth + 1);
        }
        for choice in schema["oneOf"].as_array().into_iter().flatten() {
            self.walk(place, choice, depth + 1);
        }
        if schema["items"].is_object() {
            self.walk(&format!("{place}[]"), &schema["items"], depth + 1);
        }
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            self.names.entry(place.to_owned()).or_default().insert(name.clone());
            let within = if place.is_empty() { name.clone() } else { format!("{place}.{name}") };
            self.walk(&within, property, depth + 1);
        }
    }
}

/// Reads all of the requests and compares what they were asked for with what is described. What is `refused` is asked for
/// too, to say that it isn't supported.
fn check<B: ToSchema, R>(
    read: impl Fn(Value) -> Result<R, RequestError>,
    requests: &[Value],
    refused: &[(&str, &str)],
) {
    asked::forget();
    for request in requests {
        if let Err(error) = read(request.clone()) {
            panic!("{error}: {request}");
        }
    }
    let mut read = asked::names();
    for (place, name) in refused {
        let was = read.get_mut(*place).is_some_and(|names| names.remove(*name));
        assert!(was, "{place}.{name} is not asked for");
    }
    assert_eq!(read, Described::of::<B>(), "read (left), described (right)");
}

fn function() -> Value {
    json!({"name": "depth", "parameters": {"type": "object"}})
}

fn common() -> Value {
    json!({"model": "m", "logit_bias": {"1": 2}, "stop": ["a"], "stream": true, "stream_options": {"include_usage": true}})
}

/// The forms of an answer; each in a request of its own.
fn forms() -> [Value; 2] {
    [
        json!({"response_format": {"type": "json_schema", "json_schema": {"schema": {}}}}),
        json!({"structured_outputs": {"json_object": true}}),
    ]
}

fn with(request: &Value, more: &[&Value]) -> Value {
    let mut request = request.clone();
    for more in more {
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    }
    request
}

#[test]
fn chat_completions_are_described_as_they_are_read() {
    let call = json!({"id": "c", "type": "function", "function": {"name": "depth", "arguments": "{}"}});
    let messages = json!({"messages": [
        {"role": "user", "content": [{"type": "text", "text": "How"}]},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}], "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "2000 m"},
        {"role": "assistant", "function_call": {"name": "depth", "arguments": {}}},
        {"role": "function", "content": "2000 m"},
    ]});
    let tools = json!({
        "tools": [{"type": "function", "function": function()}],
        "tool_choice": {"type": "function", "function": {"name": "depth"}},
        "thinking": {"type": "auto", "budget_tokens": 3},
    });
    let functions = json!({"functions": [function()], "function_call": {"name": "depth"}});
    let base = with(&common(), &[&messages]);
    let [format, outputs] = forms();
    check::<ChatCompletionBody, _>(
        ChatCompletionRequest::from_value,
        &[with(&base, &[&tools, &format]), with(&base, &[&functions, &outputs])],
        &[
            ("", "audio"),
            ("", "prediction"),
            ("", "web_search_options"),
            ("messages[]", "audio"),
            ("structured_outputs", "structural_tag"),
        ],
    );
}

#[test]
fn completions_are_described_as_they_are_read() {
    let base = with(&common(), &[&json!({"prompt": ["a", [1, 2]]})]);
    let [format, outputs] = forms();
    check::<CompletionBody, _>(
        CompletionRequest::from_value,
        &[with(&base, &[&format]), with(&base, &[&outputs])],
        &[("structured_outputs", "structural_tag")],
    );
}

fn shown_to_anthropic() -> Value {
    json!({
        "model": "m",
        "system": [{"type": "text", "text": "Be brief."}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "How"}]},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "hm"},
                {"type": "tool_use", "id": "c", "name": "depth", "input": {}},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "c", "content": [{"type": "text", "text": "2000 m"}]},
            ]},
        ],
        "tools": [{"name": "depth", "input_schema": {}}],
        "tool_choice": {"type": "tool", "name": "depth"},
        "thinking": {"type": "adaptive"},
        "output_config": {"format": {"type": "json_schema", "schema": {}}},
    })
}

/// The format in its older place.
fn older_format() -> Value {
    json!({"output_config": null, "output_format": {"type": "json_schema", "schema": {}}})
}

#[test]
fn messages_are_described_as_they_are_read() {
    let base = with(&shown_to_anthropic(), &[&json!({"max_tokens": 9, "metadata": {"user_id": "u"}})]);
    check::<MessagesBody, _>(
        MessagesRequest::from_value,
        &[base.clone(), with(&base, &[&older_format()])],
        &[("", "container"), ("", "mcp_servers")],
    );
    let base = shown_to_anthropic();
    check::<CountTokensBody, _>(
        CountTokensRequest::from_value,
        &[base.clone(), with(&base, &[&older_format()])],
        &[],
    );
}

#[test]
fn responses_are_described_as_they_are_read() {
    let chosen = |choice: Value| {
        json!({
            "model": "m",
            "input": [
                {"role": "user", "content": [{"type": "input_text", "text": "How"}]},
                {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
                {"type": "reasoning", "content": [{"text": "hm"}]},
                {"type": "reasoning", "summary": [{"text": "hm"}]},
                {"type": "function_call", "call_id": "c", "name": "depth", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "c", "output": [
                    {"type": "input_text", "text": "2000 m"},
                    {"type": "refusal", "refusal": "no"},
                ]},
            ],
            "tools": [{"type": "function", "name": "depth"}],
            "tool_choice": choice,
            "text": {"format": {"type": "json_schema", "name": "n", "schema": {}}},
            "reasoning": {},
        })
    };
    check::<ResponsesBody, _>(
        ResponsesRequest::from_value,
        &[
            chosen(json!({"type": "function", "name": "depth"})),
            chosen(json!({"type": "allowed_tools", "mode": "auto", "tools": [{"name": "depth"}]})),
        ],
        &[
            ("", "conversation"),
            ("", "context_management"),
            ("", "moderation"),
            ("", "previous_response_id"),
            ("", "prompt"),
        ],
    );
}

#[test]
fn texts_and_tokens_are_described_as_they_are_read() {
    let tokenize = |request: Value| TokenizeRequest::from_json(request.to_string().as_bytes());
    check::<TokenizeBody, _>(tokenize, &[json!({"prompt": "a"})], &[]);
    let detokenize = |request: Value| DetokenizeRequest::from_json(request.to_string().as_bytes());
    check::<DetokenizeBody, _>(detokenize, &[json!({"tokens": [1]})], &[]);
}
