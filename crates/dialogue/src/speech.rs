//! What turns messages into tokens and back.

use std::collections::HashMap;
use std::sync::Arc;

use base::TokenId;
use engine::SamplingParams;
use models::batch::ModelInfo;
use models::template::{ChatTemplate, RenderOptions, TemplateMessage, TemplateToolCall};
use models::tokenizer::{self, Tokenizer};
use serde_json::{Value, json};

use crate::calls::Markup;
use crate::error::DialogueError;
use crate::follow::TagTokens;
use crate::profile::{Profile, Thinking};
use crate::request::{Begun, ChatRequest, Message, Role, Tool, ToolChoice};
use crate::split::{CLOSING, OPENING, Start};
use crate::steer::Planner;

/// What turns messages into tokens and back.
pub(crate) struct Speech {
    pub(crate) name: String,
    pub(crate) sampling: SamplingParams,
    pub(crate) thinking: Thinking,
    pub(crate) tokenizer: Arc<Tokenizer>,
    /// None in models that only go on with a text.
    pub(crate) template: Option<ChatTemplate>,
    pub(crate) tags: Option<TagTokens>,
    /// How calls are written, in models that can be told of tools.
    pub(crate) markup: Option<Arc<Markup>>,
    pub(crate) planner: Arc<Planner>,
    /// Bytes of text of which more can't be few enough tokens for the context.
    text_bytes_max: usize,
}

impl std::fmt::Debug for Speech {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Speech")
            .field("name", &self.name)
            .field("thinking", &self.thinking)
            .finish_non_exhaustive()
    }
}

impl Speech {
    pub(crate) fn new(
        tokenizer: Arc<Tokenizer>,
        template: Option<ChatTemplate>,
        profile: Profile,
        info: &ModelInfo,
    ) -> Self {
        let tags = tokenizer
            .token_id(OPENING)
            .zip(tokenizer.token_id(CLOSING))
            .map(|(opening, closing)| TagTokens { opening, closing });
        let detected = || template.as_ref().map_or(Thinking::None, detect_thinking);
        let thinking = profile.thinking.unwrap_or_else(detected);
        let markup = template.as_ref().map(|template| Arc::new(Markup::of(template, &tokenizer)));
        let planner = Arc::new(Planner::new(Arc::clone(&tokenizer), tags, markup.clone()));
        let longest = (0..tokenizer.vocab_size()).map(|id| tokenizer.token_bytes(id as TokenId).len()).max();
        // Unicode normalisation makes a text shorter by less than this factor.
        let token_bytes_max = longest.unwrap_or(1).max(1).saturating_mul(4);
        let text_bytes_max = info.context_length.saturating_mul(token_bytes_max);
        let (name, sampling) = (profile.name, profile.sampling);
        Self { name, sampling, thinking, tokenizer, template, tags, markup, planner, text_bytes_max }
    }

    pub(crate) fn check_thinking(&self, wanted: Option<bool>) -> Result<(), DialogueError> {
        if wanted == Some(true) && self.thinking == Thinking::None {
            let allowed = format!("off or not set: {} does not think", self.name);
            return Err(DialogueError::invalid("thinking", allowed, "on"));
        }
        Ok(())
    }

    /// Refuses texts that are so long that tokenising them would only tell by how much.
    pub(crate) fn check_bytes(
        &self,
        bytes: usize,
        tokens_max: Option<usize>,
        context: usize,
    ) -> Result<(), DialogueError> {
        if bytes <= self.text_bytes_max {
            return Ok(());
        }
        let prompt_tokens = bytes / (self.text_bytes_max / context.max(1)).max(1);
        Err(DialogueError::TooLong { prompt_tokens, tokens_max, context })
    }

    /// The tokens of a conversation, and where its answer begins.
    pub(crate) fn tokens(
        &self,
        request: &ChatRequest,
        now_unix_ms: i64,
    ) -> Result<(Vec<TokenId>, Start), DialogueError> {
        let Some(template) = &self.template else {
            return Err(DialogueError::NoTemplate { name: self.name.clone() });
        };
        let messages = template_messages(&request.messages)?;
        let said = request.said();
        // What was begun with a thought, or without, goes on so.
        let wanted = said.map_or(request.thinking, |begun| Some(begun.reasoning.is_some()));
        let enable_thinking = wanted.filter(|_| self.thinking == Thinking::Switchable);
        let tools = request.tools.iter().map(template_tool).collect();
        let options = RenderOptions { enable_thinking, now_unix_ms, tools, ..RenderOptions::default() };
        let rendered = template.render(&messages, &options)?;
        let mut parts = rendered.parts();
        let opened = rendered.opens_thinking();
        let thinks = self.thinking != Thinking::None;
        let close = thinks && wanted == Some(false) && (opened || self.thinking == Thinking::Always);
        let start = match opened {
            _ if wanted == Some(false) => Start::Content,
            true => Start::Reasoning,
            false if ends_with_closing(&parts) => Start::Content,
            false if thinks || self.tags.is_some() => Start::Open,
            false => Start::Content,
        };
        // A model without a switch is given thinking that is over already (Ma et al. 2025, "Reasoning Models Can
        // Be Effective Without Thinking").
        let lead = match said {
            Some(Begun { reasoning: Some(_), .. }) if !opened => "<think>\n".to_owned(),
            _ if close => format!("{}\n{CLOSING}\n\n", if opened { "" } else { "<think>\n" }),
            _ => String::new(),
        };
        // Markup must be one with the markup before it.
        let last;
        if !lead.is_empty() {
            let before = match parts.last() {
                Some(&tokenizer::Part::Markup(text)) => {
                    parts.pop();
                    text
                }
                _ => "",
            };
            last = format!("{before}{lead}");
            parts.push(tokenizer::Part::Markup(&last));
        }
        let start = said.map_or(start, |begun| go_on(begun, &mut parts));
        Ok((self.tokenizer.encode_rendered(&parts)?, start))
    }
}

/// Puts what the model has said already at the end of the prompt, and tells where it goes on.
fn go_on<'a>(begun: &'a Begun, parts: &mut Vec<tokenizer::Part<'a>>) -> Start {
    if let Some(reasoning) = &begun.reasoning {
        parts.push(tokenizer::Part::User(reasoning));
        if begun.content.is_empty() {
            return Start::MidReasoning;
        }
        let closing = if reasoning.ends_with('\n') { "</think>\n\n" } else { "\n</think>\n\n" };
        parts.push(tokenizer::Part::Markup(closing));
    }
    parts.push(tokenizer::Part::User(&begun.content));
    Start::Content
}

/// Bytes of what a conversation says.
pub(crate) fn bytes_of(request: &ChatRequest) -> usize {
    let said = request.said().map_or(0, |begun| {
        begun.reasoning.as_ref().map_or(0, String::len).saturating_add(begun.content.len())
    });
    request.messages.iter().fold(said, |sum, message| {
        let calls = message.tool_calls.iter().map(|call| call.arguments.len());
        let reasoning = message.reasoning.as_ref().map_or(0, String::len);
        calls.fold(sum.saturating_add(message.content.len()).saturating_add(reasoning), usize::saturating_add)
    })
}

/// The messages as the template is shown them. It drops the reasoning of earlier turns itself; that of the exchange
/// at hand, in which tools were called, stays.
fn template_messages(messages: &[Message]) -> Result<Vec<TemplateMessage>, DialogueError> {
    let mut names: HashMap<&str, &str> = HashMap::new();
    let mut shown = Vec::with_capacity(messages.len());
    for message in messages {
        let name = match (&message.tool_call_id, message.role) {
            (Some(id), Role::Tool) => match names.get(id.as_str()) {
                Some(&name) => Some(name.to_owned()),
                None => return Err(unknown_call("another id")),
            },
            (None, Role::Tool) => return Err(unknown_call("none")),
            (_, _) => None,
        };
        names.extend(message.tool_calls.iter().map(|call| (call.id.as_str(), call.name.as_str())));
        shown.push(TemplateMessage {
            role: message.role.name().to_owned(),
            content: message.content.clone(),
            reasoning: message.reasoning.clone(),
            tool_calls: message.tool_calls.iter().map(template_call).collect(),
            tool_call_id: message.tool_call_id.clone().filter(|_| name.is_some()),
            name,
        });
    }
    Ok(shown)
}

fn unknown_call(given: &str) -> DialogueError {
    let allowed = "such that each message of a tool has the tool_call_id of a call before it";
    DialogueError::invalid("messages", allowed, given)
}

/// A call as templates take it: with arguments as an object, if that is what the model wrote.
fn template_call(call: &crate::request::ToolCall) -> TemplateToolCall {
    let arguments = match serde_json::from_str(&call.arguments) {
        Ok(object @ Value::Object(_)) => object,
        _ => Value::String(call.arguments.clone()),
    };
    TemplateToolCall { id: call.id.clone(), name: call.name.clone(), arguments }
}

/// A tool as templates take it.
fn template_tool(tool: &Tool) -> Value {
    let mut function = json!({ "name": tool.name });
    if let Some(description) = &tool.description {
        function["description"] = description.as_str().into();
    }
    function["parameters"] = match &tool.parameters {
        Value::Null => json!({ "type": "object", "properties": {} }),
        parameters => parameters.clone(),
    };
    json!({ "type": "function", "function": function })
}

/// Whether calls are looked for in the answer.
pub(crate) fn looks_for_calls(request: &ChatRequest) -> bool {
    !request.tools.is_empty() && request.tool_choice != ToolChoice::None
}

/// What the template says about a model of which nothing else is known.
fn detect_thinking(template: &ChatTemplate) -> Thinking {
    let prompt = template.thinking();
    match (prompt.switchable, prompt.opens) {
        (true, _) => Thinking::Switchable,
        (false, true) => Thinking::Always,
        (false, false) => Thinking::None,
    }
}

/// Whether the template, not a message, ends the prompt with the closing tag, white space aside.
fn ends_with_closing(parts: &[tokenizer::Part<'_>]) -> bool {
    matches!(parts.last(), Some(tokenizer::Part::Markup(text)) if text.trim_end().ends_with(CLOSING))
}
