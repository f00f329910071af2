//! Any template, from a model file that wants harm, on any conversation: an error or a text within limits, and parts
//! that make up the text.

#![no_main]

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use models::template::{
    BUILT_IN_NAMES, ChatTemplate, RenderOptions, SpecialTexts, TemplateMessage, built_in_source,
};
use models::tokenizer::Part;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    /// A built-in template instead of `source`, if there is one with this number.
    built_in: u8,
    source: &'a str,
    messages: Vec<(u8, &'a str, Option<&'a str>)>,
    add_generation_prompt: bool,
    enable_thinking: Option<bool>,
    now_unix_ms: i64,
}

fuzz_target!(|input: Input<'_>| {
    let source = BUILT_IN_NAMES
        .get(usize::from(input.built_in))
        .and_then(|name| built_in_source(name))
        .unwrap_or(input.source);
    let specials =
        SpecialTexts { bos: Some("<s>".to_owned()), eos: Some("</s>".to_owned()), ..SpecialTexts::default() };
    let Ok(template) = ChatTemplate::from_source(source, specials) else { return };
    let messages: Vec<TemplateMessage> = input
        .messages
        .iter()
        .map(|&(role, content, reasoning)| TemplateMessage {
            role: ["user", "assistant", "system"][usize::from(role % 3)].to_owned(),
            content: content.to_owned(),
            reasoning: reasoning.map(str::to_owned),
            ..TemplateMessage::default()
        })
        .collect();
    let options = RenderOptions {
        add_generation_prompt: input.add_generation_prompt,
        enable_thinking: input.enable_thinking,
        now_unix_ms: input.now_unix_ms,
        ..RenderOptions::default()
    };
    let Ok(rendered) = template.render(&messages, &options) else { return };
    let together: String = rendered.parts().iter().map(Part::text).collect();
    assert_eq!(together, rendered.text());
    assert!(rendered.text().len() < 16 << 20);
});
