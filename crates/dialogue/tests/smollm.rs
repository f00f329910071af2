//! Forms, calls and the tokens of the next turn with a real model: SmolLM2 135M, the file of `CACHALOT_TEST_MODEL`.

use std::path::PathBuf;
use std::sync::Arc;

use base::{Rng, SystemClock, TokenId};
use dialogue::{
    Answer, AnswerEvent, CacheScope, ChatRequest, Dialogue, DialogueConfig, Finish, Format, Message, Part,
    Profile, SamplingOverrides, Tool, ToolCall, ToolChoice, Usage,
};
use models::{LoadOptions, load};
use serde_json::{Value, json};

fn dialogue() -> Dialogue {
    let path = std::env::var_os("CACHALOT_TEST_MODEL").map(PathBuf::from).expect(
        "CACHALOT_TEST_MODEL must be the path of SmolLM2-135M-Instruct.Q4_1.gguf, which `make rust-test` fetches",
    );
    let loaded = load(&path, &LoadOptions::default()).expect("the test model");
    let profile = Profile::unknown("smollm2");
    let clock = Arc::new(SystemClock::new());
    Dialogue::new(loaded, profile, DialogueConfig::default(), clock, Rng::from_seed(1)).expect("a dialogue")
}

fn ask(text: &str) -> ChatRequest {
    let sampling = SamplingOverrides { temperature: Some(0.0), ..SamplingOverrides::default() };
    ChatRequest { messages: vec![Message::user(text)], sampling, ..ChatRequest::default() }
}

struct Whole {
    content: String,
    calls: Vec<ToolCall>,
    finish: Finish,
    usage: Usage,
}

fn collect(mut answer: Answer) -> Whole {
    let (mut content, mut calls) = (String::new(), Vec::<ToolCall>::new());
    loop {
        match answer.blocking_next().expect("Finished comes") {
            AnswerEvent::Delta(delta) => {
                assert_eq!(delta.part, Part::Content);
                content.push_str(&delta.text);
            }
            AnswerEvent::ToolCall(delta) => {
                if let Some(begins) = delta.begins {
                    calls.push(ToolCall { id: begins.id, name: begins.name, arguments: String::new() });
                }
                calls[delta.index].arguments.push_str(&delta.arguments);
            }
            AnswerEvent::Finished { finish, usage, .. } => return Whole { content, calls, finish, usage },
            AnswerEvent::Started { .. } | AnswerEvent::Prompt(_) => {}
        }
    }
}

fn answer(dialogue: &Dialogue, request: &ChatRequest) -> Whole {
    collect(dialogue.start(dialogue.check(request).expect("the request is allowed")).expect("there is room"))
}

fn object(properties: Value) -> Value {
    let names: Vec<&String> = properties.as_object().expect("an object").keys().collect();
    json!({"type": "object", "required": names, "properties": properties, "additionalProperties": false})
}

#[test]
fn answers_are_valid_by_their_schema() {
    let dialogue = dialogue();
    let schema = object(json!({
        "name": {"type": "string", "maxLength": 30},
        "kind": {"enum": ["fish", "mammal", "bird"]},
        "length_m": {"type": "integer", "minimum": 1, "maximum": 40},
        "eats": {"type": "array", "items": {"type": "string", "maxLength": 20}, "minItems": 1, "maxItems": 3},
    }));
    for seed in 0..4 {
        let mut request = ask("Describe the sperm whale as JSON.");
        request.format = Format::JsonSchema { schema: schema.clone(), strict: true };
        // Heat makes nonsense, which must be valid all the same.
        request.sampling.temperature = Some(seed as f32);
        request.sampling.seed = Some(seed);
        let whole = answer(&dialogue, &request);
        assert_eq!(whole.finish, Finish::Stop, "{}", whole.content);
        let value: Value = serde_json::from_str(&whole.content).expect(&whole.content);
        assert!(["fish", "mammal", "bird"].contains(&value["kind"].as_str().unwrap()));
        assert!((1..=40).contains(&value["length_m"].as_i64().unwrap()));
        assert!((1..=3).contains(&value["eats"].as_array().unwrap().len()));
        assert!(value["name"].as_str().unwrap().chars().count() <= 30);
        assert_eq!(value.as_object().unwrap().len(), 4);
    }
}

#[test]
fn other_forms() {
    let dialogue = dialogue();
    let with = |format, text: &str| answer(&dialogue, &ChatRequest { format, ..ask(text) }).content;
    let choice = Format::Choice(vec!["positive".to_owned(), "negative".to_owned()]);
    let feeling = with(choice, "Is this review positive or negative? \"I love it, best day ever!\"");
    assert!(["positive", "negative"].contains(&feeling.as_str()), "{feeling}");
    let date =
        with(Format::Regex("[0-9]{4}-[01][0-9]-[0-3][0-9]".to_owned()), "When did the Berlin Wall fall?");
    assert!(date.len() == 10 && date.as_bytes()[4] == b'-', "{date}");
    let lark = "start: digit (\"+\" digit)+\ndigit: /[1-9]/\n".to_owned();
    let limited = ChatRequest { tokens_max: Some(40), ..ask("Write a sum.") };
    let sum = answer(&dialogue, &ChatRequest { format: Format::Lark(lark), ..limited }).content;
    assert!(sum.len() >= 3 && sum.bytes().all(|byte| byte == b'+' || byte.is_ascii_digit()), "{sum}");
}

#[test]
fn calls_that_are_required_are_valid() {
    let dialogue = dialogue();
    let parameters = object(json!({
        "city": {"type": "string", "maxLength": 30},
        "unit": {"enum": ["celsius", "fahrenheit"]},
    }));
    let tool = |strict| Tool {
        name: "get_weather".to_owned(),
        description: Some("Tells the weather of a city.".to_owned()),
        parameters: parameters.clone(),
        strict,
    };
    for (strict, choice) in [
        (true, ToolChoice::Required),
        (true, ToolChoice::Named("get_weather".to_owned())),
        (false, ToolChoice::Required),
    ] {
        let mut request = ask("What is the weather in Paris in celsius?");
        request.tools = vec![tool(strict)];
        request.tool_choice = choice;
        request.tokens_max = Some(200);
        let whole = answer(&dialogue, &request);
        assert_eq!(whole.content, "");
        let call = whole.calls.first().expect("a call");
        assert_eq!(call.name, "get_weather");
        if whole.finish == Finish::Length && !strict {
            continue;
        }
        assert_eq!((whole.finish, whole.calls.len()), (Finish::ToolCalls, 1), "{}", call.arguments);
        let arguments: Value = serde_json::from_str(&call.arguments).expect(&call.arguments);
        if strict {
            assert!(["celsius", "fahrenheit"].contains(&arguments["unit"].as_str().unwrap()));
            assert_eq!(arguments.as_object().unwrap().len(), 2);
        }
        // What the tool gave back is answered.
        let calls = Message { tool_calls: whole.calls.clone(), ..Message::assistant("") };
        request
            .messages
            .extend([calls, Message::tool(&whole.calls[0].id, "{\"degrees\": 21, \"sky\": \"clear\"}")]);
        request.tool_choice = ToolChoice::None;
        request.tokens_max = Some(20);
        let whole = answer(&dialogue, &request);
        assert!(!whole.content.is_empty() && whole.calls.is_empty());
        assert!(whole.usage.cached_tokens > 64, "what was read and said is in the cache: {:?}", whole.usage);
    }
}

/// The tokens of a request and its answer, the answer's text, how it ended and what it took.
fn take_answer(dialogue: &Dialogue, request: &ChatRequest) -> (Vec<TokenId>, String, Finish, Usage) {
    let prompt = dialogue.check(request).expect("a good request");
    let mut read = prompt.tokens().to_vec();
    let mut answer = dialogue.start(prompt).expect("a place");
    let (mut content, mut finished) = (String::new(), None);
    while let Some(event) = answer.blocking_next() {
        match event {
            AnswerEvent::Delta(delta) => {
                content.push_str(&delta.text);
                read.extend(delta.tokens.iter().map(|token| token.id));
            }
            AnswerEvent::Finished { finish, usage, .. } => finished = Some((finish, usage)),
            _ => {}
        }
    }
    let (finish, usage) = finished.expect("Finished comes");
    (read, content, finish, usage)
}

/// The tokens of the prompt, the answer and the end of the turn are the beginning of the next prompt.
#[test]
fn the_next_turn_begins_with_the_tokens_of_this_one() {
    let dialogue = dialogue();
    let end: TokenId = 2;
    let mut request =
        ChatRequest { scope: CacheScope([1; 16]), tokens_max: Some(40), ..ask("Hello! Who are you?") };
    let questions =
        ["Say it in other words:\n\n1. \"one\"\n2. two", "¿Y en español? 鲸鱼 🐳", "Name three whales."];
    for (turn, question) in questions.into_iter().enumerate() {
        // Nonsense has tokens that no tokenizer would choose.
        request.sampling.temperature = Some(turn as f32);
        request.sampling.logprobs = Some(0);
        // Where a character is broken off before the end, what its tokens were can't be told from the text.
        let has_broken = |content: &str| content.trim_end_matches('\u{fffd}').contains('\u{fffd}');
        let mut answers = (turn as u64..20).map(|seed| {
            request.sampling.seed = Some(seed);
            take_answer(&dialogue, &request)
        });
        let whole = answers.find(|(_, content, ..)| !has_broken(content));
        let (mut read, content, finish, usage) = whole.expect("one of twenty answers is of whole characters");
        assert!(turn == 0 || usage.cached_tokens + 32 >= usage.prompt_tokens / 2, "{usage:?}");
        request.messages.extend([Message::assistant(content.clone()), Message::user(question)]);
        let next = dialogue.check(&request).unwrap().tokens().to_vec();
        if finish == Finish::Length && content.ends_with('\u{fffd}') {
            // Cut in the middle of a character, which is lost.
            read.truncate(read.len() - 4);
            assert!(next.starts_with(&read));
            continue;
        }
        read.push(end);
        assert!(next.starts_with(&read), "turn {turn}: {content:?}");
    }
}
