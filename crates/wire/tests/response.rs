//! Responses as clients read them.

use insta::assert_json_snapshot;
use wire::chat::{
    AnswerMessage, ChatCompletion, ChatCompletionChunk, Choice, ChunkChoice, Delta, FinishReason,
    FunctionDelta, LogprobToken, Logprobs, ToolCall, ToolCallDelta, TopLogprob, Usage,
};
use wire::completions::{
    Completion, CompletionChoice, CompletionChunk, CompletionChunkChoice, CompletionLogprobs,
};
use wire::{ErrorBody, Model, ModelList};

const CREATED: i64 = 1_700_000_000;

fn logprobs() -> Logprobs {
    let top = TopLogprob { token: "4".to_owned(), logprob: -0.25, bytes: vec![52] };
    let token =
        LogprobToken { token: "4".to_owned(), logprob: -0.25, bytes: vec![52], top_logprobs: vec![top] };
    Logprobs { content: Some(vec![token]), reasoning_content: None }
}

fn piece(delta: Delta, finish_reason: Option<FinishReason>) -> ChatCompletionChunk {
    let choice = ChunkChoice { index: 0, delta, logprobs: None, finish_reason };
    ChatCompletionChunk::new("chatcmpl-1", CREATED, "m", vec![choice])
}

#[test]
fn a_completion() {
    let choice = Choice {
        index: 0,
        message: AnswerMessage::new("4".to_owned(), None),
        logprobs: Some(logprobs()),
        finish_reason: FinishReason::Stop,
    };
    let usage = Usage::new(10, 0, 1, 0);
    let completion =
        ChatCompletion::new("chatcmpl-1".to_owned(), CREATED, "m".to_owned(), vec![choice], usage);
    assert_json_snapshot!(completion);
    let text = serde_json::to_string(&completion).unwrap();
    assert_eq!(serde_json::from_str::<ChatCompletion>(&text).unwrap(), completion);
}

#[test]
fn a_completion_with_reasoning() {
    let choice = Choice {
        index: 0,
        message: AnswerMessage::new(String::new(), Some("Two and two.".to_owned())),
        logprobs: None,
        finish_reason: FinishReason::Length,
    };
    let usage = Usage::new(10, 4, 20, 20);
    assert_json_snapshot!(ChatCompletion::new(
        "chatcmpl-1".to_owned(),
        CREATED,
        "m".to_owned(),
        vec![choice],
        usage
    ));
}

#[test]
fn chunks() {
    assert_json_snapshot!("first_chunk", piece(Delta::role(), None));
    assert_json_snapshot!("reasoning_chunk", piece(Delta::reasoning("Two"), None));
    assert_json_snapshot!("content_chunk", piece(Delta::content("4"), None));
    let last = piece(Delta::default(), Some(FinishReason::InsufficientSystemResource));
    assert_json_snapshot!("last_chunk", last);
    let usage = Some(Usage::new(3, 5, 2, 1));
    let usage =
        ChatCompletionChunk { usage, ..ChatCompletionChunk::new("chatcmpl-1", CREATED, "m", Vec::new()) };
    assert_json_snapshot!("usage_chunk", usage);
    let text = serde_json::to_string(&usage).unwrap();
    assert_eq!(serde_json::from_str::<ChatCompletionChunk>(&text).unwrap(), usage);
}

#[test]
fn a_completion_that_calls_tools() {
    let calls = || vec![ToolCall::new("call_1".to_owned(), "depth".to_owned(), r#"{"at":1}"#.to_owned())];
    let message =
        |content: &str| AnswerMessage::new(content.to_owned(), Some("Hm.".to_owned())).calling(calls());
    assert_json_snapshot!("calls_only", message(""));
    assert_json_snapshot!("calls_after_content", message("Let me see."));
    assert_json_snapshot!("calls_in_the_old_form", message("").in_functions_form());
    let text = serde_json::to_string(&message("")).unwrap();
    assert_eq!(serde_json::from_str::<AnswerMessage>(&text).unwrap(), message(""));
    let first = ToolCallDelta::first(0, "call_1".to_owned(), "depth".to_owned(), String::new());
    assert_json_snapshot!("first_chunk_of_a_call", piece(Delta::call(first), None));
    let more = ToolCallDelta::more(0, r#"{"at""#.to_owned());
    assert_json_snapshot!("chunk_of_a_call", piece(Delta::call(more), None));
    let old = FunctionDelta { name: Some("depth".to_owned()), arguments: String::new() };
    assert_json_snapshot!("chunk_of_a_call_in_the_old_form", piece(Delta::function_call(old), None));
}

#[test]
fn completions_of_texts() {
    let logprobs = CompletionLogprobs {
        tokens: vec!["Hi".to_owned(), "bytes:\\xf0".to_owned()],
        token_logprobs: vec![None, Some(-0.25)],
        top_logprobs: vec![None, Some([("bytes:\\xf0".to_owned(), -0.25), ("!".to_owned(), -1.5)].into())],
        text_offset: vec![0, 2],
    };
    let choice = CompletionChoice {
        index: 0,
        text: "Hi".to_owned(),
        logprobs: Some(logprobs.clone()),
        finish_reason: FinishReason::Length,
    };
    let usage = Usage::new(1, 0, 1, 0);
    let completion = Completion::new("cmpl-1".to_owned(), CREATED, "m".to_owned(), vec![choice], usage);
    assert_json_snapshot!(completion);
    let text = serde_json::to_string(&completion).unwrap();
    assert_eq!(serde_json::from_str::<Completion>(&text).unwrap(), completion);
    let choice = CompletionChunkChoice {
        index: 1,
        text: "Hi".to_owned(),
        logprobs: Some(logprobs),
        finish_reason: None,
    };
    assert_json_snapshot!("completion_chunk", CompletionChunk::new("cmpl-1", CREATED, "m", vec![choice]));
}

#[test]
fn models_and_errors() {
    assert_json_snapshot!("models", ModelList::new(vec![Model::new("smollm2-135m", 0)]));
    let error =
        ErrorBody::new("invalid_request_error", "model_not_found", "there is no model \"x\"").at("model");
    assert_json_snapshot!("error", error);
}

#[test]
fn finish_reasons_have_their_names() {
    let names = [
        (FinishReason::Stop, "stop"),
        (FinishReason::Length, "length"),
        (FinishReason::ContentFilter, "content_filter"),
        (FinishReason::ToolCalls, "tool_calls"),
        (FinishReason::FunctionCall, "function_call"),
        (FinishReason::InsufficientSystemResource, "insufficient_system_resource"),
        (FinishReason::Aborted, "aborted"),
    ];
    for (reason, name) in names {
        assert_eq!(serde_json::to_value(reason).unwrap(), name);
    }
}
