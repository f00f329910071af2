//! Forms that strangers send to see what happens: refused, or held to, within a bounded time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::{Allowed, Steering, TokenMask};
use serde_json::{Value, json};

use super::tokenizer;
use crate::split::Start;
use crate::steer::{Planner, Steer};
use crate::{ChatRequest, Format, Message, Tool, ToolChoice};

/// For one form, compiling and some tokens, in a debug build on a busy machine. Without limits, it is hours.
const TIME_MAX: Duration = Duration::from_secs(20);

fn planner() -> Arc<Planner> {
    Arc::new(Planner::new(tokenizer(true), None, None))
}

/// Compiles a form and takes some tokens; what was wrong, if anything was.
fn try_format(format: Format) -> Result<(), String> {
    let planner = planner();
    let request = ChatRequest { messages: vec![Message::user("?")], format, ..ChatRequest::default() };
    #[expect(clippy::disallowed_methods, reason = "how long it takes is what is tested")]
    let began = Instant::now();
    let outcome = (|| {
        let plan =
            planner.chat(&request, Start::Content).map_err(|error| error.to_string())?.expect("a plan");
        let mut steer = Steer::new(Arc::clone(&planner), plan, Start::Content);
        let tokenizer = tokenizer(true);
        let size = tokenizer.vocab_size();
        for _ in 0..30 {
            let mut mask = TokenMask::new(size);
            let token = match steer.allowed(&mut mask)? {
                Allowed::All => 0,
                Allowed::Masked => (0..size as u32).rev().find(|&id| mask.contains(id)).expect("something"),
                Allowed::Forced(token) => token,
            };
            if tokenizer.is_end(token) {
                return Ok(());
            }
            steer.took(token)?;
        }
        Ok(())
    })();
    let took = began.elapsed();
    assert!(took < TIME_MAX, "{took:?}: {:.300}", format!("{:?}", request.format));
    outcome
}

fn schema(schema: Value) -> Result<(), String> {
    try_format(Format::JsonSchema { schema, strict: true })
}

#[test]
fn deep_and_large_schemas() {
    let mut deep = json!({"type": "string"});
    for _ in 0..30 {
        deep = json!({"type": "array", "items": deep});
    }
    schema(deep.clone()).expect("deep, but not too deep");
    let refused = try_deep();
    assert!(refused.contains("64 levels"), "{refused}");
    let properties: serde_json::Map<String, Value> =
        (0..3000).map(|index| (format!("property{index}"), json!({"type": "string"}))).collect();
    let _ = schema(json!({"type": "object", "properties": properties}));
    let options: Vec<Value> = (0..5000).map(|index| json!({"const": format!("option {index}")})).collect();
    let _ = schema(json!({"anyOf": options}));
    let nested = |inner: Value| json!({"anyOf": [inner.clone(), {"type": "array", "items": inner}]});
    let mut doubled = json!({"type": "object", "properties": {"a": {"type": "number"}}});
    for _ in 0..9 {
        doubled = nested(doubled);
    }
    let _ = schema(doubled);
}

/// Making and dropping a value of this depth recurses as deep, so it is done on a thread with a stack for it.
fn try_deep() -> String {
    let work = || {
        let mut deep = json!({"type": "string"});
        for _ in 0..100_000 {
            deep = Value::Object([("items".to_owned(), deep)].into_iter().collect());
        }
        let planner = planner();
        let format = Format::JsonSchema { schema: deep, strict: true };
        let request = ChatRequest { format, ..ChatRequest::default() };
        planner.chat(&request, Start::Content).expect_err("too deep").to_string()
    };
    std::thread::Builder::new().stack_size(1 << 30).spawn(work).unwrap().join().unwrap()
}

#[test]
fn schemas_that_refer_to_themselves() {
    let tree = json!({
        "type": "object",
        "properties": {"left": {"$ref": "#/$defs/tree"}, "right": {"$ref": "#/$defs/tree"}},
        "additionalProperties": false,
    });
    schema(json!({"$defs": {"tree": tree}, "$ref": "#/$defs/tree"})).expect("a tree");
    for hostile in [
        json!({"$ref": "#"}),
        json!({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}),
        json!({"allOf": [{"$ref": "#"}, {"type": "object"}]}),
        json!({"anyOf": [{"$ref": "#"}, {"$ref": "#"}]}),
        json!({"type": "array", "items": {"$ref": "#"}, "minItems": 2}),
        json!({"$ref": "https://example.com/schema.json"}),
        json!({"$ref": "file:///etc/passwd"}),
        json!({"$id": "https://example.com/a", "$ref": "b"}),
        json!({"$ref": "#/nowhere"}),
    ] {
        let _ = schema(hostile);
    }
    let far = schema(json!({"$ref": "https://example.com/schema.json"})).expect_err("nothing is fetched");
    assert!(far.starts_with("response_format must be"), "{far}");
}

#[test]
fn numbers_beyond_all_bounds() {
    for hostile in [
        json!({"type": "array", "minItems": 1_000_000_000_000_u64}),
        json!({"type": "array", "items": {"type": "integer"}, "minItems": 10_000, "maxItems": 1_000_000}),
        json!({"type": "string", "minLength": 1_000_000_000}),
        json!({"type": "string", "minLength": 5000, "maxLength": 100_000_000, "pattern": "^(a|b|ab)*$"}),
        json!({"type": "integer", "minimum": -1e300, "maximum": 1e300}),
        json!({"type": "integer", "multipleOf": 999_999_937}),
        json!({"type": "number", "multipleOf": 1e-300}),
        json!({"type": "object", "minProperties": 1_000_000_000}),
        json!({"allOf": [{"type": "integer", "multipleOf": 7919}, {"multipleOf": 7907}, {"multipleOf": 7901}]}),
    ] {
        let _ = schema(hostile);
    }
}

#[test]
fn regular_expressions_that_explode() {
    let nested = format!("{}a{}", "(".repeat(1000), ")*".repeat(1000));
    let wide =
        format!("({})*", (0..400).map(|index| format!("x{index}[a-z]+")).collect::<Vec<_>>().join("|"));
    for hostile in [
        "(a+)+$",
        "(a|a|a)*b",
        "((a{0,1000}){0,1000}){0,1000}",
        "(x+x+)+y",
        "[ab]*a[ab]{400}",
        "(.*a){30}",
        "(?:(?:(?:(?:a*)*)*)*)*",
        "\\p{L}{1000}",
        "a{2000000000}",
        "(",
        "\\",
        "(?=a)b",
        nested.as_str(),
        wide.as_str(),
    ] {
        let _ = try_format(Format::Regex(hostile.to_owned()));
        let _ = schema(json!({"type": "string", "pattern": hostile}));
    }
    let error = try_format(Format::Regex("(".to_owned())).expect_err("no regular expression");
    assert!(
        error.starts_with("response_format must be a form that can be held to, got one that can't"),
        "{error}"
    );
    assert!(try_format(Format::Regex("a".repeat(10_000))).is_err());
}

#[test]
fn grammars_that_explode() {
    let nested = format!("start: {}\"a\"{}\n", "(".repeat(500), ")".repeat(500));
    let chain: String = (0..2000).map(|index| format!("r{index}: r{} r{}\n", index + 1, index + 1)).collect();
    let chain = format!("start: r0\n{chain}r2000: \"a\"\n");
    for hostile in [
        "start: start",
        "start: start start | \"a\"",
        "start: a\na: b\nb: a\n",
        "start: a a a a a a a a\na: a a | \"\" | \"x\"\n",
        "start: \"a\"{1000000000}",
        "start: @content",
        "start: <[*]>",
        "start: <[0-4294967295]>",
        "start: <|no_such_token|>",
        "start: %json {\"$ref\": \"#\"}",
        "start: /(a{1000}){1000}/",
        "%llguidance {\"no_forcing\": true}\nstart: /.*/",
        nested.as_str(),
        chain.as_str(),
    ] {
        let _ = try_format(Format::Lark(hostile.to_owned()));
    }
    assert!(try_format(Format::Lark("start: @content".to_owned())).is_err());
}

#[test]
fn what_a_schema_says_of_our_options_does_not_count() {
    let sly = json!({"type": "object", "properties": {"a": {"type": "null"}}, "required": ["a"],
        "additionalProperties": false, "x-guidance": {"whitespace_pattern": "x{5}", "no_such_option": 1}});
    schema(sly).expect("passed over");
}

#[test]
fn strict_refuses_what_can_not_be_held_to() {
    let open = json!({"type": "array", "uniqueItems": true, "items": {"type": "integer"}});
    let error = schema(open.clone()).expect_err("not to be held to");
    assert!(error.contains("uniqueItems"), "{error}");
    try_format(Format::JsonSchema { schema: open, strict: false }).expect("passed over");
}

#[test]
fn tools_that_make_no_sense() {
    let tool = |name: &str, parameters: Value, strict| Tool {
        name: name.to_owned(),
        description: None,
        parameters,
        strict,
    };
    let check = |tools: Vec<Tool>, tool_choice, expected: &str| {
        let request =
            ChatRequest { messages: vec![Message::user("?")], tools, tool_choice, ..ChatRequest::default() };
        let error = request.validate().expect_err("refused").to_string();
        assert!(error.contains(expected), "{error}");
    };
    let object = || json!({"type": "object"});
    check(vec![tool("f", object(), false); 129], ToolChoice::Auto, "at most 128 tools, got 129");
    check(vec![tool("f", object(), false); 2], ToolChoice::Auto, "different names, got f twice");
    check(vec![tool("no name", object(), false)], ToolChoice::Auto, "letters, digits, _ and -");
    check(vec![tool("", object(), false)], ToolChoice::Auto, "1 to 64 letters");
    check(vec![tool("f", json!([]), false)], ToolChoice::Auto, "parameters that are a JSON Schema");
    check(vec![tool("f", object(), true)], ToolChoice::Auto, "\"additionalProperties\": false");
    check(Vec::new(), ToolChoice::Required, "tool_choice must be");
    check(vec![tool("f", object(), false)], ToolChoice::Named("g".to_owned()), "tool_choice must be");
}
