//! Chat templates: messages to the text that a model was trained on.
//!
//! A template comes with the model and is a program, so it runs in a cage: no files, no network, no clock but the one it
//! is given, and limits on its length, its work, its memory and its output. minijinja's fuel pays for every instruction
//! and for every 64 bytes that are made, which bounds both time and memory.
//!
//! Rendering equals the transformers library's, which sets jinja2 up with `trim_blocks`, `lstrip_blocks`, loop controls
//! and a few functions; dates are in UTC.
//!
//! # Reasoning
//!
//! A message of the assistant may carry its reasoning apart from its content. It is given to the template (as
//! `reasoning_content`) only after the last message of the user: old reasoning is dropped from the history, as
//! the models expect. [`Rendered::opens_thinking`] says whether the prompt ends inside the reasoning, because then
//! the answer has no opening tag.
//!
//! # Tools
//!
//! Tools, calls and results are given to the template as the transformers library gives them. Templates that list no
//! tools are given a text that does, and calls and results in words, so that every model can be asked to call tools:
//! see [`ChatTemplate::tools`] and `tools.rs`. All of it is users' text as messages are.

mod built_in;
mod conversation;
mod date;
mod error;
mod guard;
mod json;
mod provenance;
mod python;
mod source;
mod syntax;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tool_tests;
mod tools;
mod walk;

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Value;
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior, context};

pub use self::built_in::{NAMES as BUILT_IN_NAMES, choose as choose_built_in, source as built_in_source};
pub use self::error::TemplateError;
pub use self::tools::{ToolFormat, ToolSupport};

use self::conversation::Conversation;
use self::provenance::Strings;
use self::tools::Manners;
use crate::gguf::Metadata;
use crate::tokenizer::{Part, Tokenizer};

/// Longest template. Published ones have under 20 KiB.
pub const SOURCE_BYTES_MAX: usize = 128 << 10;
/// Most messages in a conversation, and calls of tools in them.
pub const MESSAGES_MAX: usize = 1 << 16;
/// Most tools.
pub const TOOLS_MAX: usize = 1024;
/// Most bytes in the messages and tools of a conversation.
pub const CONTENT_BYTES_MAX: usize = 16 << 20;
/// Longest output, apart from the messages.
const OUTPUT_BYTES_MAX: usize = 8 << 20;
/// Work that every rendering may do: instructions, or units of 64 bytes.
const FUEL: u64 = 400_000;
/// Work for each message on top.
const FUEL_PER_MESSAGE: u64 = 400;
/// How many times a template may copy or look through the content of the messages.
const FUEL_CONTENT_PASSES: u64 = 32;
/// How deep macros, loops and includes may nest.
const RECURSION_MAX: usize = 100;
/// The stack on which templates are parsed. The parser and the compiler go as deep as the longest chain of operators,
/// which is bounded by the length of a template; only what is used is ever backed by memory.
const PARSER_STACK_BYTES: usize = 256 << 20;
/// The tag that begins reasoning.
const THINK: &str = "<think>";
/// The name under which the template is kept in its environment.
const NAME: &str = "chat";

/// A message as templates see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TemplateMessage {
    /// `system`, `user`, `assistant` or `tool`.
    pub role: String,
    /// What was said.
    pub content: String,
    /// What was thought before it was said.
    pub reasoning: Option<String>,
    /// The tools that the assistant called after what it said.
    pub tool_calls: Vec<TemplateToolCall>,
    /// In a message of a tool: the call that it answers.
    pub tool_call_id: Option<String>,
    /// In a message of a tool: the tool's name.
    pub name: Option<String>,
}

/// A call of a tool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TemplateToolCall {
    /// What the result is answered to.
    pub id: String,
    /// The tool.
    pub name: String,
    /// The arguments: an object as a rule, or whatever the model wrote.
    pub arguments: serde_json::Value,
}

/// How a conversation is rendered.
#[derive(Clone, Debug, PartialEq)]
pub struct RenderOptions {
    /// Whether the text ends where the assistant's next message begins.
    pub add_generation_prompt: bool,
    /// Whether the model shall think, for templates that let one choose; None leaves it to the template.
    pub enable_thinking: Option<bool>,
    /// The time, for templates that write the date.
    pub now_unix_ms: i64,
    /// The tools that the model may call, each as `OpenAI`'s API has it:
    /// `{"type": "function", "function": {"name": …, "description": …, "parameters": …}}`.
    pub tools: Vec<serde_json::Value>,
}

impl Default for RenderOptions {
    fn default() -> Self {
        Self { add_generation_prompt: true, enable_thinking: None, now_unix_ms: 0, tools: Vec::new() }
    }
}

/// The literals of special tokens that templates write by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpecialTexts {
    /// `bos_token`
    pub bos: Option<String>,
    /// `eos_token`
    pub eos: Option<String>,
    /// `unk_token`
    pub unknown: Option<String>,
    /// `pad_token`
    pub padding: Option<String>,
}

impl SpecialTexts {
    /// The literals in a vocabulary.
    pub fn of(tokenizer: &Tokenizer) -> Self {
        let text = |id: Option<u32>| id.and_then(|id| tokenizer.token_text(id)).map(str::to_owned);
        Self {
            bos: text(tokenizer.bos()),
            eos: text(tokenizer.eos()),
            unknown: text(tokenizer.unknown()),
            padding: text(tokenizer.padding()),
        }
    }
}

/// What a template does about reasoning, found by trying it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThinkingPrompt {
    /// The prompt ends inside the reasoning unless one chooses otherwise.
    pub opens: bool,
    /// One can choose whether the model thinks.
    pub switchable: bool,
}

/// The chat template of one model.
pub struct ChatTemplate {
    source: String,
    env: Environment<'static>,
    specials: SpecialTexts,
    strings: Strings,
    built_in: Option<&'static str>,
    thinking: ThinkingPrompt,
    manners: Manners,
    /// A template of its own for conversations with tools (`tokenizer.chat_template.tool_use`).
    with_tools: Option<Box<ChatTemplate>>,
}

impl ChatTemplate {
    /// The template in a file (`tokenizer.chat_template`), or the built-in one that fits the model.
    ///
    /// # Errors
    /// When the template is not valid, or there is none and none fits.
    pub fn from_metadata(metadata: &Metadata, tokenizer: &Tokenizer) -> Result<Self, TemplateError> {
        let specials = SpecialTexts::of(tokenizer);
        if let Some(source) = metadata.str("tokenizer.chat_template")?
            && !source.trim().is_empty()
        {
            let mut template = Self::from_source(source, specials.clone())?;
            if let Some(source) = metadata.str("tokenizer.chat_template.tool_use")? {
                template.with_tools = Some(Box::new(Self::from_source(source, specials)?));
            }
            return Ok(template);
        }
        let architecture = metadata.str("general.architecture")?.unwrap_or_default();
        let pre = metadata.str("tokenizer.ggml.pre")?;
        let name = choose_built_in(architecture, pre, tokenizer).ok_or(TemplateError::NoneFits)?;
        Self::built_in(name, specials)
    }

    /// The built-in template with this name.
    ///
    /// # Errors
    /// When there is none.
    pub fn built_in(name: &str, specials: SpecialTexts) -> Result<Self, TemplateError> {
        let found = BUILT_IN_NAMES.iter().find(|&&known| known == name);
        let (Some(&name), Some(source)) = (found, built_in_source(name)) else {
            return Err(TemplateError::UnknownName { given: name.chars().take(40).collect() });
        };
        let mut template = Self::from_source(source, specials)?;
        template.built_in = Some(name);
        Ok(template)
    }

    /// The template with this text.
    ///
    /// # Errors
    /// When it is too long or not valid.
    pub fn from_source(source: &str, specials: SpecialTexts) -> Result<Self, TemplateError> {
        if source.len() > SOURCE_BYTES_MAX {
            return Err(TemplateError::SourceTooLong { allowed: SOURCE_BYTES_MAX, given: source.len() });
        }
        let (env, mut strings) = on_deep_stack(|| compile(source))??;
        for text in [&specials.bos, &specials.eos, &specials.unknown, &specials.padding].into_iter().flatten()
        {
            strings.add_written(text);
        }
        for tag in tools::TAGS {
            strings.add_written(tag);
        }
        let mut template = Self {
            source: source.to_owned(),
            env,
            specials,
            strings,
            built_in: None,
            thinking: ThinkingPrompt::default(),
            manners: Manners::default(),
            with_tools: None,
        };
        template.thinking = template.probe_thinking();
        template.manners = Manners::of(source.contains("</think>"), &|conversation, manners| {
            template.run(conversation, &RenderOptions::default(), manners).ok()
        });
        Ok(template)
    }

    /// The template's text, in the language of Jinja.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The name of the built-in template that this is, if it is one.
    pub fn built_in_name(&self) -> Option<&'static str> {
        self.built_in
    }

    /// What the template does about reasoning.
    pub fn thinking(&self) -> ThinkingPrompt {
        self.thinking
    }

    /// What the template does about tools. Every template takes them: where it does not know them itself, they are told
    /// in the system message.
    pub fn tools(&self) -> ToolSupport {
        self.with_tools.as_ref().map_or(self.manners.support, |template| template.tools())
    }

    /// Renders a conversation.
    ///
    /// # Errors
    /// When the conversation is too large, or the template refuses it, fails, or uses up its limits.
    pub fn render(
        &self,
        messages: &[TemplateMessage],
        options: &RenderOptions,
    ) -> Result<Rendered, TemplateError> {
        if let Some(template) = self.with_tools.as_ref().filter(|_| !options.tools.is_empty()) {
            return template.render(messages, options);
        }
        let conversation = Conversation::admit(messages, &options.tools)?;
        let run = |conversation: &Conversation| self.run(conversation, options, self.manners);
        let text = run(&conversation)?;
        let user = provenance::trace(&text, &conversation, &self.strings, &mut |masked| run(masked).ok());
        let opens_thinking = options.add_generation_prompt
            && text.trim_end().ends_with(THINK)
            && user.last().is_none_or(|last| last.end <= text.trim_end().len() - THINK.len());
        Ok(Rendered { text, user, opens_thinking })
    }

    /// Runs the template once, with fuel for a conversation of this size. The tools are those of the conversation.
    fn run(
        &self,
        conversation: &Conversation,
        options: &RenderOptions,
        manners: Manners,
    ) -> Result<String, TemplateError> {
        let fitted = manners.fit(conversation);
        let Conversation { messages, tools } = &*fitted.conversation;
        // Deeper ones were refused before.
        let size = fitted.conversation.size().unwrap_or_default();
        // Masked messages may be longer in bytes, never in characters, so the limits of both runs are alike.
        let mut env = self.env.clone();
        env.set_fuel(Some(
            FUEL + FUEL_PER_MESSAGE * messages.len() as u64
                + FUEL_CONTENT_PASSES * (size.bytes as u64 / 64 + size.values as u64),
        ));
        let template = env.get_template(NAME).map_err(|error| failure(&error))?;
        let bytes_max = OUTPUT_BYTES_MAX.saturating_add(size.bytes * 2);
        let mut out = Capped { bytes: Vec::new(), bytes_max };
        template
            .render_captured_to(self.context(messages, tools, options, manners), &mut out)
            .map_err(|error| failure(&error))?;
        let text = String::from_utf8(out.bytes)
            .map_err(|error| TemplateError::Failed { detail: error.to_string() })?;
        Ok(fitted.finish(text))
    }

    fn context(
        &self,
        messages: &[TemplateMessage],
        tools: &[serde_json::Value],
        options: &RenderOptions,
        manners: Manners,
    ) -> Value {
        let messages: Vec<Value> = messages.iter().map(|message| message_value(message, manners)).collect();
        let tools =
            if tools.is_empty() { Value::from(()) } else { tools.iter().map(json::to_value).collect() };
        let mut variables = BTreeMap::from([
            ("messages", Value::from(messages)),
            ("tools", tools),
            ("documents", Value::from(())),
            ("add_generation_prompt", Value::from(options.add_generation_prompt)),
            ("strftime_now", python::strftime_now(options.now_unix_ms)),
        ]);
        if let Some(enable) = options.enable_thinking {
            variables.insert("enable_thinking", Value::from(enable));
        }
        for (name, text) in [
            ("bos_token", &self.specials.bos),
            ("eos_token", &self.specials.eos),
            ("unk_token", &self.specials.unknown),
            ("pad_token", &self.specials.padding),
        ] {
            if let Some(text) = text {
                variables.insert(name, Value::from(text.as_str()));
            }
        }
        Value::from(variables)
    }

    /// Finds out what the template does about reasoning, with a small conversation. A template that fails on it does
    /// nothing.
    fn probe_thinking(&self) -> ThinkingPrompt {
        let asked = Conversation { messages: vec![tools::message("user", "?")], tools: Vec::new() };
        let prompt = |enable_thinking| {
            let options = RenderOptions { enable_thinking, ..RenderOptions::default() };
            self.run(&asked, &options, Manners::default()).unwrap_or_default()
        };
        ThinkingPrompt {
            opens: prompt(None).trim_end().ends_with(THINK),
            switchable: prompt(Some(true)) != prompt(Some(false)),
        }
    }
}

/// Runs `work` on a stack that is deep enough for any template.
fn on_deep_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, TemplateError> {
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .name("template".to_owned())
            .stack_size(PARSER_STACK_BYTES)
            .spawn_scoped(scope, work)
            .map_err(|error| TemplateError::Failed { detail: format!("no thread for the parser: {error}") })?
            .join()
            .map_err(|_| TemplateError::Failed { detail: "the parser gave up".to_owned() })
    })
}

/// Compiles a template, with everything that templates expect.
fn compile(source: &str) -> Result<(Environment<'static>, Strings), TemplateError> {
    let syntax = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build()
        .map_err(|error| guard::syntax_error(&error))?;
    let source = source::without_generation_tags(&source::with_plain_newlines(source));
    let guarded = guard::guarded(&source, syntax)?;
    let mut env = Environment::new();
    env.set_recursion_limit(RECURSION_MAX);
    env.set_undefined_behavior(UndefinedBehavior::Lenient);
    env.set_debug(false);
    env.set_auto_escape_callback(|_| AutoEscape::None);
    python::install(&mut env);
    env.add_function(guard::GUARD, walk::guard);
    env.add_function(guard::GUARD_HELD, walk::guard_held);
    env.set_formatter(|out, state, value| {
        walk::walk(state, value, 0)?;
        minijinja::escape_formatter(out, state, value)
    });
    env.add_template_owned(NAME, guarded.source).map_err(|error| guard::syntax_error(&error))?;
    Ok((env, guarded.strings))
}

/// A message as the transformers library is given it: what there is not is not defined.
fn message_value(message: &TemplateMessage, manners: Manners) -> Value {
    let TemplateMessage { role, content, reasoning, tool_calls, tool_call_id, name } = message;
    let none = manners.content_none && content.is_empty() && !tool_calls.is_empty();
    let content = if none { Value::from(()) } else { Value::from(content.as_str()) };
    let mut fields = vec![("role", Value::from(role.as_str())), ("content", content)];
    if let Some(reasoning) = reasoning {
        fields.push(("reasoning_content", Value::from(reasoning.as_str())));
    }
    if !tool_calls.is_empty() {
        let calls: Vec<Value> = tool_calls.iter().map(|call| call_value(call, manners)).collect();
        fields.push(("tool_calls", Value::from(calls)));
    }
    for (key, text) in [("tool_call_id", tool_call_id), ("name", name)] {
        if let Some(text) = text {
            fields.push((key, Value::from(text.as_str())));
        }
    }
    Value::from_pairs(fields)
}

fn call_value(call: &TemplateToolCall, manners: Manners) -> Value {
    let TemplateToolCall { id, name, arguments } = call;
    let arguments = if manners.arguments_as_text {
        Value::from(tools::arguments_text(arguments))
    } else {
        json::to_value(arguments)
    };
    context! { id, type => "function", function => context! { name, arguments } }
}

/// Says what went wrong in a rendering.
fn failure(error: &minijinja::Error) -> TemplateError {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(cause) = source {
        if let Some(raised) = cause.downcast_ref::<python::Raised>() {
            return TemplateError::Refused { message: raised.0.clone() };
        }
        match cause.downcast_ref::<minijinja::Error>().map(minijinja::Error::kind) {
            Some(ErrorKind::OutOfFuel) => return TemplateError::Exhausted { what: "work" },
            Some(ErrorKind::WriteFailure) => return TemplateError::Exhausted { what: "output" },
            _ => source = cause.source(),
        }
    }
    TemplateError::Failed { detail: error.to_string().chars().take(1000).collect() }
}

/// Output with a limit.
struct Capped {
    bytes: Vec<u8>,
    bytes_max: usize,
}

impl io::Write for Capped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.bytes_max {
            return Err(io::Error::other("output limit"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A rendered conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    text: String,
    /// What came from messages, in order.
    user: Vec<Range<usize>>,
    opens_thinking: bool,
}

impl Rendered {
    /// The whole text, exactly as the template gives it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the text ends inside the reasoning, so that the answer begins in it without an opening tag.
    pub fn opens_thinking(&self) -> bool {
        self.opens_thinking
    }

    /// The text in parts that alternate between the template's and the messages'; see [`Tokenizer::encode_rendered`].
    pub fn parts(&self) -> Vec<Part<'_>> {
        let mut parts = Vec::with_capacity(self.user.len() * 2 + 1);
        let mut at = 0;
        for range in &self.user {
            if range.start > at {
                parts.push(Part::Markup(&self.text[at..range.start]));
            }
            parts.push(Part::User(&self.text[range.clone()]));
            at = range.end;
        }
        if at < self.text.len() {
            parts.push(Part::Markup(&self.text[at..]));
        }
        parts
    }
}
