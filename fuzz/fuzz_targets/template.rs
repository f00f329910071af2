//! Any template, from a model file that wants harm, on any conversation: an error or a text within limits, and parts
//! that make up the text.

#![no_main]

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use models::template::{
    BUILT_IN_NAMES, ChatTemplate, RenderOptions, SpecialTexts, TemplateMessage, TemplateToolCall,
    built_in_source,
};
use models::tokenizer::Part;
use serde_json::{Value, json};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    /// A built-in template instead of `source`, if there is one with this number.
    built_in: u8,
    source: &'a str,
    messages: Vec<Message<'a>>,
    tools: Vec<(&'a str, &'a str, Tree<'a>)>,
    add_generation_prompt: bool,
    enable_thinking: Option<bool>,
    now_unix_ms: i64,
}

#[derive(Arbitrary, Debug)]
struct Message<'a> {
    role: u8,
    content: &'a str,
    reasoning: Option<&'a str>,
    calls: Vec<(&'a str, &'a str, Tree<'a>)>,
    call_id: Option<&'a str>,
}

/// JSON of any kind.
#[derive(Arbitrary, Debug)]
enum Tree<'a> {
    Null,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(&'a str),
    List(Vec<Tree<'a>>),
    Map(Vec<(&'a str, Tree<'a>)>),
}

impl Tree<'_> {
    fn value(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(truth) => json!(truth),
            Self::Integer(number) => json!(number),
            Self::Float(number) => json!(number),
            Self::Text(text) => json!(text),
            Self::List(items) => items.iter().map(Self::value).collect(),
            Self::Map(entries) => {
                entries.iter().map(|(key, value)| ((*key).to_owned(), value.value())).collect()
            }
        }
    }
}

fn message(given: &Message<'_>) -> TemplateMessage {
    let call = |(id, name, arguments): &(&str, &str, Tree<'_>)| TemplateToolCall {
        id: (*id).to_owned(),
        name: (*name).to_owned(),
        arguments: arguments.value(),
    };
    TemplateMessage {
        role: ["user", "assistant", "system", "tool"][usize::from(given.role % 4)].to_owned(),
        content: given.content.to_owned(),
        reasoning: given.reasoning.map(str::to_owned),
        tool_calls: given.calls.iter().map(call).collect(),
        tool_call_id: given.call_id.map(str::to_owned),
        name: None,
    }
}

fuzz_target!(|input: Input<'_>| {
    let source = BUILT_IN_NAMES
        .get(usize::from(input.built_in))
        .and_then(|name| built_in_source(name))
        .unwrap_or(input.source);
    let specials =
        SpecialTexts { bos: Some("<s>".to_owned()), eos: Some("</s>".to_owned()), ..SpecialTexts::default() };
    let Ok(template) = ChatTemplate::from_source(source, specials) else { return };
    let messages: Vec<TemplateMessage> = input.messages.iter().map(message).collect();
    let tool = |(name, description, parameters): &(&str, &str, Tree<'_>)| {
        let parameters = parameters.value();
        json!({"type": "function", "function": {"name": name, "description": description, "parameters": parameters}})
    };
    let options = RenderOptions {
        add_generation_prompt: input.add_generation_prompt,
        enable_thinking: input.enable_thinking,
        now_unix_ms: input.now_unix_ms,
        tools: input.tools.iter().map(tool).collect(),
    };
    let Ok(rendered) = template.render(&messages, &options) else { return };
    let together: String = rendered.parts().iter().map(Part::text).collect();
    assert_eq!(together, rendered.text());
    assert!(rendered.text().len() < 16 << 20);
});
