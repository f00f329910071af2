use base::Rng;
use engine::GeneratedToken;

use super::{ids, tokenizer};
use crate::assemble::{Assembler, Output, Reading};
use crate::follow::TagTokens;
use crate::split::Start;
use crate::{Delta, Part};

/// What came of a script: reasoning, content, its tokens' texts, whether it was stopped, reasoning tokens.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    reasoning: String,
    content: String,
    reasoning_tokens: Vec<String>,
    content_tokens: Vec<String>,
    stopped: bool,
    reasoning_count: usize,
}

fn text(output: Output) -> Delta {
    match output {
        Output::Text(delta) => delta,
        Output::Call(call) => panic!("nobody calls: {call:?}"),
    }
}

fn assemble(tags: bool, start: Start, stop: &[&str], texts: &[&str]) -> (Vec<Delta>, Outcome) {
    let tokenizer = tokenizer(tags);
    let tag_tokens = tokenizer
        .token_id("<think>")
        .zip(tokenizer.token_id("</think>"))
        .map(|(opening, closing)| TagTokens { opening, closing });
    assert_eq!(tag_tokens.is_some(), tags);
    let stop: Vec<String> = stop.iter().map(|&stop| stop.to_owned()).collect();
    let reading = Reading { start, tags: tag_tokens, calls: None, stop: &stop, logprobs: true };
    let mut assembler = Assembler::new(tokenizer.clone(), &reading, Rng::from_seed(1));
    let mut deltas = Vec::new();
    let mut outcome = Outcome::default();
    for id in ids(&tokenizer, texts) {
        let pushed = assembler.push(GeneratedToken { id, logprob: -1.0, top: vec![(id, -1.0)] });
        deltas.extend(pushed.outputs.into_iter().map(text));
        outcome.stopped = pushed.stopped.is_some();
        if outcome.stopped {
            break;
        }
    }
    deltas.extend(assembler.finish().into_iter().map(text));
    for delta in &deltas {
        assert!(!delta.text.is_empty(), "a delta must not be empty");
        let (text, tokens) = match delta.part {
            Part::Reasoning => {
                assert!(outcome.content.is_empty(), "reasoning after content");
                (&mut outcome.reasoning, &mut outcome.reasoning_tokens)
            }
            Part::Content => (&mut outcome.content, &mut outcome.content_tokens),
        };
        text.push_str(&delta.text);
        tokens.extend(delta.tokens.iter().map(|token| token.text.clone()));
    }
    outcome.reasoning_count = assembler.reasoning_tokens();
    (deltas, outcome)
}

#[track_caller]
fn check(tags: bool, start: Start, stop: &[&str], texts: &[&str], expected: (&str, &str, bool, usize)) {
    let (_, outcome) = assemble(tags, start, stop, texts);
    let found =
        (outcome.reasoning.as_str(), outcome.content.as_str(), outcome.stopped, outcome.reasoning_count);
    assert_eq!(found, expected);
}

#[test]
fn text_comes_with_the_token_that_completes_it() {
    let (deltas, _) = assemble(true, Start::Content, &[], &["Hello", "é", "wor"]);
    let texts: Vec<&str> = deltas.iter().map(|delta| delta.text.as_str()).collect();
    assert_eq!(texts, ["Hello", "é", "wor"]);
    let tokens: Vec<usize> = deltas.iter().map(|delta| delta.tokens.len()).collect();
    assert_eq!(tokens, [1, 2, 1]);
    assert_eq!(deltas[1].tokens[0].bytes, [0xc3]);
    assert_eq!(deltas[1].tokens[0].text, "\u{fffd}");
    assert_eq!(deltas[1].tokens[1].bytes, [0xa9]);
    assert_eq!(deltas[0].tokens[0].top[0].text, "Hello");
}

#[test]
fn reasoning_is_split_by_tag_tokens() {
    check(
        true,
        Start::Open,
        &[],
        &["<think>", "\n", "Hello", "</think>", "\n\n", "wor"],
        ("Hello", "wor", false, 4),
    );
    check(true, Start::Reasoning, &[], &["Hello", "</think>", "wor", "ld"], ("Hello", "world", false, 2));
    check(true, Start::Reasoning, &[], &["Hello"], ("Hello", "", false, 1));
    check(true, Start::Open, &[], &["Hello"], ("", "Hello", false, 0));
    check(true, Start::Content, &[], &["<think>", "wor", "</think>"], ("", "<think>wor</think>", false, 0));
}

#[test]
fn reasoning_is_split_by_spelled_tags() {
    check(false, Start::Open, &[], &["<think>hm</think>\nyes"], ("hm", "yes", false, 17));
    check(false, Start::Reasoning, &[], &["hm</think>yes"], ("hm", "yes", false, 10));
    check(false, Start::Reasoning, &[], &["hm</thin"], ("hm</thin", "", false, 8));
}

#[test]
fn a_tag_cuts_an_unfinished_character() {
    let tokenizer = tokenizer(true);
    let tags = TagTokens {
        opening: tokenizer.token_id("<think>").unwrap(),
        closing: tokenizer.token_id("</think>").unwrap(),
    };
    let reading =
        Reading { start: Start::Reasoning, tags: Some(tags), calls: None, stop: &[], logprobs: false };
    let mut assembler = Assembler::new(tokenizer, &reading, Rng::from_seed(1));
    let push = |assembler: &mut Assembler, id| {
        assembler.push(GeneratedToken { id, logprob: f32::NAN, top: Vec::new() }).outputs
    };
    assert_eq!(push(&mut assembler, 0xc3), []);
    let delta = |part, text: &str| Output::Text(Delta { part, text: text.to_owned(), tokens: Vec::new() });
    assert_eq!(push(&mut assembler, tags.closing), [delta(Part::Reasoning, "\u{fffd}")]);
    assert_eq!(push(&mut assembler, 0xe9), []);
    assert_eq!(assembler.finish(), [delta(Part::Content, "\u{fffd}")]);
}

#[test]
fn stop_strings_are_found_across_tokens() {
    check(true, Start::Content, &["END"], &["Hello", "!E", "ND", "wor"], ("", "Hello!", true, 0));
    check(true, Start::Content, &["END"], &["Hello", "!E", "wor"], ("", "Hello!Ewor", false, 0));
    check(true, Start::Content, &["END"], &["Hello", "!E"], ("", "Hello!E", false, 0));
    check(true, Start::Content, &["x", "Hello"], &["Hello"], ("", "", true, 0));
    check(true, Start::Content, &["é"], &["caf", "é", "wor"], ("", "caf", true, 0));
}

#[test]
fn stop_strings_end_the_content_and_not_the_reasoning() {
    check(true, Start::Reasoning, &["wor"], &["wor", "</think>", "Hello", "wor"], ("wor", "Hello", true, 2));
    check(false, Start::Reasoning, &["</think>"], &["a</think>b</think>c"], ("a", "b", true, 9));
    check(true, Start::Content, &["</think>"], &["Hello", "</think>"], ("", "Hello", true, 0));
}

#[test]
fn log_probabilities_go_with_their_text() {
    let tokens = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    let texts = ["<think>", "\n", "Hello", "</think>", "\n", "wor", "ld", "!E", "ND", "never"];
    let (_, outcome) = assemble(true, Start::Open, &["END"], &texts);
    assert_eq!(outcome.reasoning_tokens, tokens(&["Hello"]));
    assert_eq!(outcome.content_tokens, tokens(&["wor", "ld", "!E"]));
    assert_eq!(outcome.content, "world!");
    // A token that begins the stop string belongs to nothing.
    let (_, outcome) = assemble(true, Start::Content, &["END"], &["Hello", "END"]);
    assert_eq!(outcome.content_tokens, tokens(&["Hello"]));
    // Held back and then given: with its token.
    let (deltas, _) = assemble(true, Start::Content, &["END"], &["E", "N", "wor"]);
    assert_eq!(deltas.len(), 1);
    assert_eq!(deltas[0].tokens.len(), 3);
}

#[test]
fn no_log_probabilities_unless_asked_for() {
    let tokenizer = tokenizer(true);
    let reading = Reading { start: Start::Content, tags: None, calls: None, stop: &[], logprobs: false };
    let mut assembler = Assembler::new(tokenizer, &reading, Rng::from_seed(1));
    let pushed = assembler.push(GeneratedToken { id: 65, logprob: f32::NAN, top: Vec::new() });
    assert!(matches!(&pushed.outputs[..], [Output::Text(delta)] if delta.tokens.is_empty()));
}

#[test]
fn calls_are_read_from_tokens_and_from_text() {
    use crate::calls::{CallForm, Markup};
    let body = "\n{\"name\": \"f\", \"arguments\": {\"a\": \"é</tool_call>\"}}\n";
    for marks in [&super::MARKS[..], &[]] {
        let tokenizer = super::tokenizer_with(true, marks);
        let calls = Some(std::sync::Arc::new(Markup::new(CallForm::Hermes, &tokenizer)));
        let reading = Reading { start: Start::Open, tags: None, calls, stop: &[], logprobs: true };
        let mut assembler = Assembler::new(tokenizer.clone(), &reading, Rng::from_seed(1));
        let texts =
            ["Hello", super::MARKS[0], body, super::MARKS[1], "\n", super::MARKS[0], body, super::MARKS[1]];
        let (mut content, mut calls, mut tokens) = (String::new(), Vec::<String>::new(), 0);
        let mut take = |outputs: Vec<Output>| {
            for output in outputs {
                match output {
                    Output::Text(delta) => {
                        content.push_str(&delta.text);
                        tokens += delta.tokens.len();
                    }
                    Output::Call(call) => {
                        calls.extend(call.begins.map(|begins| begins.name + "("));
                        calls.last_mut().expect("a call begins").push_str(&call.arguments);
                    }
                }
            }
        };
        for id in ids(&tokenizer, &texts) {
            take(assembler.push(GeneratedToken { id, logprob: -1.0, top: Vec::new() }).outputs);
        }
        take(assembler.finish());
        assert_eq!((content.as_str(), tokens), ("Hello", 1));
        assert_eq!(calls, ["f({\"a\": \"é</tool_call>\"}"; 2]);
    }
}
