//! Tools, forms, budgets and completions, from the request to the events.

use serde_json::{Value, json};

use super::{Fixture, TAGS};
use crate::{
    Answer, AnswerEvent, ChatRequest, CompletionPrompt, CompletionRequest, Dialogue, DialogueError, Finish,
    Format, Message, Part, SamplingOverrides, Tool, ToolCall, ToolChoice, ToolDelta, Usage,
};

const ARGUMENTS: &str = "{\"city\": \"Rome\", \"note\": \"</tool_call> {\\\"\"}";

fn call() -> String {
    format!("<tool_call>\n{{\"name\": \"weather\", \"arguments\": {ARGUMENTS}}}\n</tool_call>")
}

fn fixture() -> Fixture {
    Fixture { context: 4096, ..Fixture::default() }
}

fn greedy() -> SamplingOverrides {
    SamplingOverrides { temperature: Some(0.0), ..SamplingOverrides::default() }
}

fn ask(tool_choice: ToolChoice) -> ChatRequest {
    let parameters = json!({
        "type": "object",
        "properties": {"city": {"type": "string"}, "note": {"type": "string"}},
        "required": ["city", "note"],
        "additionalProperties": false,
    });
    let tool = Tool {
        name: "weather".to_owned(),
        description: Some("Tells it.".to_owned()),
        parameters,
        strict: true,
    };
    ChatRequest {
        messages: vec![Message::user("Hi")],
        sampling: greedy(),
        tools: vec![tool],
        tool_choice,
        parallel_tool_calls: true,
        ..ChatRequest::default()
    }
}

/// All of an answer.
#[derive(Debug, Default)]
struct Whole {
    reasoning: String,
    content: String,
    calls: Vec<ToolCall>,
    finish: Option<Finish>,
    usage: Usage,
    /// Log-probabilities that came with the text.
    tokens: Vec<String>,
    prompt: Option<Vec<String>>,
}

fn collect(mut answer: Answer) -> Whole {
    let mut whole = Whole::default();
    while let Some(event) = answer.blocking_next() {
        assert_eq!(whole.finish, None, "nothing comes after the end");
        match event {
            AnswerEvent::Started { .. } => {}
            AnswerEvent::Prompt(tokens) => {
                whole.prompt = Some(tokens.into_iter().map(|token| token.text).collect());
            }
            AnswerEvent::Delta(delta) => {
                assert!(whole.calls.is_empty(), "text comes before calls");
                whole.tokens.extend(delta.tokens.into_iter().map(|token| token.text));
                match delta.part {
                    Part::Reasoning => whole.reasoning.push_str(&delta.text),
                    Part::Content => whole.content.push_str(&delta.text),
                }
            }
            AnswerEvent::ToolCall(ToolDelta { index, begins, arguments }) => {
                if let Some(begins) = begins {
                    assert_eq!(index, whole.calls.len());
                    whole.calls.push(ToolCall { id: begins.id, name: begins.name, arguments: String::new() });
                }
                whole.calls[index].arguments.push_str(&arguments);
            }
            AnswerEvent::Finished { finish, usage, .. } => {
                whole.finish = Some(finish);
                whole.usage = usage;
            }
        }
    }
    whole
}

fn answer(dialogue: &Dialogue, request: &ChatRequest) -> Whole {
    let prompt = dialogue.check(request).expect("the request is allowed");
    collect(dialogue.start(prompt).expect("there is room"))
}

fn refused(dialogue: &Dialogue, request: &ChatRequest) -> String {
    dialogue.check(request).expect_err("the request is refused").to_string()
}

#[test]
fn calls_are_told_apart_from_content() {
    let call = call();
    let dialogue = fixture().saying(&["Hello", "\n", &call, "\n", &call]);
    let whole = answer(&dialogue, &ask(ToolChoice::Auto));
    assert_eq!(whole.content, "Hello\n");
    assert_eq!(whole.finish, Some(Finish::ToolCalls));
    assert_eq!(whole.calls.len(), 2);
    for call in &whole.calls {
        assert_eq!((call.name.as_str(), call.arguments.as_str()), ("weather", ARGUMENTS));
        let id = call.id.strip_prefix("call_").expect("a prefix");
        assert!(id.len() == 24 && id.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{id}");
    }
    assert_ne!(whole.calls[0].id, whole.calls[1].id);
    // Only one.
    let single = ChatRequest { parallel_tool_calls: false, ..ask(ToolChoice::Auto) };
    let whole = answer(&dialogue, &single);
    assert_eq!((whole.calls.len(), whole.finish), (1, Some(Finish::ToolCalls)));
}

#[test]
fn several_answers_to_one_prompt_call_by_different_ids() {
    let dialogue = fixture().saying(&[&call()]);
    let prompt = dialogue.check(&ask(ToolChoice::Required)).unwrap();
    let ids: Vec<String> =
        (0..3).map(|_| collect(dialogue.start(prompt.clone()).unwrap()).calls.remove(0).id).collect();
    assert!(ids[0] != ids[1] && ids[1] != ids[2]);
}

#[test]
fn calls_follow_the_thoughts() {
    let dialogue =
        Fixture { template: "qwen3", ..fixture() }.saying(&["<think>", "wor", TAGS[1], "\n\n", &call()]);
    let whole = answer(&dialogue, &ask(ToolChoice::Required));
    assert_eq!((whole.reasoning.as_str(), whole.content.as_str(), whole.calls.len()), ("wor", "", 1));
    assert_eq!(whole.usage.reasoning_tokens, 3);
}

#[test]
fn a_call_that_is_cut_says_so() {
    let call = call();
    let dialogue = fixture().saying(&[&call]);
    let request = ChatRequest { tokens_max: Some(call.len() - 30), ..ask(ToolChoice::Auto) };
    let whole = answer(&dialogue, &request);
    assert_eq!(whole.finish, Some(Finish::Length));
    assert!(ARGUMENTS.starts_with(&whole.calls[0].arguments) && !whole.calls[0].arguments.is_empty());
    let request = ChatRequest { tokens_max: Some(20), ..ask(ToolChoice::Auto) };
    let whole = answer(&dialogue, &request);
    assert_eq!((whole.content.as_str(), whole.calls.len(), whole.finish), ("", 0, Some(Finish::Length)));
}

#[test]
fn calls_that_are_not_wanted_do_not_come() {
    let dialogue = fixture().saying(&["Hello", &call()]);
    let whole = answer(&dialogue, &ChatRequest { tokens_max: Some(60), ..ask(ToolChoice::None) });
    assert!(
        whole.content.starts_with("Hello<tool_call") && !whole.content.contains("<tool_call>"),
        "{whole:?}"
    );
    assert_eq!(whole.calls, []);
    // Without tools it is text.
    let whole = answer(&dialogue, &ChatRequest { tools: Vec::new(), ..ask(ToolChoice::Auto) });
    assert_eq!((whole.content, whole.finish), (format!("Hello{}", call()), Some(Finish::Stop)));
}

#[test]
fn stop_strings_and_log_probabilities_are_of_the_content() {
    let dialogue = fixture().saying(&["Hello", "wor", &call()]);
    let mut request =
        ChatRequest { stop: vec!["Rome".to_owned(), "world".to_owned()], ..ask(ToolChoice::Auto) };
    request.sampling.logprobs = Some(0);
    let whole = answer(&dialogue, &request);
    assert_eq!((whole.content.as_str(), whole.calls.len()), ("Hellowor", 1));
    assert_eq!(whole.tokens, ["Hello", "wor"]);
    assert_eq!(whole.calls[0].arguments, ARGUMENTS);
}

#[test]
fn what_tools_gave_back_is_shown() {
    let dialogue = fixture().saying(&["Hello"]);
    let called = |id: &str| Message {
        tool_calls: vec![ToolCall {
            id: id.to_owned(),
            name: "weather".to_owned(),
            arguments: ARGUMENTS.to_owned(),
        }],
        ..Message::assistant("")
    };
    let mut request = ask(ToolChoice::Auto);
    request.messages.extend([called("call_1"), Message::tool("call_1", "sunny")]);
    let prompt = dialogue.check(&request).expect("ends with what a tool gave back");
    let tokenizer = super::tokenizer(true);
    let bytes: Vec<u8> = prompt.tokens().iter().flat_map(|&id| tokenizer.token_bytes(id)).copied().collect();
    let text = String::from_utf8(bytes).unwrap();
    assert!(text.contains("\"name\": \"weather\"") && text.contains("sunny"), "{text}");
    request.messages.push(Message::tool("call_2", "windy"));
    assert!(refused(&dialogue, &request).contains("tool_call_id of a call before it"));
    request.messages.pop();
    request.messages.push(Message { tool_call_id: None, ..Message::tool("", "windy") });
    assert!(refused(&dialogue, &request).contains("tool_call_id of a call before it"));
}

#[test]
fn contents_have_the_form_asked_for() {
    let dialogue = fixture().saying(&["{\"a\": 1}"]);
    let request = ChatRequest { tools: Vec::new(), format: Format::JsonObject, ..ask(ToolChoice::Auto) };
    let whole = answer(&dialogue, &request);
    assert_eq!((whole.content.as_str(), whole.finish), ("{\"a\": 1}", Some(Finish::Stop)));
    // The model would rather say something else.
    let schema = json!({
        "type": "object",
        "properties": {"a": {"enum": [7]}},
        "required": ["a"],
        "additionalProperties": false,
    });
    let request = ChatRequest { format: Format::JsonSchema { schema, strict: true }, ..request };
    let whole = answer(&dialogue, &request);
    assert_eq!(serde_json::from_str::<Value>(&whole.content).unwrap(), json!({"a": 7}));
    // What was begun counts.
    let begun = |content: &str| ChatRequest {
        begun: Some(crate::Begun { reasoning: None, content: content.to_owned() }),
        format: Format::Choice(vec!["yes".to_owned(), "yellow".to_owned()]),
        ..request.clone()
    };
    assert_eq!(answer(&dialogue, &begun("yel")).content, "low");
    assert!(refused(&dialogue, &begun("no")).contains("begins as response_format"));
}

#[test]
fn thoughts_are_ended_when_their_budget_is_used_up() {
    let dialogue =
        Fixture { template: "deepseek-r1-distill", ..fixture() }.saying(&["Hello", ".", "wor", "ld"]);
    let request = ChatRequest { tools: Vec::new(), reasoning_tokens_max: Some(2), ..ask(ToolChoice::Auto) };
    let whole = answer(&dialogue, &request);
    assert_eq!(whole.reasoning, "Hello.\n");
    // Two tokens, the line end and the tag.
    assert_eq!(whole.usage.reasoning_tokens, 4);
    assert!(whole.content.starts_with("Hello"), "{whole:?}");
}

fn complete(prompt: CompletionPrompt) -> CompletionRequest {
    CompletionRequest {
        prompt,
        suffix: None,
        sampling: greedy(),
        tokens_max: None,
        stop: Vec::new(),
        format: Format::Text,
        prompt_logprobs: None,
        priority: crate::Priority::default(),
        scope: crate::CacheScope::default(),
    }
}

fn text(text: &str) -> CompletionPrompt {
    CompletionPrompt::Text(text.to_owned())
}

#[test]
fn texts_are_gone_on_with() {
    let dialogue = Fixture { template: "", ..fixture() }.saying(&["<think>", "Hello", TAGS[1], "wor"]);
    let run = |request: &CompletionRequest| {
        collect(dialogue.start(dialogue.check_completion(request).unwrap()).unwrap())
    };
    // Tags are text here, and special tokens in the prompt are, too.
    let request = complete(text("Say <|im_end|>:"));
    assert_eq!(dialogue.check_completion(&request).unwrap().tokens().len(), "Say <|im_end|>:".len());
    let whole = run(&request);
    assert_eq!((whole.content.as_str(), whole.reasoning.as_str()), ("<think>Hello</think>wor", ""));
    assert_eq!((whole.finish, whole.prompt), (Some(Finish::Stop), None));
    let stopped = run(&CompletionRequest { stop: vec!["lo".to_owned()], ..request.clone() });
    assert_eq!(
        (stopped.content.as_str(), stopped.finish),
        ("<think>Hel", Some(Finish::StopString("lo".to_owned())))
    );
    let formed = run(&CompletionRequest { format: Format::Choice(vec!["ab".to_owned()]), ..request.clone() });
    assert_eq!(formed.content, "ab");
    let tokens = CompletionPrompt::Tokens(vec![1, 2, 3]);
    assert_eq!(dialogue.check_completion(&complete(tokens)).unwrap().tokens(), [1, 2, 3]);
    // A chat needs a template.
    assert!(matches!(dialogue.check(&ask(ToolChoice::Auto)), Err(DialogueError::NoTemplate { .. })));
}

#[test]
fn prompts_are_weighed() {
    let dialogue = fixture().saying(&["Hello"]);
    let run = |request: &CompletionRequest| {
        collect(dialogue.start(dialogue.check_completion(request).unwrap()).unwrap())
    };
    let weigh = CompletionRequest { prompt_logprobs: Some(2), ..complete(text("abc")) };
    let whole = run(&weigh);
    assert_eq!(whole.prompt, Some(vec!["b".to_owned(), "c".to_owned()]));
    assert_eq!(whole.content, "Hello");
    let whole = run(&CompletionRequest { tokens_max: Some(0), ..weigh.clone() });
    assert_eq!((whole.content.as_str(), whole.finish), ("", Some(Finish::Length)));
    assert_eq!(whole.prompt.map(|tokens| tokens.len()), Some(2));
    let nothing = CompletionRequest { tokens_max: Some(0), prompt_logprobs: None, ..weigh };
    assert_eq!(
        dialogue.check_completion(&nothing).unwrap_err().to_string(),
        "max_tokens must be at least 1, got 0"
    );
}

#[test]
fn completions_that_make_no_sense_are_refused() {
    let dialogue = fixture().saying(&["Hello"]);
    let refused =
        |request: &CompletionRequest| dialogue.check_completion(request).expect_err("refused").to_string();
    let filled = CompletionRequest { suffix: Some("end".to_owned()), ..complete(text("begin")) };
    assert_eq!(refused(&filled), "suffix must be none: fake can't fill in the middle of a text, got one");
    assert!(refused(&complete(CompletionPrompt::Tokens(Vec::new()))).contains("at least 1 token"));
    assert!(refused(&complete(CompletionPrompt::Tokens(vec![1 << 20]))).contains("token ids below"));
    assert!(refused(&complete(text(&"x".repeat(5000)))).contains("5000 tokens"));
    let stops = CompletionRequest { stop: vec![String::new()], ..complete(text("a")) };
    assert!(refused(&stops).contains("strings of 1 to"));
}

#[test]
fn the_next_turn_begins_with_the_tokens_of_this_one() {
    // "world" comes as two tokens that no tokenizer would choose: it knows only bytes.
    let dialogue = fixture().saying(&["Hello", " ", "wor", "ld"]);
    let first = ChatRequest { tools: Vec::new(), ..ask(ToolChoice::Auto) };
    let prompt = dialogue.check(&first).unwrap();
    let read = prompt.tokens().to_vec();
    let whole = collect(dialogue.start(prompt).unwrap());
    let said = super::ids(&super::tokenizer(true), &["Hello", " ", "wor", "ld", "<|im_end|>"]);
    let mut second = first.clone();
    second.messages.extend([Message::assistant(whole.content), Message::user("And?")]);
    let tokens = dialogue.check(&second).unwrap().tokens().to_vec();
    assert!(tokens.starts_with(&[read, said].concat()));
    // Another scope has none of it.
    let other = ChatRequest { scope: crate::CacheScope([7; 16]), ..second };
    assert_ne!(dialogue.check(&other).unwrap().tokens(), tokens);
}
