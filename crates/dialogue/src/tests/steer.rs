//! What may come next, tried with models that say what a test tells them to where they may.

use std::sync::Arc;

use base::TokenId;
use engine::{Allowed, Steering, TokenMask};
use models::tokenizer::Tokenizer;
use serde_json::{Value, json};

use super::{MARKS, TAGS, ids, tokenizer, tokenizer_with};
use crate::calls::{CallForm, Markup};
use crate::follow::TagTokens;
use crate::split::Start;
use crate::steer::{Planner, Steer};
use crate::{ChatRequest, Format, Message, Tool, ToolChoice};

/// Most tokens of a walk.
const TOKENS_MAX: usize = 400;

struct Bench {
    tokenizer: Arc<Tokenizer>,
    planner: Arc<Planner>,
}

impl Bench {
    fn new(tags: bool, form: CallForm) -> Self {
        Self::with(tokenizer(tags), form)
    }

    fn with(tokenizer: Arc<Tokenizer>, form: CallForm) -> Self {
        let tag_tokens = tokenizer
            .token_id(TAGS[0])
            .zip(tokenizer.token_id(TAGS[1]))
            .map(|(opening, closing)| TagTokens { opening, closing });
        let markup = Some(Arc::new(Markup::new(form, &tokenizer)));
        let planner = Arc::new(Planner::new(Arc::clone(&tokenizer), tag_tokens, markup));
        Self { tokenizer, planner }
    }

    /// What a model says that wants to say `texts` and then to end, and where it may not, says the allowed token
    /// that ends something, or the one with the lowest id.
    fn walk(&self, request: &ChatRequest, start: Start, texts: &[&str]) -> String {
        let plan = self.planner.chat(request, start).expect("a plan").expect("something to hold to");
        let mut steer = Steer::new(Arc::clone(&self.planner), plan, start);
        let mut wanted = ids(&self.tokenizer, texts).into_iter().peekable();
        let mut said = Vec::new();
        let end = self.tokenizer.token_id("<|im_end|>").unwrap();
        for _ in 0..TOKENS_MAX {
            let mut mask = TokenMask::new(self.tokenizer.vocab_size());
            let want = wanted.peek().copied().unwrap_or(end);
            let token = match steer.allowed(&mut mask).expect("steering goes on") {
                Allowed::All => want,
                Allowed::Masked if mask.contains(want) => want,
                Allowed::Masked => {
                    let mut ids = (0..self.tokenizer.vocab_size() as TokenId).filter(|&id| mask.contains(id));
                    let likes = |&id: &TokenId| {
                        self.tokenizer.is_end(id)
                            || matches!(self.tokenizer.token_bytes(id), b"}" | b"\"" | b":")
                    };
                    ids.clone().find(likes).or_else(|| ids.next()).expect("something is allowed")
                }
                Allowed::Forced(token) => token,
            };
            if token == want {
                wanted.next();
            }
            steer.took(token).expect("what is allowed may be taken");
            if self.tokenizer.is_end(token) {
                return self.text(&said);
            }
            said.push(token);
        }
        self.text(&said) + "[…]"
    }

    fn text(&self, ids: &[TokenId]) -> String {
        let bytes = ids.iter().flat_map(|&id| match self.tokenizer.token_bytes(id) {
            [] => self.tokenizer.token_text(id).unwrap_or_default().as_bytes(),
            bytes => bytes,
        });
        String::from_utf8_lossy(&bytes.copied().collect::<Vec<u8>>()).into_owned()
    }
}

fn ask(format: Format) -> ChatRequest {
    ChatRequest { messages: vec![Message::user("?")], format, ..ChatRequest::default() }
}

fn weather(strict: bool) -> Tool {
    let parameters = json!({
        "type": "object",
        "properties": {
            "city": {"type": "string", "enum": ["Rome", "Paris"]},
            "days": {"type": "integer", "minimum": 1, "maximum": 9},
        },
        "required": ["city", "days"],
        "additionalProperties": false,
    });
    Tool { name: "weather".to_owned(), description: None, parameters, strict }
}

fn with_tools(choice: ToolChoice, parallel: bool) -> ChatRequest {
    let other = Tool { name: "time-now".to_owned(), strict: false, ..weather(false) };
    ChatRequest {
        tools: vec![weather(true), other],
        tool_choice: choice,
        parallel_tool_calls: parallel,
        ..ask(Format::Text)
    }
}

#[test]
fn contents_have_their_form() {
    let bench = Bench::new(true, CallForm::Hermes);
    let walk = |format, texts: &[&str]| bench.walk(&ask(format), Start::Content, texts);
    let choice = || Format::Choice(vec!["yes".to_owned(), "no".to_owned()]);
    assert_eq!(walk(choice(), &["no"]), "no");
    assert_eq!(walk(choice(), &["maybe yes"]), "no");
    assert_eq!(walk(Format::Regex("[0-9]{3}-[ab]+".to_owned()), &["123ab"]), "123-ab");
    let text = walk(Format::JsonObject, &["{\"a\": [1, true, \"x\"]}"]);
    assert_eq!(text, "{\"a\": [1, true, \"x\"]}");
    // The model wants to end too early.
    let schema = json!({
        "type": "object",
        "properties": {"n": {"type": "integer", "minimum": 10, "maximum": 12}},
        "required": ["n"],
        "additionalProperties": false,
    });
    let text = walk(Format::JsonSchema { schema, strict: true }, &["{"]);
    let value: Value = serde_json::from_str(&text).expect(&text);
    assert!((10..=12).contains(&value["n"].as_i64().unwrap()), "{text}");
    let lark = "start: \"a\" b\nb: /[xy]/+\n".to_owned();
    assert_eq!(walk(Format::Lark(lark), &["axxy"]), "axxy");
}

#[test]
fn white_space_in_json_has_an_end() {
    let bench = Bench::new(true, CallForm::Hermes);
    let endless = "\n".repeat(300);
    let text = bench.walk(&ask(Format::JsonObject), Start::Content, &["{", &endless]);
    assert!(text.len() < 200 && serde_json::from_str::<Value>(&text).is_ok(), "{text:?}");
}

#[test]
fn the_form_begins_behind_the_reasoning() {
    let request = || ask(Format::Choice(vec!["yes".to_owned(), "no".to_owned()]));
    let bench = Bench::new(true, CallForm::Hermes);
    let said = bench.walk(&request(), Start::Reasoning, &["Hello", TAGS[1], "maybe", "yes"]);
    assert_eq!(said, "Hello</think>\n\nno");
    // The model opens the reasoning, or doesn't.
    assert_eq!(
        bench.walk(&request(), Start::Open, &["<think>", "wor", TAGS[1], "yes"]),
        "<think>wor</think>\n\nyes"
    );
    assert_eq!(bench.walk(&request(), Start::Open, &["yes"]), "yes");
    // It may not end in its thoughts.
    let said = bench.walk(&request(), Start::Reasoning, &["Hello"]);
    assert!(said.starts_with("Hello"), "{said}");
    // Tags that are spelled.
    let bench = Bench::new(false, CallForm::Hermes);
    let said = bench.walk(&request(), Start::Reasoning, &["hm</think>maybe"]);
    assert_eq!(said, "hm</think>\n\nno");
    assert_eq!(bench.walk(&request(), Start::Open, &["<think>hm</think>yes"]), "<think>hm</think>\n\nyes");
    assert_eq!(
        bench.walk(&request(), Start::Open, &["<yes"]),
        "<think>yes[…]".replace("yes[…]", &said_forever())
    );
}

/// What a model says without end in its thoughts when it wants to end.
fn said_forever() -> String {
    let bench = Bench::new(false, CallForm::Hermes);
    let request = ask(Format::Choice(vec!["yes".to_owned()]));
    let said = bench.walk(&request, Start::Open, &["<yes"]);
    said.strip_prefix("<think>").expect("the tag is forced once it has begun").to_owned()
}

#[test]
fn the_reasoning_has_a_budget() {
    let bench = Bench::new(true, CallForm::Hermes);
    let walk = |budget, start, texts: &[&str]| {
        bench.walk(&ChatRequest { reasoning_tokens_max: Some(budget), ..ask(Format::Text) }, start, texts)
    };
    // Behind the end of the sentence.
    let said = walk(20, Start::Reasoning, &["aaaaaaaaaaaaaaaaaaaaaa. bbbbbb", "yes"]);
    assert_eq!(said, "aaaaaaaaaaaaaaaaaaaaaa.\n</think> bbbbbbyes");
    // At the latest a fifth later.
    let said = walk(20, Start::Reasoning, &[&"a".repeat(40)]);
    assert_eq!(said, format!("{}\n</think>{}", "a".repeat(24), "a".repeat(16)));
    assert_eq!(walk(0, Start::Reasoning, &["yes"]), "\n</think>yes");
    // The opening tag counts.
    assert_eq!(walk(0, Start::Open, &["<think>", "yes"]), "<think>\n</think>yes");
    assert_eq!(walk(5, Start::Open, &["yes, without"]), "yes, without");
    // A thought that ends by itself in time is left alone.
    assert_eq!(walk(9, Start::Reasoning, &["a.b.", TAGS[1], "yes"]), "a.b.</think>yes");
    let bench = Bench::new(false, CallForm::Hermes);
    let request = ChatRequest { reasoning_tokens_max: Some(3), ..ask(Format::Choice(vec!["ok".to_owned()])) };
    assert_eq!(bench.walk(&request, Start::Reasoning, &["aaa"]), "aaa\n</think>\n\nok");
}

#[test]
fn nothing_is_steered_where_everything_is_allowed() {
    let bench = Bench::new(true, CallForm::Hermes);
    assert!(bench.planner.chat(&ask(Format::Text), Start::Open).unwrap().is_none());
    let limited = ChatRequest { reasoning_tokens_max: Some(3), ..ask(Format::Text) };
    assert!(bench.planner.chat(&limited, Start::Content).unwrap().is_none());
    assert!(bench.planner.chat(&limited, Start::Open).unwrap().is_some());
}

const CALL: &str =
    "<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Rome\", \"days\": 3}}\n</tool_call>";

#[test]
fn calls_are_required() {
    let bench = Bench::new(true, CallForm::Hermes);
    let required = with_tools(ToolChoice::Required, false);
    assert_eq!(bench.walk(&required, Start::Content, &[CALL, "\n", CALL]), CALL);
    let said = bench.walk(&required, Start::Content, &["Hello!"]);
    assert!(said.starts_with("<tool_call>\n{\"name\": \"") && said.ends_with("}\n</tool_call>"), "{said}");
    let parallel = with_tools(ToolChoice::Required, true);
    assert_eq!(bench.walk(&parallel, Start::Content, &[CALL, "\n", CALL]), format!("{CALL}\n{CALL}"));
    let named = with_tools(ToolChoice::Named("time-now".to_owned()), false);
    let said = bench.walk(&named, Start::Content, &[CALL]);
    assert!(said.starts_with("<tool_call>\n{\"name\": \"time-now\", \"arguments\": {"), "{said}");
    // Behind the thoughts.
    let said = bench.walk(&required, Start::Open, &["<think>", "wor", TAGS[1], CALL]);
    assert_eq!(said, format!("<think>wor</think>\n\n{CALL}"));
}

#[test]
fn calls_are_free() {
    let bench = Bench::new(true, CallForm::Hermes);
    let auto = with_tools(ToolChoice::Auto, true);
    assert_eq!(bench.walk(&auto, Start::Content, &["Hello <tool_c, no"]), "Hello <tool_c, no");
    assert_eq!(bench.walk(&auto, Start::Content, &["Hello", CALL]), format!("Hello{CALL}"));
    // Once they have begun they are what they must be.
    let said = bench.walk(&auto, Start::Content, &["<tool_call>", "what? {\"city\": \"Paris\"}"]);
    assert!(said.starts_with("<tool_call>\n{\"name\": \""), "{said}");
    assert!(said.contains("\n</tool_call>"), "{said}");
    let twice = format!("{CALL}\n{CALL}");
    assert_eq!(bench.walk(&auto, Start::Content, &[&twice]), twice);
    let once = with_tools(ToolChoice::Auto, false);
    assert_eq!(bench.walk(&once, Start::Content, &[&twice]), CALL);
    // Behind thoughts, and where there might have been some.
    for texts in [vec![CALL], vec!["<think>", "wor", TAGS[1], CALL], vec!["Hello <t", CALL]] {
        assert_eq!(bench.walk(&once, Start::Open, &texts), texts.concat());
    }
    // Content of a form, or calls.
    let either = ChatRequest { format: Format::Choice(vec!["no".to_owned()]), ..once };
    assert_eq!(bench.walk(&either, Start::Content, &[CALL]), CALL);
    assert_eq!(bench.walk(&either, Start::Content, &["no"]), "no");
}

#[test]
fn calls_are_forbidden() {
    let bench = Bench::new(true, CallForm::Hermes);
    let none = with_tools(ToolChoice::None, true);
    let said = bench.walk(&none, Start::Content, &["Hello ", CALL]);
    assert!(said.starts_with("Hello <tool_call") && !said.contains("<tool_call>"), "{said}");
    let said = bench.walk(&none, Start::Reasoning, &["<tool_call>", TAGS[1], "wor"]);
    assert_eq!(said, "<tool_call></think>wor");
}

#[test]
fn calls_in_other_forms() {
    let bench = Bench::new(true, CallForm::Llama);
    let call = "{\"name\": \"weather\", \"parameters\": {\"city\": \"Rome\", \"days\": 3}}";
    for choice in [ToolChoice::Auto, ToolChoice::Required] {
        assert_eq!(bench.walk(&with_tools(choice, false), Start::Content, &[call]), call);
    }
    let auto = with_tools(ToolChoice::Auto, false);
    assert_eq!(bench.walk(&auto, Start::Content, &["So: ", call]), format!("So: {call}"));
    assert_eq!(bench.walk(&auto, Start::Content, &["{\"nat", "\": 1}"]), "{\"nat\": 1}");
    let said = bench.walk(&auto, Start::Content, &["{\"name\":1}"]);
    assert!(said.starts_with("{\"name\": \""), "{said}");
    let bench = Bench::new(true, CallForm::DeepSeek);
    let arguments = "{\"city\": \"Rome\", \"days\": 3}";
    let call = format!(
        "<｜tool▁call▁begin｜>function<｜tool▁sep｜>weather\n```json\n{arguments}\n```<｜tool▁call▁end｜>"
    );
    let calls = format!("<｜tool▁calls▁begin｜>{call}\n{call}<｜tool▁calls▁end｜>");
    for choice in [ToolChoice::Auto, ToolChoice::Required] {
        assert_eq!(bench.walk(&with_tools(choice, true), Start::Content, &[&calls]), calls);
    }
}

#[test]
fn calls_whose_markup_is_tokens() {
    let bench = |form| Bench::with(tokenizer_with(true, &MARKS), form);
    let (begin, end) = (MARKS[0], MARKS[1]);
    let body = "\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Rome\", \"days\": 3}}\n";
    let call = [begin, body, end];
    let hermes = bench(CallForm::Hermes);
    for choice in [ToolChoice::Auto, ToolChoice::Required] {
        assert_eq!(hermes.walk(&with_tools(choice.clone(), false), Start::Open, &call), call.concat());
        let twice = [begin, body, end, "\n", begin, body, end];
        assert_eq!(hermes.walk(&with_tools(choice, true), Start::Content, &twice), twice.concat());
    }
    // What spells the token is text.
    let auto = with_tools(ToolChoice::Auto, false);
    let spelled = ["<tool_", "call> is markup"];
    assert_eq!(hermes.walk(&auto, Start::Content, &spelled), spelled.concat());
    let said = hermes.walk(&with_tools(ToolChoice::None, false), Start::Content, &["Hello", begin]);
    assert!(!said.contains(begin), "{said}");
    let call = "{\"name\": \"weather\", \"parameters\": {\"city\": \"Rome\", \"days\": 3}}";
    for texts in [vec![MARKS[2], call], vec![call]] {
        assert_eq!(bench(CallForm::Llama).walk(&auto, Start::Content, &texts), texts.concat());
    }
    let arguments = "weather\n```json\n{\"city\": \"Rome\", \"days\": 3}\n```";
    let calls = [MARKS[3], MARKS[4], "function", MARKS[5], arguments, MARKS[6], MARKS[7]];
    for choice in [ToolChoice::Auto, ToolChoice::Required] {
        let said = bench(CallForm::DeepSeek).walk(&with_tools(choice, true), Start::Content, &calls);
        assert_eq!(said, calls.concat());
    }
}
