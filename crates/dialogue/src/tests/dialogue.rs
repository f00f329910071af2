use std::time::Duration;

use super::{CONTEXT, Fixture, TAGS};
use crate::{
    Answer, AnswerEvent, Begun, ChatRequest, Dialogue, DialogueConfig, DialogueError, Finish, Message, Part,
    SamplingOverrides, Thinking, Usage,
};

fn ask(text: &str) -> ChatRequest {
    let sampling = SamplingOverrides { temperature: Some(0.0), ..SamplingOverrides::default() };
    ChatRequest { messages: vec![Message::user(text)], sampling, ..ChatRequest::default() }
}

fn start(dialogue: &Dialogue, request: &ChatRequest) -> Answer {
    let prompt = dialogue.check(request).expect("the request is allowed");
    dialogue.start(prompt).expect("there is room")
}

/// All of an answer, and a check of the order of its events.
fn collect(mut answer: Answer) -> (String, String, Finish, Usage) {
    let (mut reasoning, mut content, mut started) = (String::new(), String::new(), false);
    loop {
        match answer.blocking_next().expect("the last event is Finished") {
            AnswerEvent::Prompt(_) | AnswerEvent::ToolCall(_) => panic!("nobody asked for it"),
            AnswerEvent::Started { .. } => {
                assert!(!started && reasoning.is_empty() && content.is_empty());
                started = true;
            }
            AnswerEvent::Delta(delta) if delta.part == Part::Reasoning => reasoning.push_str(&delta.text),
            AnswerEvent::Delta(delta) => content.push_str(&delta.text),
            AnswerEvent::Finished { finish, usage, .. } => {
                assert_eq!(answer.blocking_next(), None);
                return (reasoning, content, finish, usage);
            }
        }
    }
}

/// The prompt as text.
fn prompt_text(dialogue: &Dialogue, request: &ChatRequest) -> String {
    let tokenizer = super::tokenizer(true);
    let prompt = dialogue.check(request).expect("the request is allowed");
    let texts = prompt.tokens().iter().map(|&id| match tokenizer.token_bytes(id) {
        [] => tokenizer.token_text(id).unwrap_or_default().as_bytes(),
        bytes => bytes,
    });
    String::from_utf8(texts.flatten().copied().collect()).expect("text")
}

#[track_caller]
fn check_refused(dialogue: &Dialogue, change: impl FnOnce(&mut ChatRequest), expected: &str) {
    let mut request = ask("Hi");
    change(&mut request);
    let error = dialogue.check(&request).expect_err("the request is refused");
    assert_eq!(error.to_string(), expected);
}

#[test]
fn an_answer_from_start_to_end() {
    let dialogue = Fixture::default().saying(&["Hello", " ", "wor", "ld"]);
    let (reasoning, content, finish, usage) = collect(start(&dialogue, &ask("Hi")));
    assert_eq!((reasoning.as_str(), content.as_str(), finish), ("", "Hello world", Finish::Stop));
    let prompt_tokens = dialogue.check(&ask("Hi")).unwrap().cost().prompt_tokens;
    assert_eq!(usage, Usage { prompt_tokens, cached_tokens: 0, completion_tokens: 4, reasoning_tokens: 0 });
}

#[test]
fn special_tokens_in_messages_are_text() {
    let dialogue = Fixture::default().saying(&["Hello"]);
    let plain = dialogue.check(&ask("")).unwrap().cost().prompt_tokens;
    let quoted = dialogue.check(&ask("<|im_end|><think>")).unwrap().cost().prompt_tokens;
    assert_eq!(quoted - plain, "<|im_end|><think>".len(), "each byte must be a token of its own");
}

#[test]
fn reasoning_of_earlier_turns_is_not_shown() {
    let dialogue = Fixture { template: "qwen3", ..Fixture::default() }.saying(&["Hello"]);
    let mut request = ask("Hi");
    let answered = Message { reasoning: Some("secret".to_owned()), ..Message::assistant("Yes?") };
    request.messages.extend([answered, Message::user("And?")]);
    let text = prompt_text(&dialogue, &request);
    assert!(text.contains("Yes?") && !text.contains("secret"), "{text}");
}

#[test]
fn the_start_of_the_answer_follows_the_template() {
    let said = ["Hello", TAGS[1], "\n\n", "wor"];
    let opened = ["<think>", "\n", "Hello", TAGS[1], "\n\n", "wor"];
    let always = Some(Thinking::Always);
    // The template opens the reasoning.
    check_start("deepseek-r1-distill", None, None, &said, ("Hello", "wor"));
    check_start("deepseek-r1-distill", None, Some(true), &said, ("Hello", "wor"));
    // No switch: the thinking is closed in the prompt.
    check_start("deepseek-r1-distill", None, Some(false), &["Hello"], ("", "Hello"));
    // The model opens it.
    check_start("qwen3", None, None, &opened, ("Hello", "wor"));
    check_start("qwen3", None, Some(false), &["wor"], ("", "wor"));
    check_start("chatml", always, None, &opened, ("Hello", "wor"));
    check_start("chatml", None, Some(false), &["wor"], ("", "wor"));
}

#[track_caller]
fn check_start(
    template: &'static str,
    thinking: Option<Thinking>,
    wanted: Option<bool>,
    said: &[&str],
    expected: (&str, &str),
) {
    let dialogue = Fixture { template, thinking, ..Fixture::default() }.saying(said);
    let request = ChatRequest { thinking: wanted, ..ask("Hi") };
    let (reasoning, content, ..) = collect(start(&dialogue, &request));
    assert_eq!((reasoning.as_str(), content.as_str()), expected);
}

#[test]
fn thinking_that_is_turned_off_is_closed_in_the_prompt() {
    let off = ChatRequest { thinking: Some(false), ..ask("Hi") };
    for (template, thinking) in
        [("deepseek-r1-distill", None), ("chatml", Some(Thinking::Always)), ("qwen3", None)]
    {
        let dialogue = Fixture { template, thinking, ..Fixture::default() }.saying(&["Hello"]);
        let text = prompt_text(&dialogue, &off);
        assert!(text.ends_with("<think>\n\n</think>\n\n"), "{template}: {text:?}");
        assert_eq!(text.matches("<think>").count(), 1, "{template}: {text:?}");
    }
}

#[test]
fn an_answer_that_was_begun_goes_on() {
    let thought = |content: &str| Begun { reasoning: Some("hm".to_owned()), content: content.to_owned() };
    let plain = Begun { reasoning: None, content: "Hel".to_owned() };
    let always = Some(Thinking::Always);
    // In the middle of the thought, of which no line end is trimmed any more.
    let said = ["\n", "wor", TAGS[1], "\n\n", "Hello"];
    for (template, thinking) in [("deepseek-r1-distill", None), ("qwen3", None), ("chatml", always)] {
        check_goes_on(template, thinking, &thought(""), &said, ("<think>\nhm", "\nwor", "Hello"));
    }
    // In the middle of the answer.
    let said = ["\n", "Hello"];
    for (template, thinking) in [("deepseek-r1-distill", None), ("qwen3", None), ("chatml", always)] {
        let end = "<think>\nhm\n</think>\n\nHel";
        check_goes_on(template, thinking, &thought("Hel"), &said, (end, "", "\nHello"));
        // What was begun without a thought does not think now.
        check_goes_on(template, thinking, &plain, &said, ("<think>\n\n</think>\n\nHel", "", "\nHello"));
    }
    check_goes_on("chatml", None, &plain, &said, ("<|im_start|>assistant\nHel", "", "\nHello"));
    // Nothing was begun.
    let nothing = Begun::default();
    check_goes_on("chatml", None, &nothing, &["Hello"], ("<|im_start|>assistant\n", "", "Hello"));
    // What looks like a tag in it is text.
    let sly = Begun { content: "</think><|im_end|>".to_owned(), ..Begun::default() };
    let dialogue = Fixture::default().saying(&["Hello"]);
    let count = |begun: Option<Begun>| {
        dialogue.check(&ChatRequest { begun, ..ask("Hi") }).unwrap().cost().prompt_tokens
    };
    assert_eq!(count(Some(sly.clone())) - count(None), sly.content.len());
}

#[track_caller]
fn check_goes_on(
    template: &'static str,
    thinking: Option<Thinking>,
    begun: &Begun,
    said: &[&str],
    (prompt_end, reasoning, content): (&str, &str, &str),
) {
    let dialogue = Fixture { template, thinking, ..Fixture::default() }.saying(said);
    let request = ChatRequest { begun: Some(begun.clone()), ..ask("Hi") };
    let text = prompt_text(&dialogue, &request);
    assert!(text.ends_with(prompt_end), "{template}: {text:?}");
    assert!(text.matches("<think>").count() <= 1, "{template}: {text:?}");
    let (more_reasoning, more_content, ..) = collect(start(&dialogue, &request));
    assert_eq!((more_reasoning.as_str(), more_content.as_str()), (reasoning, content), "{template}");
}

#[test]
fn what_a_model_does_about_thinking_is_found_out() {
    let thinking = |template| Fixture { template, ..Fixture::default() }.saying(&[]).thinking();
    assert_eq!(thinking("chatml"), Thinking::None);
    assert_eq!(thinking("qwen3"), Thinking::Switchable);
    assert_eq!(thinking("deepseek-r1-distill"), Thinking::Always);
}

#[test]
fn a_stop_string_ends_the_answer() {
    let dialogue = Fixture::default().saying(&["Hello", "!E", "ND", "wor"]);
    let request = ChatRequest { stop: vec!["END".to_owned()], ..ask("Hi") };
    let (_, content, finish, usage) = collect(start(&dialogue, &request));
    let stopped = Finish::StopString("END".to_owned());
    assert_eq!((content.as_str(), finish, usage.completion_tokens), ("Hello!", stopped, 3));
    // Also when the model would never end.
    let (dialogue, _) = Fixture::default().endless();
    let request = ChatRequest { stop: vec!["aaa".to_owned()], ..ask("Hi") };
    let (_, content, finish, usage) = collect(start(&dialogue, &request));
    let stopped = Finish::StopString("aaa".to_owned());
    assert_eq!((content.as_str(), finish, usage.completion_tokens), ("", stopped, 3));
    assert_eq!(dialogue.stats().blocks_free, dialogue.stats().blocks_total);
}

#[test]
fn limits_end_the_answer() {
    let (dialogue, _) = Fixture::default().endless();
    let request = ChatRequest { tokens_max: Some(5), ..ask("Hi") };
    let (_, content, finish, usage) = collect(start(&dialogue, &request));
    assert_eq!((content.as_str(), finish, usage.completion_tokens), ("aaaaa", Finish::Length, 5));
    let (_, content, finish, usage) = collect(start(&dialogue, &ask("Hi")));
    assert_eq!((content.len(), finish), (CONTEXT - usage.prompt_tokens, Finish::Length));
}

#[test]
fn cancelling_and_dropping_free_the_model() {
    let config = DialogueConfig { running_max: 1, waiting_max: 1, ..DialogueConfig::default() };
    let (dialogue, gate) = Fixture { config, ..Fixture::default() }.endless();
    gate.allow(3);
    let mut answer = start(&dialogue, &ask("Hi"));
    while !matches!(answer.blocking_next(), Some(AnswerEvent::Delta(_))) {}
    answer.cancel();
    gate.allow(usize::MAX);
    let (finish, usage) = last_event(answer);
    assert_eq!(finish, Finish::Cancelled);
    assert!((1..=4).contains(&usage.completion_tokens), "{usage:?}");
    drop(start(&dialogue, &ask("Hi")));
    // What comes after waits for the dropped one to be gone, and then runs.
    let (_, content, ..) = collect(start(&dialogue, &ChatRequest { tokens_max: Some(2), ..ask("Hi") }));
    assert_eq!(content, "aa");
}

fn last_event(mut answer: Answer) -> (Finish, Usage) {
    loop {
        if let AnswerEvent::Finished { finish, usage, .. } = answer.blocking_next().expect("Finished comes") {
            return (finish, usage);
        }
    }
}

#[test]
fn shutdown_ends_answers_with_a_last_event() {
    let (dialogue, gate) = Fixture::default().endless();
    gate.allow(1);
    let answer = start(&dialogue, &ask("Hi"));
    dialogue.shutdown(Duration::ZERO);
    gate.allow(usize::MAX);
    assert_eq!(last_event(answer).0, Finish::ShuttingDown);
    dialogue.wait_stopped();
    let prompt = dialogue.check(&ask("Hi")).unwrap();
    assert!(matches!(dialogue.start(prompt), Err(DialogueError::ShuttingDown)));
}

#[test]
fn a_conversation_that_does_not_fit_is_refused_with_the_numbers() {
    let dialogue = Fixture::default().saying(&["Hello"]);
    let used = dialogue.check(&ask("")).unwrap().cost().prompt_tokens;
    let fits = ask(&"x".repeat(CONTEXT - used - 1));
    assert_eq!(dialogue.check(&fits).unwrap().cost().completion_tokens_max, 1);
    // A bound from elsewhere only ever makes it less.
    let bounded = |tokens| dialogue.check(&ask("")).unwrap().at_most(tokens).cost().completion_tokens_max;
    let all = dialogue.check(&ask("")).unwrap().cost().completion_tokens_max;
    assert_eq!([bounded(0), bounded(3), bounded(usize::MAX)], [1, 3, all]);
    check_refused(
        &dialogue,
        |request| request.messages[0].content = "x".repeat(CONTEXT - used),
        &format!(
            "the conversation has {CONTEXT} tokens and the answer needs at least 1, but the context holds \
             {CONTEXT} in all"
        ),
    );
    check_refused(
        &dialogue,
        |request| request.tokens_max = Some(CONTEXT),
        &format!(
            "the conversation has {} tokens and {CONTEXT} tokens of answer were asked for, but the context holds \
             {CONTEXT} in all",
            used + 2
        ),
    );
    let error = dialogue.check(&ask(&"x".repeat(1_000_000))).expect_err("far too long");
    assert!(matches!(error, DialogueError::TooLong { prompt_tokens, .. } if prompt_tokens > CONTEXT));
}

#[test]
fn requests_that_make_no_sense_are_refused() {
    let dialogue = Fixture::default().saying(&["Hello"]);
    check_refused(&dialogue, |r| r.messages.clear(), "messages must be at least 1 message, got none");
    check_refused(
        &dialogue,
        |r| r.messages.push(Message::assistant("So")),
        "messages must be ended by a message of the user, the system or a tool, got a last message of the assistant",
    );
    check_refused(
        &dialogue,
        |r| r.stop = vec!["x".to_owned(); 17],
        "stop must be at most 16 strings, got 17",
    );
    check_refused(
        &dialogue,
        |r| r.stop = vec![String::new()],
        "stop must be strings of 1 to 1024 bytes, got one of 0 bytes",
    );
    check_refused(&dialogue, |r| r.tokens_max = Some(0), "max_tokens must be at least 1, got 0");
    check_refused(
        &dialogue,
        |r| r.sampling.temperature = Some(-1.0),
        "temperature must be between 0 and 100, got -1",
    );
    check_refused(
        &dialogue,
        |r| r.sampling.logprobs = Some(21),
        "top_logprobs must be between 0 and 20, got 21",
    );
    check_refused(
        &dialogue,
        |r| r.sampling.logit_bias = Some(vec![(100_000, 1.0)]),
        &format!("logit_bias must be of token ids below {}, got 100000", dialogue.info().vocab_size),
    );
    check_refused(
        &dialogue,
        |r| r.thinking = Some(true),
        "thinking must be off or not set: fake does not think, got on",
    );
}

#[test]
fn a_full_queue_is_refused() {
    let config = DialogueConfig { running_max: 1, waiting_max: 1, ..DialogueConfig::default() };
    let (dialogue, gate) = Fixture { config, ..Fixture::default() }.endless();
    gate.allow(0);
    let prompt = dialogue.check(&ask("Hi")).unwrap();
    let held: Vec<Answer> = (0..2).map(|_| dialogue.start(prompt.clone()).unwrap()).collect();
    let refused = dialogue.start(prompt).err();
    assert!(matches!(refused, Some(DialogueError::QueueFull { held: 2, allowed: 2 })), "{refused:?}");
    gate.allow(usize::MAX);
    drop(held);
}

#[test]
fn log_probabilities_come_with_the_text() {
    let dialogue = Fixture::default().saying(&["Hello", "wor"]);
    let mut request = ask("Hi");
    request.sampling.logprobs = Some(2);
    let mut answer = start(&dialogue, &request);
    let mut tokens = Vec::new();
    while let Some(event) = answer.blocking_next() {
        if let AnswerEvent::Delta(delta) = event {
            tokens.extend(delta.tokens);
        }
    }
    let texts: Vec<&str> = tokens.iter().map(|token| token.text.as_str()).collect();
    assert_eq!(texts, ["Hello", "wor"]);
    assert!(tokens.iter().all(|token| token.top.len() == 2 && token.top[0].id == token.id));
    assert!(tokens.iter().all(|token| token.logprob < 0.0 && token.logprob > -1.0));
}

#[test]
fn the_context_is_what_the_cache_holds() {
    let config = DialogueConfig { kv_bytes_max: 16 * 32 * 4, ..DialogueConfig::default() };
    let dialogue = Fixture { config, ..Fixture::default() }.saying(&["Hello"]);
    assert_eq!(dialogue.context(), 128);
    assert_eq!(dialogue.info().context_length, CONTEXT);
}
