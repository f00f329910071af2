//! Conversations with tools.

use serde_json::{Value as Json, json};

use super::tests::{deepseek_specials, message, plain, render};
use super::*;

const EXPECTED: &str = include_str!("../../../../golden/templates/tools.json");
const PUBLISHED: [(&str, &str); 3] = [
    ("llama-3.2", include_str!("../../../../golden/templates/published/llama-3.2.jinja")),
    ("llama-3.3", include_str!("../../../../golden/templates/published/llama-3.3.jinja")),
    ("hermes-3", include_str!("../../../../golden/templates/published/hermes-3.jinja")),
];

fn template(name: &str, specials: SpecialTexts) -> ChatTemplate {
    match PUBLISHED.iter().find(|(published, _)| *published == name) {
        Some((_, source)) => ChatTemplate::from_source(source, specials).unwrap(),
        None => ChatTemplate::built_in(name, specials).unwrap(),
    }
}

fn text(json: &Json) -> Option<String> {
    json.as_str().map(str::to_owned)
}

fn list(json: &Json) -> &[Json] {
    json.as_array().map_or(&[], Vec::as_slice)
}

fn conversation(json: &Json) -> Vec<TemplateMessage> {
    let call = |call: &Json| TemplateToolCall {
        id: text(&call["id"]).unwrap(),
        name: text(&call["function"]["name"]).unwrap(),
        arguments: call["function"]["arguments"].clone(),
    };
    let message = |message: &Json| TemplateMessage {
        role: text(&message["role"]).unwrap(),
        content: text(&message["content"]).unwrap(),
        reasoning: text(&message["reasoning_content"]),
        tool_calls: list(&message["tool_calls"]).iter().map(call).collect(),
        tool_call_id: text(&message["tool_call_id"]),
        name: text(&message["name"]),
    };
    list(json).iter().map(message).collect()
}

/// One rendering of the golden file, as we make it.
fn case(golden: &Json, case: &Json) -> (Rendered, String) {
    let specials =
        SpecialTexts { bos: text(&case["bos"]), eos: text(&case["eos"]), ..SpecialTexts::default() };
    let name = case["template"].as_str().unwrap();
    let number = case["conversation"].as_u64().unwrap() as usize;
    let talk = &golden["conversations"][number];
    let tools = &golden["toolsets"][talk["tools"].as_u64().unwrap() as usize];
    let options = RenderOptions {
        add_generation_prompt: case["add_generation_prompt"].as_bool().unwrap(),
        enable_thinking: case["enable_thinking"].as_bool(),
        now_unix_ms: golden["now_unix_ms"].as_i64().unwrap(),
        tools: if case["lists"] == true { list(tools).to_vec() } else { Vec::new() },
    };
    let rendered = render(&template(name, specials), &conversation(&talk["messages"]), &options);
    (rendered, format!("{name}, {} conversation {number}, {options:?}", case["kind"]))
}

#[test]
fn conversations_with_tools_render_as_in_the_transformers_library() {
    let golden: Json = serde_json::from_str(EXPECTED).unwrap();
    let cases = list(&golden["renderings"]);
    assert_eq!(cases.len(), CASES);
    for expected in cases {
        let (rendered, what) = case(&golden, expected);
        assert_eq!(rendered.text(), expected["text"].as_str().unwrap(), "{what}");
    }
}

const CASES: usize = 216;

/// The golden conversation in which everything that can be is hostile.
#[test]
fn nothing_in_tools_calls_and_results_becomes_markup() {
    let golden: Json = serde_json::from_str(EXPECTED).unwrap();
    let hostile =
        ["<|im_end|>", "<|eot_id|>", "<｜end▁of▁sentence｜>", "<｜User｜>", "</tools>", "<|im_start|>"];
    let mut checked = 0;
    for expected in list(&golden["renderings"]).iter().filter(|case| case["conversation"] == 6) {
        let (rendered, what) = case(&golden, expected);
        // What the template writes for the same conversation when all that is hostile is plain words.
        let tame = |text: &str| text.replace(['<', '>', '|', '｜', '▁'], "-");
        let mut tamed = golden.clone();
        for key in ["conversations", "toolsets"] {
            tamed[key] = super::json::map_texts(&golden[key], &mut |text| tame(text));
        }
        let (plain, _) = case(&tamed, expected);
        for literal in hostile {
            let in_markup = |rendered: &Rendered| -> usize {
                rendered
                    .parts()
                    .iter()
                    .map(|part| match part {
                        Part::Markup(text) => text.matches(literal).count(),
                        Part::User(_) => 0,
                    })
                    .sum()
            };
            assert_eq!(in_markup(&rendered), plain.text().matches(literal).count(), "{literal} in {what}");
        }
        checked += 1;
    }
    assert!(checked > 20);
}

#[test]
fn templates_tell_what_they_do_about_tools() {
    let support = |name: &str| {
        let support = template(name, deepseek_specials()).tools();
        (support.native, support.format, support.parallel)
    };
    assert_eq!(support("qwen2.5"), (true, ToolFormat::Hermes, true));
    assert_eq!(support("qwen3"), (true, ToolFormat::Hermes, true));
    assert_eq!(support("hermes-3"), (true, ToolFormat::Hermes, true));
    assert_eq!(support("llama-3.2"), (true, ToolFormat::Llama3Json, false));
    assert_eq!(support("llama-3.3"), (true, ToolFormat::Llama3Json, false));
    for name in
        ["chatml", "smollm2", "llama-3", "deepseek-v2", "deepseek-r1-distill", "deepseek-r1-0528-qwen3"]
    {
        assert_eq!(support(name), (false, ToolFormat::Plain, true), "{name}");
    }
}

/// A template that lists tools and has calls in the form that is given for one.
fn listing(call: &str) -> String {
    format!(
        "{{% for tool in tools or [] %}}{{{{ tool | tojson }}}}{{% endfor %}}{{% for message in messages %}}\
         {{{{ message.content or '' }}}}{{% for call in message.tool_calls or [] %}}{call}{{% endfor %}}\
         {{% endfor %}}"
    )
}

#[test]
fn formats_are_known_by_what_the_template_writes() {
    let support = |call: &str| plain(&listing(call)).tools();
    let deep = support(
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>{{ call.type }}<｜tool▁sep｜>{{ call.function.name }}\n```json\n\
         {{ call.function.arguments + '' }}\n```<｜tool▁call▁end｜>",
    );
    assert_eq!(deep, ToolSupport { native: true, format: ToolFormat::DeepSeek, parallel: true });
    // The other order, and without white space.
    let hermes = "<tool_call>\n{\"arguments\":{{ call.function.arguments | tojson(separators=(',', ':')) }},\
                  \"name\":\"{{ call.function.name }}\"}\n</tool_call>";
    assert_eq!(support(hermes).format, ToolFormat::Hermes);
    assert_eq!(support("{{ call.function.arguments.x }}").format, ToolFormat::Plain);
    // Forms that resemble ours are not taken for them.
    for other in [
        "<tool_call>\n<function={{ call.function.name }}>{{ call.function.arguments | tojson }}</function>\n</tool_call>",
        "<tool_call>\n{\"name\": \"{{ call.function.name }}\", \"parameters\": {{ call.function.arguments | tojson }}}\n</tool_call>",
        "{\"name\": \"{{ call.function.name }}\", \"arguments\": {{ call.function.arguments | tojson }}}",
        "<｜tool▁call▁begin｜>{{ call.function.name }}<｜tool▁sep｜>{{ call.function.arguments | tojson }}<｜tool▁call▁end｜>",
    ] {
        assert_eq!(
            support(other),
            ToolSupport { native: false, format: ToolFormat::Plain, parallel: true },
            "{other}"
        );
    }
}

fn called(arguments: Json) -> TemplateMessage {
    let call = TemplateToolCall { id: "a".to_owned(), name: "f".to_owned(), arguments };
    TemplateMessage { tool_calls: vec![call], ..message("assistant", "") }
}

#[test]
fn calls_are_shown_without_tools_too() {
    let messages = [
        message("user", "?"),
        TemplateMessage { reasoning: Some("Hm.".to_owned()), ..called(json!({"k": "<|im_end|>"})) },
        TemplateMessage { tool_call_id: Some("a".to_owned()), ..message("tool", "r") },
    ];
    let rendered = |name: &str| {
        let template = ChatTemplate::built_in(name, deepseek_specials()).unwrap();
        render(&template, &messages, &RenderOptions::default()).text().to_owned()
    };
    let call = "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"k\": \"<|im_end|>\"}}\n</tool_call>";
    let smollm2 = rendered("smollm2");
    assert!(
        smollm2.contains(&format!("assistant\n{call}<|im_end|>\n<|im_start|>user\n<tool_response>\nr\n")),
        "{smollm2}"
    );
    assert!(!smollm2.contains("# Tools"), "{smollm2}");
    // Templates that have calls of their own keep them where no tools are to be listed.
    assert!(rendered("deepseek-r1-distill").contains("f\n```json\n{\"k\": \"<|im_end|>\"}\n```"));
}

#[test]
fn thoughts_before_calls_are_kept_as_they_were_generated() {
    let template = ChatTemplate::built_in("deepseek-r1-distill", deepseek_specials()).unwrap();
    let options = RenderOptions { tools: vec![json!({"type": "function"})], ..RenderOptions::default() };
    let asked = [message("user", "?")];
    let prompt = render(&template, &asked, &options).text().to_owned();
    let thought = TemplateMessage { reasoning: Some("Hm <|x|>".to_owned()), ..called(json!({})) };
    let answered = [asked[0].clone(), thought, message("tool", "r")];
    let rendered = render(&template, &answered, &options);
    let generated = "Hm <|x|>\n</think>\n\n<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n</tool_call>";
    assert!(rendered.text().starts_with(&format!("{prompt}{generated}")), "{}", rendered.text());
    // The thought is the model's text, the tags are markup.
    let users: Vec<&str> = rendered
        .parts()
        .into_iter()
        .filter_map(|part| match part {
            Part::User(text) => Some(text),
            Part::Markup(_) => None,
        })
        .collect();
    assert_eq!(users, ["?", "Hm <|x|>", "f", "r"]);
    // A thought of an exchange that is over is dropped.
    let over = [&answered[..], &[message("user", "!")]].concat();
    assert!(!render(&template, &over, &options).text().contains("Hm"));
}

#[test]
fn a_file_may_have_a_template_of_its_own_for_tools() {
    use crate::gguf::testing::GgufWriter;
    let writer = GgufWriter::new()
        .key("tokenizer.chat_template", "plain {{ messages[0].content }}")
        .key("tokenizer.chat_template.tool_use", listing("{{ call.function.name }}").as_str());
    let gguf = crate::gguf::Gguf::from_bytes(writer.finish()).unwrap();
    let facts = crate::tokenizer::TokenizerFacts {
        model: "llama".to_owned(),
        tokens: vec!["<unk>".to_owned()],
        scores: vec![0.0],
        ..Default::default()
    };
    let tokenizer = Tokenizer::new(&facts).unwrap();
    let template = ChatTemplate::from_metadata(gguf.metadata(), &tokenizer).unwrap();
    let asked = [message("user", "?")];
    assert_eq!(render(&template, &asked, &RenderOptions::default()).text(), "plain ?");
    let options = RenderOptions { tools: vec![json!({"type": "function"})], ..RenderOptions::default() };
    assert!(
        render(&template, &asked, &options).text().contains("<tools>\n{\"type\": \"function\"}\n</tools>")
    );
}

#[test]
fn tools_are_told_to_the_user_where_there_is_no_system_message() {
    let template = plain(
        "{% for m in messages %}{{ raise_exception('no') if m.role == 'system' }}[{{ m.role }}]{{ m.content }}{% endfor %}",
    );
    let options = RenderOptions { tools: vec![json!({"type": "function"})], ..RenderOptions::default() };
    let rendered = render(&template, &[message("user", "Hi")], &options);
    assert!(rendered.text().starts_with("[user]# Tools\n"), "{}", rendered.text());
    assert!(rendered.text().ends_with("\n\nHi"), "{}", rendered.text());
}

#[test]
fn names_that_a_template_compares_stay_apart() {
    let source = listing("")
        + "{% for t in tools or [] %}{% for name, spec in t.function.parameters.properties|items %}\
                  ({{ name }}{{ '!' if name in t.function.parameters.required }}{{ spec.type == 'string' }})\
                  {% endfor %}{% endfor %}";
    let parameters = json!({"properties": {"a<b>": {"type": "string"}, "c<b>": {}}, "required": ["c<b>"]});
    let tool = json!({"function": {"name": "f", "parameters": parameters}});
    let conversation = Conversation { messages: vec![message("user", "?")], tools: vec![tool] };
    let template = plain(&source);
    let run = |conversation: &Conversation| {
        let manners =
            Manners { support: ToolSupport { native: true, ..template.tools() }, ..template.manners };
        template.run(conversation, &RenderOptions::default(), manners).ok()
    };
    let text = run(&conversation).unwrap();
    let ranges = provenance::trace(&text, &conversation, &template.strings, &mut |masked| run(masked));
    let users: Vec<&str> = ranges.iter().map(|range| &text[range.clone()]).collect();
    assert_eq!(users[users.len() - 2..], ["a<b>", "c<b>"], "{text}");
    assert!(text.contains("(a<b>True)(c<b>!False)"), "{text}");
}

#[test]
fn tools_are_limited_and_errors_say_how() {
    let template = plain("x");
    let refused = |tools: Vec<Json>, messages: &[TemplateMessage]| {
        let options = RenderOptions { tools, ..RenderOptions::default() };
        template.render(messages, &options).unwrap_err().to_string()
    };
    let error = refused(vec![json!({}); TOOLS_MAX + 1], &[]);
    assert!(error.contains("1025 tools; allowed are 1024"), "{error}");
    let deep = (0..200).fold(json!(1), |inner, _| json!([inner]));
    let error = refused(vec![deep.clone()], &[]);
    assert!(error.contains("levels"), "{error}");
    let error = refused(Vec::new(), &[called(deep)]);
    assert!(error.contains("levels"), "{error}");
    let error = refused(vec![json!({"x": "y".repeat(CONTENT_BYTES_MAX)})], &[]);
    assert!(error.contains("bytes"), "{error}");
    let calls = vec![TemplateToolCall::default(); MESSAGES_MAX];
    let error = refused(Vec::new(), &[TemplateMessage { tool_calls: calls, ..message("assistant", "") }]);
    assert!(error.contains("65537 messages and calls"), "{error}");
}

#[test]
fn many_large_tools_are_within_the_limits_of_every_template() {
    let properties: serde_json::Map<String, Json> = (0..40)
        .map(|number| {
            (format!("p{number}"), json!({"type": "string", "description": "x".repeat(60), "enum": [1, 2]}))
        })
        .collect();
    let tool = |number: usize| {
        let parameters = json!({"type": "object", "properties": properties, "required": ["p1"]});
        json!({"type": "function", "function": {"name": format!("f{number}"), "description": "d", "parameters": parameters}})
    };
    let options = RenderOptions { tools: (0..128).map(tool).collect(), ..RenderOptions::default() };
    let mut messages = vec![message("user", "?")];
    for _ in 0..500 {
        messages.extend([called(json!({"p1": "v", "n": [1, {"a": null}]})), message("tool", "r")]);
    }
    let names = BUILT_IN_NAMES.into_iter().chain(PUBLISHED.iter().map(|(name, _)| *name));
    for name in names {
        let rendered = render(&template(name, deepseek_specials()), &messages, &options);
        assert!(rendered.text().len() > 500_000, "{name}");
    }
}
