//! Responses as clients read them.

use insta::assert_json_snapshot;
use wire::chat::{
    AnswerMessage, ChatCompletion, ChatCompletionChunk, Choice, ChunkChoice, Delta, FinishReason,
    LogprobToken, Logprobs, TopLogprob, Usage,
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
    ChatCompletionChunk::piece("chatcmpl-1", CREATED, "m", choice)
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
    let completion = ChatCompletion::new("chatcmpl-1".to_owned(), CREATED, "m".to_owned(), choice, usage);
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
        choice,
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
    let usage = ChatCompletionChunk::usage("chatcmpl-1", CREATED, "m", Usage::new(3, 5, 2, 1));
    assert_json_snapshot!("usage_chunk", usage);
    let text = serde_json::to_string(&usage).unwrap();
    assert_eq!(serde_json::from_str::<ChatCompletionChunk>(&text).unwrap(), usage);
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
        (FinishReason::InsufficientSystemResource, "insufficient_system_resource"),
        (FinishReason::Aborted, "aborted"),
    ];
    for (reason, name) in names {
        assert_eq!(serde_json::to_value(reason).unwrap(), name);
    }
}
