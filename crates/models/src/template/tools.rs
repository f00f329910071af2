//! What templates do about tools, and tools for templates that do nothing about them.
//!
//! Published templates differ in what they take and what they leave out, and say so nowhere. So a template is tried
//! with a tool, a call and a result, in the forms that are usual, and what it writes tells ([`Manners`]).
//!
//! # Tools in words
//!
//! Where a template does not list the tools, or has calls written in a form that is not one of [`ToolFormat`], the
//! conversation is put into words before it gets there:
//!
//! - a text that lists the tools and says how to call them goes to the end of the system message. All system messages
//!   are gathered in that one, because some templates keep only the last. Where a template knows no system message, the
//!   text goes before what the user says first;
//! - calls are written after what the assistant says, in `<tool_call>` tags;
//! - results become a message of the user, in `<tool_response>` tags.
//!
//! This is the form of Hermes and Qwen. Models that were made from Qwen (the distillations of R1) have those tags as
//! tokens, which they do not have for the form in their own template.
//!
//! Templates drop what was thought from messages that have `</think>` in them. But a call that was thought about makes
//! no sense without the thought, so that of the exchange at hand is put in when the template is done.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::conversation::Conversation;
use super::json::dumps;
use super::{TemplateMessage, TemplateToolCall};

/// What our own words are made of, for [`super::provenance`]: they are markup.
pub(super) const TAGS: [&str; 7] = [
    "<tool_call>",
    "</tool_call>",
    "<tool_response>",
    "</tool_response>",
    "<think>",
    "</think>",
    "\", \"arguments\": ",
];

/// Characters of which one stands where a thought is to be put in; no text has them as a rule.
const THOUGHT_MARKS: std::ops::RangeInclusive<char> = '\u{fdd0}'..='\u{fdef}';

/// How a model calls tools.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ToolFormat {
    /// `<tool_call>\n{"name": …, "arguments": {…}}\n</tool_call>`, one after another: Qwen and Hermes.
    Hermes,
    /// `{"name": …, "parameters": {…}}`, which is the whole answer, so one call at a time: Llama 3.
    Llama3Json,
    /// `<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>NAME\n```json\n{…}\n```<｜tool▁call▁end｜>`, further
    /// calls each on a new line, then `<｜tool▁calls▁end｜>`: DeepSeek R1.
    DeepSeek,
    /// As [`Self::Hermes`], but the template knows nothing of it: the tools and the form are told in the system message.
    #[default]
    Plain,
}

/// What a template does about tools, found by trying it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ToolSupport {
    /// The template lists the tools, and writes calls and results itself.
    pub native: bool,
    /// The form in which the model is told to call them, and in which its earlier calls are shown to it.
    pub format: ToolFormat,
    /// Whether a message can have several calls. Otherwise they are shown as one message each.
    pub parallel: bool,
}

/// What a template wants to be given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Manners {
    pub(super) support: ToolSupport,
    /// Shows calls and results at all.
    pub(super) shows_calls: bool,
    /// Shows several calls in one message.
    pub(super) several: bool,
    /// Takes arguments as JSON text, not as objects.
    pub(super) arguments_as_text: bool,
    /// Calls are shown only where the content is none.
    pub(super) content_none: bool,
    /// Knows messages of the system.
    pub(super) system: bool,
    /// Cuts what was thought from a message, by its closing tag.
    pub(super) cuts_thoughts: bool,
}

impl Manners {
    /// Tries a template; `render` gives none where it fails.
    pub(super) fn of(cuts_thoughts: bool, render: &dyn Fn(&Conversation, Self) -> Option<String>) -> Self {
        let unknown = Self { cuts_thoughts, ..Self::default() };
        // Nothing is put into words or taken apart on the way to the template.
        let raw = Self {
            support: ToolSupport { native: true, parallel: true, ..ToolSupport::default() },
            shows_calls: true,
            several: true,
            ..unknown
        };
        let with_system = Conversation {
            messages: vec![message("system", "probe_system"), message("user", "?")],
            tools: Vec::new(),
        };
        let system = render(&with_system, raw).is_some_and(|text| text.contains("probe_system"));
        let called = probe(1);
        let shown = [(false, false), (true, false), (false, true), (true, true)].into_iter().find_map(
            |(arguments_as_text, content_none)| {
                let manners = Self { arguments_as_text, content_none, system, ..raw };
                let text = render(&called, manners)?;
                let shows = ["probe_call0", "probe_value0", "probe_result0"];
                shows.iter().all(|shown| text.contains(shown)).then_some((manners, text))
            },
        );
        let Some((manners, text)) = shown else {
            let support = ToolSupport { parallel: true, ..ToolSupport::default() };
            return Self { support, system, ..unknown };
        };
        let several = render(&probe(2), manners);
        let parallel = several.is_some_and(|text| {
            ["probe_value0", "probe_value1", "probe_result1"].iter().all(|shown| text.contains(shown))
        });
        let asked = Conversation { messages: vec![message("user", "?")], tools: called.tools };
        let lists = render(&asked, manners)
            .is_some_and(|text| text.contains("probe_description") && text.contains("probe_key"));
        let format = recognised(&text).filter(|_| lists);
        // In words there may be several calls whatever the template thinks of them.
        let support = ToolSupport {
            native: format.is_some(),
            format: format.unwrap_or_default(),
            parallel: parallel || format.is_none(),
        };
        Self { support, several: parallel, ..manners }
    }

    /// What the template is given for a conversation.
    pub(super) fn fit(self, conversation: &Conversation) -> Fitted<'_> {
        let calls = || conversation.messages.iter().any(is_about_calls);
        let unlisted = !self.support.native && !conversation.tools.is_empty();
        if unlisted || (!self.shows_calls && calls()) {
            return self.in_words(conversation);
        }
        let several = || conversation.messages.iter().any(|message| message.tool_calls.len() > 1);
        let conversation = if !self.several && several() {
            let messages = one_call_each(&conversation.messages);
            Cow::Owned(Conversation { messages, tools: conversation.tools.clone() })
        } else {
            Cow::Borrowed(conversation)
        };
        Fitted { conversation, thought_mark: None, thoughts: Vec::new() }
    }

    fn in_words(self, conversation: &Conversation) -> Fitted<'static> {
        let mark = unused_mark(conversation).filter(|_| self.cuts_thoughts);
        let mut thoughts = Vec::new();
        let mut results: Vec<String> = Vec::new();
        let mut messages = Vec::with_capacity(conversation.messages.len() + 1);
        for message in &conversation.messages {
            if message.role == "tool" {
                results.push(format!("<tool_response>\n{}\n</tool_response>", message.content));
                continue;
            }
            if !results.is_empty() {
                messages.push(self::message("user", &std::mem::take(&mut results).join("\n")));
            }
            let mut message = message.clone();
            if !message.tool_calls.is_empty() {
                message.content = calls_in_words(&message.content, &message.tool_calls);
                message.tool_calls.clear();
                if let Some(mark) = mark
                    && let Some(thought) = message.reasoning.take()
                {
                    message.content.insert(0, mark);
                    let thought = thought.trim_matches('\n');
                    thoughts.push(format!("<think>\n{thought}\n</think>\n\n"));
                }
            }
            messages.push(message);
        }
        if !results.is_empty() {
            messages.push(self::message("user", &results.join("\n")));
        }
        if !conversation.tools.is_empty() {
            self.tell(&mut messages, &tools_in_words(&conversation.tools));
        }
        let conversation = Cow::Owned(Conversation { messages, tools: Vec::new() });
        Fitted { conversation, thought_mark: mark, thoughts }
    }

    /// Puts a text to the end of what the system says.
    fn tell(self, messages: &mut Vec<TemplateMessage>, text: &str) {
        if !self.system {
            match messages.iter_mut().find(|message| message.role == "user") {
                Some(first) => first.content = format!("{text}\n\n{}", first.content),
                None => messages.insert(0, message("user", text)),
            }
            return;
        }
        let said: Vec<TemplateMessage> =
            messages.extract_if(.., |message| message.role == "system").collect();
        let mut texts: Vec<&str> = said.iter().map(|message| message.content.as_str()).collect();
        texts.push(text);
        texts.retain(|text| !text.is_empty());
        messages.insert(0, message("system", &texts.join("\n\n")));
    }
}

/// A conversation as a template takes it.
#[derive(Debug)]
pub(super) struct Fitted<'c> {
    pub(super) conversation: Cow<'c, Conversation>,
    /// Stands in messages where a thought is to be put in.
    thought_mark: Option<char>,
    /// What to put in, in order.
    thoughts: Vec<String>,
}

impl Fitted<'_> {
    /// What the template wrote, with the thoughts put in; without them, if the template left out messages or repeated
    /// some.
    pub(super) fn finish(&self, text: String) -> String {
        let Some(mark) = self.thought_mark.filter(|_| !self.thoughts.is_empty()) else { return text };
        let whole = text.matches(mark).count() == self.thoughts.len();
        let mut pieces = text.split(mark);
        let mut finished = pieces.next().unwrap_or_default().to_owned();
        for (number, piece) in pieces.enumerate() {
            finished.push_str(self.thoughts.get(number).filter(|_| whole).map_or("", String::as_str));
            finished.push_str(piece);
        }
        finished
    }
}

fn is_about_calls(message: &TemplateMessage) -> bool {
    message.role == "tool" || !message.tool_calls.is_empty()
}

pub(super) fn message(role: &str, content: &str) -> TemplateMessage {
    TemplateMessage { role: role.to_owned(), content: content.to_owned(), ..TemplateMessage::default() }
}

fn unused_mark(conversation: &Conversation) -> Option<char> {
    let texts = conversation.texts();
    THOUGHT_MARKS.into_iter().find(|&mark| texts.iter().all(|(text, _)| !text.contains(mark)))
}

/// The text that lists tools and says how to call them.
fn tools_in_words(tools: &[Value]) -> String {
    let lines: Vec<String> = tools.iter().map(dumps).collect();
    format!(
        "# Tools\n\n\
         You may call one or more functions to assist with the user query. You are provided with function signatures \
         within <tools></tools> XML tags:\n\
         <tools>\n{}\n</tools>\n\n\
         For each function call, return a JSON object with the function's name and its arguments within \
         <tool_call></tool_call> XML tags:\n\
         <tool_call>\n{{\"name\": <function-name>, \"arguments\": <args-json-object>}}\n</tool_call>\n\n\
         The results come within <tool_response></tool_response> XML tags. If no function is needed, answer as usual.",
        lines.join("\n")
    )
}

/// What was said, and the calls after it.
fn calls_in_words(content: &str, calls: &[TemplateToolCall]) -> String {
    let mut text = content.to_owned();
    for call in calls {
        if !text.is_empty() {
            text.push('\n');
        }
        let name = dumps(&Value::String(call.name.clone()));
        let arguments = arguments_text(&call.arguments);
        text += &format!("<tool_call>\n{{\"name\": {name}, \"arguments\": {arguments}}}\n</tool_call>");
    }
    text
}

/// Arguments as JSON text; a text is taken for JSON already.
pub(super) fn arguments_text(arguments: &Value) -> String {
    match arguments {
        Value::String(text) => text.clone(),
        other => dumps(other),
    }
}

/// Messages with several calls as several messages, each with its result after it.
fn one_call_each(messages: &[TemplateMessage]) -> Vec<TemplateMessage> {
    let mut apart = Vec::with_capacity(messages.len());
    let mut rest = messages;
    while let Some((message, after)) = rest.split_first() {
        rest = after;
        if message.tool_calls.len() < 2 {
            apart.push(message.clone());
            continue;
        }
        let (results, after) =
            after.split_at(after.iter().take_while(|message| message.role == "tool").count());
        rest = after;
        let mut results: Vec<Option<&TemplateMessage>> = results.iter().map(Some).collect();
        for (number, call) in message.tool_calls.iter().enumerate() {
            let mut one = if number == 0 {
                TemplateMessage { tool_calls: Vec::new(), ..message.clone() }
            } else {
                self::message(&message.role, "")
            };
            one.tool_calls.push(call.clone());
            apart.push(one);
            let answers = |result: &&mut Option<&TemplateMessage>| {
                result.is_some_and(|result| result.tool_call_id.as_ref().is_none_or(|id| *id == call.id))
            };
            apart.extend(results.iter_mut().find(answers).and_then(Option::take).cloned());
        }
        apart.extend(results.into_iter().flatten().cloned());
    }
    apart
}

/// A conversation with so many calls at once.
fn probe(calls: usize) -> Conversation {
    let tools = (0..calls).map(|number| {
        let parameters = json!({
            "type": "object",
            "properties": {"probe_key": {"type": "string", "description": "probe_field"}},
            "required": ["probe_key"],
        });
        let name = format!("probe_call{number}");
        let function = json!({"name": name, "description": "probe_description", "parameters": parameters});
        json!({"type": "function", "function": function})
    });
    let tool_calls = (0..calls).map(|number| TemplateToolCall {
        id: format!("probe0id{number}"),
        name: format!("probe_call{number}"),
        arguments: json!({"probe_key": format!("probe_value{number}")}),
    });
    let results = (0..calls).map(|number| TemplateMessage {
        tool_call_id: Some(format!("probe0id{number}")),
        name: Some(format!("probe_call{number}")),
        ..message("tool", &format!("probe_result{number}"))
    });
    let called = TemplateMessage { tool_calls: tool_calls.collect(), ..message("assistant", "") };
    let messages = [message("user", "?"), called].into_iter().chain(results).collect();
    Conversation { messages, tools: tools.collect() }
}

/// The form in which a rendered [`probe`] has its call.
fn recognised(text: &str) -> Option<ToolFormat> {
    let (before, after) = text.split_once("probe_value0")?;
    if before.ends_with(
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>probe_call0\n```json\n{\"probe_key\": \"",
    ) {
        return after.starts_with("\"}\n```<｜tool▁call▁end｜>").then_some(ToolFormat::DeepSeek);
    }
    // The call is the last object that begins before the value and has the name in it.
    let start = before.rmatch_indices('{').map(|(at, _)| at).take(4).find(|&at| {
        let object = serde_json::Deserializer::from_str(&text[at..]).into_iter::<Value>().next();
        matches!(object, Some(Ok(object)) if object["name"] == "probe_call0")
    })?;
    let mut objects = serde_json::Deserializer::from_str(&text[start..]).into_iter::<Value>();
    let object = objects.next()?.ok()?;
    let after = &text[start + objects.byte_offset()..];
    let tagged = text[..start].ends_with("<tool_call>\n") && after.starts_with("\n</tool_call>");
    let arguments = json!({"probe_key": "probe_value0"});
    if tagged && object["arguments"] == arguments {
        Some(ToolFormat::Hermes)
    } else if !text[..start].trim_end().ends_with("tool_call>") && object["parameters"] == arguments {
        Some(ToolFormat::Llama3Json)
    } else {
        None
    }
}
