//! The official JSON-Schema-Test-Suite: no instance that a schema forbids can be said under it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use base::TokenId;
use engine::{Allowed, Steering, TokenMask};
use models::tokenizer::Tokenizer;
use serde_json::{Map, Value, json};

use super::tokenizer;
use crate::Format;
use crate::split::Start;
use crate::steer::{Planner, Steer};

/// Folders of the suite, and what says so in a schema.
const DRAFTS: [(&str, &str); 5] = [
    ("draft4", "http://json-schema.org/draft-04/schema#"),
    ("draft6", "http://json-schema.org/draft-06/schema#"),
    ("draft7", "http://json-schema.org/draft-07/schema#"),
    ("draft2019-09", "https://json-schema.org/draft/2019-09/schema"),
    ("draft2020-12", "https://json-schema.org/draft/2020-12/schema"),
];

/// Cases that ask for more than an annotation of what a string holds, which no later draft does.
const ANNOTATIONS: &str = "optional/content.json";

struct Bench {
    tokenizer: Arc<Tokenizer>,
    planner: Arc<Planner>,
}

impl Bench {
    fn new() -> Self {
        let tokenizer = tokenizer(false);
        let planner = Arc::new(Planner::new(Arc::clone(&tokenizer), None, None));
        Self { tokenizer, planner }
    }

    /// Why the schema is refused, or nothing.
    fn refused(&self, schema: &Value) -> Option<String> {
        let format = Format::JsonSchema { schema: schema.clone(), strict: true };
        self.planner.text(&format).err().map(|error| error.to_string())
    }

    /// Whether this whole text can be an answer.
    fn says(&self, schema: &Value, text: &str) -> bool {
        let format = Format::JsonSchema { schema: schema.clone(), strict: true };
        let plan = self.planner.text(&format).expect("a schema that is taken").expect("something to hold to");
        let mut steer = Steer::new(Arc::clone(&self.planner), plan, Start::Content);
        let end = self.tokenizer.token_id("<|im_end|>").unwrap();
        text.bytes().map(TokenId::from).chain([end]).all(|token| {
            let mut mask = TokenMask::new(self.tokenizer.vocab_size());
            let may = match steer.allowed(&mut mask).expect("steering goes on") {
                Allowed::All => true,
                Allowed::Masked => mask.contains(token),
                Allowed::Forced(forced) => forced == token,
            };
            may && steer.took(token).is_ok()
        })
    }
}

/// The ways in which an instance is written: with and without spaces, and with every letter of strings escaped.
fn writings(instance: &Value) -> [String; 3] {
    [instance.to_string(), written(instance, false), written(instance, true)]
}

fn written(value: &Value, escaped: bool) -> String {
    let text = |text: &str| {
        if !escaped {
            return json!(text).to_string();
        }
        let escapes = text.encode_utf16().map(|unit| format!("\\u{unit:04x}"));
        format!("\"{}\"", escapes.collect::<String>())
    };
    match value {
        Value::String(value) => text(value),
        Value::Array(members) => {
            let members: Vec<String> = members.iter().map(|member| written(member, escaped)).collect();
            format!("[{}]", members.join(", "))
        }
        Value::Object(members) => {
            let member =
                |(name, value): (&String, &Value)| format!("{}: {}", text(name), written(value, escaped));
            format!("{{{}}}", members.iter().map(member).collect::<Vec<_>>().join(", "))
        }
        value => value.to_string(),
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("golden/json-schema, with the suite") {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// The schema as the suite means it: of the draft in whose folder it is.
fn of_draft(schema: &Value, draft: &str) -> Value {
    match schema {
        Value::Object(map) if !map.contains_key("$schema") => {
            let mut with = Map::from_iter([("$schema".to_owned(), json!(draft))]);
            with.extend(map.clone());
            Value::Object(with)
        }
        schema => schema.clone(),
    }
}

#[derive(Debug, Default)]
struct Tally {
    taken: usize,
    refused: usize,
    valid: usize,
    valid_said: usize,
    invalid: usize,
}

#[track_caller]
fn check_draft(folder: &str) {
    let bench = Bench::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/json-schema/tests").join(folder);
    let (_, draft) = DRAFTS.into_iter().find(|(name, _)| *name == folder).unwrap();
    let mut wrong = Vec::new();
    let mut tally = Tally::default();
    for file in files(&root) {
        let name = file.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
        let groups: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        for group in groups.as_array().unwrap() {
            let schema = of_draft(&group["schema"], draft);
            if bench.refused(&schema).is_some() {
                tally.refused += 1;
                continue;
            }
            tally.taken += 1;
            for test in group["tests"].as_array().unwrap() {
                let said = writings(&test["data"]).into_iter().find(|text| bench.says(&schema, text));
                if test["valid"] == json!(true) {
                    tally.valid += 1;
                    tally.valid_said += usize::from(said.is_some());
                    continue;
                }
                tally.invalid += 1;
                if let Some(said) = said.filter(|_| name != ANNOTATIONS) {
                    wrong.push(format!("{name}: {said} under {schema}"));
                }
            }
        }
    }
    println!("{folder}: {tally:?}");
    assert!(wrong.is_empty(), "{} that are invalid can be said:\n{}", wrong.len(), wrong.join("\n"));
    // Refusing everything, or allowing nothing, is no way to be right.
    assert!(tally.taken * 5 > (tally.taken + tally.refused) * 2, "{tally:?}");
    assert!(tally.valid_said * 10 > tally.valid * 9, "{tally:?}");
    assert!(tally.invalid > 200, "{tally:?}");
}

#[test]
fn nothing_that_draft_4_calls_invalid_can_be_said() {
    check_draft("draft4");
}

#[test]
fn nothing_that_draft_6_calls_invalid_can_be_said() {
    check_draft("draft6");
}

#[test]
fn nothing_that_draft_7_calls_invalid_can_be_said() {
    check_draft("draft7");
}

#[test]
fn nothing_that_draft_2019_09_calls_invalid_can_be_said() {
    check_draft("draft2019-09");
}

#[test]
fn nothing_that_draft_2020_12_calls_invalid_can_be_said() {
    check_draft("draft2020-12");
}

#[test]
fn what_no_suite_has_can_not_be_said_either() {
    let bench = Bench::new();
    let number = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let ahab = json!({"type": "object", "properties": {"a": {"type": "integer"}}});
    let draft7 = DRAFTS[2].1;
    let cases = [
        // A listed name, escaped.
        (ahab.clone(), r#"{"a":1}"#, r#"{"\u0061":"x"}"#),
        (json!({"patternProperties": {"^a": {"type": "null"}}}), r#"{"ab":null}"#, r#"{"\u0061b":"x"}"#),
        // Names that come twice.
        (json!({"type": "object", "minProperties": 1}), r#"{"a":1}"#, "{}"),
        (json!({"minProperties": 2, "required": ["a"]}), r#"{"a":1,"b":1}"#, r#"{"a":1,"a":1}"#),
        // Pairs of keywords that something stands between.
        (json!({"minimum": 3, "allOf": [{}], "exclusiveMinimum": true, "type": "integer"}), "4", "3"),
        (
            json!({
                "$schema": draft7,
                "type": "array",
                "items": [{"type": "string"}],
                "allOf": [{}],
                "additionalItems": false,
            }),
            r#"["a"]"#,
            r#"["a",1]"#,
        ),
        (
            json!({"prefixItems": [{"type": "string"}], "items": {"type": "integer"}, "additionalItems": false}),
            r#"["a",1]"#,
            "[1,1]",
        ),
        // Another dialect of expressions.
        (json!({"type": "string", "pattern": "^.$"}), "\"a\"", "\"\\r\""),
        (json!({"type": "string", "pattern": r"^\s$"}), "\"\u{a0}\"", "\"\u{85}\""),
        (json!({"type": "string", "pattern": r"^[\s]$"}), "\"\u{feff}\"", "\"\u{85}\""),
        (json!({"type": "string", "pattern": r"^\S$"}), "\"\u{85}\"", "\"\u{feff}\""),
        (json!({"type": "string", "pattern": r"^[^\S]$"}), "\"\\n\"", "\"a\""),
        (json!({"type": "string", "pattern": r"^[\d-]$"}), "\"-\"", "\"\u{661}\""),
        (json!({"type": "string", "pattern": r"^\w$"}), "\"_\"", "\"é\""),
        (json!({"type": "string", "pattern": "^[a&&b]$"}), "\"&\"", "\"c\""),
        (json!({"type": "string", "pattern": "^[[:alpha:]]$"}), "\":]\"", "\"q\""),
        // The calendar, and the clock.
        (json!({"format": "date"}), "\"2024-02-29\"", "\"2023-02-29\""),
        (json!({"format": "date"}), "\"2000-02-29\"", "\"0000-01-01\""),
        (json!({"format": "date-time"}), "\"1999-12-31T23:59:59.5Z\"", "\"1998-02-29T23:58:59Z\""),
        (json!({"format": "date", "pattern": "^2"}), "\"2001-01-31\"", "\"1999-01-31\""),
        (
            json!({"format": "date", "pattern": "^2", "allOf": [{"maxLength": 10}]}),
            "\"2001-01-31\"",
            "\"2001-02-29\"",
        ),
        (json!({"format": "hostname", "maxLength": 3}), "\"a-b\"", "\"a.bc\""),
        (json!({"format": "hostname"}), "\"whale.example\"", "\"xn--X.example\""),
        // Names of keywords that are names of properties.
        (json!({"properties": {"format": {"const": "date"}}}), r#"{"format":"date"}"#, r#"{"format":"x"}"#),
        (json!({"enum": [{"pattern": "(?i)"}]}), r#"{"pattern":"(?i)"}"#, "{}"),
        (number(r#"{"const": 9007199254740992}"#), "9007199254740992", "9007199254740993"),
        (json!({"allOf": [{"multipleOf": 4}, {"multipleOf": 6}]}), "12", "6"),
    ];
    for (schema, valid, invalid) in cases {
        assert_eq!(bench.refused(&schema), None, "{schema}");
        assert!(bench.says(&schema, valid), "{valid} under {schema}");
        assert!(!bench.says(&schema, invalid), "{invalid} under {schema}");
    }
}

#[test]
fn what_can_not_be_held_to_is_refused_with_its_keyword() {
    let bench = Bench::new();
    for (schema, reason) in [
        (json!({"minProperties": 2}), "minProperties"),
        (json!({"required": ["a", "a"], "minProperties": 3}), "minProperties"),
        (json!({"properties": {"a": {"minimum": 9_007_199_254_740_993_u64}}}), "minimum with whole numbers"),
        (json!({"items": {"const": [-9_007_199_254_740_993_i64]}}), "const with whole numbers"),
        (json!({"enum": [{"a": "\u{1}"}]}), "enum with control characters"),
        (json!({"pattern": "(?i)a"}), "pattern with \"(?i\""),
        (json!({"patternProperties": {"\\Aa": {}}}), "patternProperties with \"\\A\""),
        (json!({"patternProperties": {"a": {}, "\\u0061": {}}}), "one pattern twice"),
        // It would be looked at for minutes.
        (json!({"type": "integer", "multipleOf": 1_234_567}), "multipleOf"),
        (json!({"allOf": [{"multipleOf": 127}, {"items": {"multipleOf": 131}}]}), "multipleOf"),
        (json!({"$ref": "#"}), "it allows nothing"),
        (json!({"uniqueItems": true}), "uniqueItems"),
        (json!({"not": {}}), "not"),
    ] {
        let refused = bench.refused(&schema).unwrap_or_else(|| panic!("{schema} is taken"));
        assert!(refused.contains(reason) && refused.contains("response_format"), "{schema}: {refused}");
        // Those who did not ask for exactness get what there is.
        let lenient = Format::JsonSchema { schema: schema.clone(), strict: false };
        let taken = bench.planner.text(&lenient);
        assert!(
            taken.is_ok() || ["multipleOf", "it allows nothing"].contains(&reason),
            "{schema}: {taken:?}"
        );
    }
}

#[test]
fn schemas_within_grammars_are_held_to_as_well() {
    let bench = Bench::new();
    let text = |grammar: &str| bench.planner.text(&Format::Lark(grammar.to_owned()));
    let refused = text("start: \"a\" %json {\"type\": \"integer\", \"multipleOf\": 1234567}").unwrap_err();
    assert!(refused.to_string().contains("multipleOf whose"), "{refused}");
    for grammar in [
        "start: \"a\" %json {\"format\": \"date\"} \"b\"",
        "start: \"%json\" %json{\"type\": \"array\"}",
        "start: \"%json 5 %json\"",
    ] {
        assert!(text(grammar).is_ok(), "{grammar}: {:?}", text(grammar));
    }
}
