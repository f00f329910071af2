//! The grammar of calls.

use llguidance::api::{GrammarWithLexer, TopLevelGrammar};
use serde_json::{Value, json};

use super::schema::{Spacing, with_options};
use crate::calls::{
    CallForm, DEEPSEEK_CALL_BEGIN, DEEPSEEK_CALL_END, DEEPSEEK_CALLS_BEGIN, DEEPSEEK_CALLS_END,
    DEEPSEEK_SEPARATOR, HERMES_BEGIN, HERMES_END, LLAMA_BEGIN, Markup,
};
use crate::request::Tool;

/// Most calls in one answer; a small model may find no end.
const CALLS_MAX: usize = 32;

/// The name of the grammar of any object.
const OBJECT: &str = "object";

/// What is allowed of calls.
pub(super) struct Calls<'a> {
    pub(super) markup: &'a Markup,
    /// Those that may be called, at least one.
    pub(super) tools: Vec<&'a Tool>,
    /// Whether there may be several.
    pub(super) parallel: bool,
}

impl Calls<'_> {
    /// One or more calls, and nothing else.
    pub(super) fn required(&self) -> TopLevelGrammar {
        self.grammar("start: calls\n", Vec::new())
    }

    /// What comes behind what begins the calls.
    pub(super) fn behind_text(&self) -> TopLevelGrammar {
        self.grammar("start: rest\n", Vec::new())
    }

    /// Content of this grammar, or calls.
    pub(super) fn or(&self, content: GrammarWithLexer) -> TopLevelGrammar {
        let content = GrammarWithLexer { name: Some("content".to_owned()), ..content };
        self.grammar("start: @content | calls\n", vec![content])
    }

    fn grammar(&self, start: &str, mut others: Vec<GrammarWithLexer>) -> TopLevelGrammar {
        let mut lark = start.to_owned();
        lark += &self.rules();
        let strict = self.tools.iter().enumerate().filter(|(_, tool)| tool.strict);
        others.extend(strict.map(|(index, tool)| arguments(&name(index), &tool.parameters)));
        if self.tools.iter().any(|tool| !tool.strict) {
            others.push(arguments(OBJECT, &json!({ "type": "object" })));
        }
        let main = GrammarWithLexer { lark_grammar: Some(lark), ..GrammarWithLexer::default() };
        TopLevelGrammar { grammars: std::iter::once(main).chain(others).collect(), max_tokens: None }
    }

    /// `calls`, and `rest`, which is `calls` without what begins it.
    fn rules(&self) -> String {
        let mark = |text: &str| match self.markup.token(text) {
            Some(id) => format!("<[{id}]>"),
            None => literal(text),
        };
        let more = |before: &str| {
            if self.parallel { format!("({before} call){{0,{}}}", CALLS_MAX - 1) } else { String::new() }
        };
        let pick = self.pick();
        match self.markup.form {
            CallForm::Hermes => {
                let (begin, end) = (mark(HERMES_BEGIN), mark(HERMES_END));
                let more = more(&format!("{} {begin}", literal("\n")));
                let (head, tail) = (literal("\n{\"name\": \""), literal("}\n"));
                format!("calls: {begin} rest\nrest: call {more}\ncall: {head} pick {tail} {end}\n{pick}")
            }
            CallForm::Llama => {
                let begin = mark(LLAMA_BEGIN);
                let more = more(&format!("{} {begin}", literal("; ")));
                let (head, tail) = (literal(" \""), literal("}"));
                format!("calls: {begin} rest\nrest: call {more}\ncall: {head} pick {tail}\n{pick}")
            }
            CallForm::DeepSeek => {
                let (begin, end) = (mark(DEEPSEEK_CALLS_BEGIN), mark(DEEPSEEK_CALLS_END));
                let more = more(&literal("\n"));
                let (call_begin, call_end) = (mark(DEEPSEEK_CALL_BEGIN), mark(DEEPSEEK_CALL_END));
                let (separator, tail) = (mark(DEEPSEEK_SEPARATOR), literal("\n```"));
                let call = format!("{call_begin} \"function\" {separator} pick {tail} {call_end}");
                format!("calls: {begin} rest\nrest: call {more} {end}\ncall: {call}\n{pick}")
            }
        }
    }

    /// A tool's name, what sets it apart from its arguments, and those.
    fn pick(&self) -> String {
        let between = match self.markup.form {
            CallForm::Hermes => "\", \"arguments\": ",
            CallForm::Llama => "\", \"parameters\": ",
            CallForm::DeepSeek => "\n```json\n",
        };
        let options = self.tools.iter().enumerate().map(|(index, tool)| {
            let grammar = if tool.strict { name(index) } else { OBJECT.to_owned() };
            format!("{} @{grammar}", literal(&format!("{}{between}", tool.name)))
        });
        format!("pick: {}\n", options.collect::<Vec<_>>().join(" | "))
    }
}

fn name(index: usize) -> String {
    format!("arguments_{index}")
}

fn arguments(name: &str, schema: &Value) -> GrammarWithLexer {
    // `schema::check_strict` has refused what can't be held to; what came past it would allow nothing.
    let schema = with_options(schema.clone(), false, Spacing::Python).unwrap_or(Value::Bool(false));
    GrammarWithLexer { name: Some(name.to_owned()), json_schema: Some(schema), ..GrammarWithLexer::default() }
}

/// A text as Lark writes it, which is as JSON does.
pub(super) fn literal(text: &str) -> String {
    Value::from(text).to_string()
}
