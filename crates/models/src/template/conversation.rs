//! What a template is given: messages and tools together.

use serde_json::Value;

use super::error::TemplateError;
use super::json::{self, LEVELS_MAX, Size};
use super::{CONTENT_BYTES_MAX, MESSAGES_MAX, TOOLS_MAX, TemplateMessage, TemplateToolCall};

/// Messages, and the tools that the model may call.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Conversation {
    pub(super) messages: Vec<TemplateMessage>,
    pub(super) tools: Vec<Value>,
}

impl Conversation {
    /// A conversation within its limits, without old reasoning.
    pub(super) fn admit(messages: &[TemplateMessage], tools: &[Value]) -> Result<Self, TemplateError> {
        let allow = |what, allowed, given| {
            if given > allowed {
                return Err(TemplateError::TooLarge { what, allowed, given });
            }
            Ok(())
        };
        let calls: usize = messages.iter().map(|message| message.tool_calls.len()).sum();
        allow("messages and calls of tools", MESSAGES_MAX, messages.len().saturating_add(calls))?;
        allow("tools", TOOLS_MAX, tools.len())?;
        let mut conversation = Self { messages: messages.to_vec(), tools: tools.to_vec() };
        let Some(size) = conversation.size() else {
            let (what, allowed) = ("levels of nesting or more in a tool or its arguments", LEVELS_MAX);
            return Err(TemplateError::TooLarge { what, allowed, given: LEVELS_MAX + 1 });
        };
        allow("bytes", CONTENT_BYTES_MAX, size.bytes)?;
        let last_user = messages.iter().rposition(|message| message.role == "user");
        for message in &mut conversation.messages[..last_user.unwrap_or(0)] {
            message.reasoning = None;
        }
        Ok(conversation)
    }

    /// The size of everything; None if a value nests too deeply.
    pub(super) fn size(&self) -> Option<Size> {
        let mut sum = Size::default();
        let add = |sum: &mut Size, size: Size| {
            sum.bytes = sum.bytes.saturating_add(size.bytes);
            sum.values += size.values;
        };
        for message in &self.messages {
            let fields = [Some(&message.content), message.reasoning.as_ref()];
            let names = [Some(&message.role), message.tool_call_id.as_ref(), message.name.as_ref()];
            let bytes = fields.into_iter().chain(names).flatten().map(String::len).sum();
            add(&mut sum, Size { bytes, values: 0 });
            for call in &message.tool_calls {
                add(&mut sum, Size { bytes: call.id.len() + call.name.len(), values: 4 });
                add(&mut sum, Size::of(&call.arguments)?);
            }
        }
        for tool in &self.tools {
            add(&mut sum, Size::of(tool)?);
        }
        Some(sum)
    }

    /// Every text that came from outside, and whether the assistant said it.
    pub(super) fn texts(&self) -> Vec<(&str, bool)> {
        let mut texts = Vec::new();
        let mut found = Vec::new();
        for message in &self.messages {
            found.push(message.content.as_str());
            let fields = [&message.reasoning, &message.tool_call_id, &message.name];
            found.extend(fields.into_iter().flatten().map(String::as_str));
            for call in &message.tool_calls {
                found.extend([call.id.as_str(), call.name.as_str()]);
                json::collect_texts(&call.arguments, &mut found);
            }
            let assistant = message.role == "assistant";
            texts.extend(found.drain(..).map(|text| (text, assistant)));
        }
        for tool in &self.tools {
            json::collect_texts(tool, &mut found);
        }
        texts.extend(found.drain(..).map(|text| (text, false)));
        texts
    }

    /// The conversation with every text replaced: what people say by `said`, names and what is in JSON by `named`. Both
    /// are told whether the assistant said it.
    pub(super) fn replace(
        &self,
        said: &dyn Fn(&str, bool) -> String,
        named: &mut dyn FnMut(&str, bool) -> String,
    ) -> Self {
        let messages = self.messages.iter().map(|message| {
            let assistant = message.role == "assistant";
            let mut name = |text: &str| named(text, assistant);
            TemplateMessage {
                role: message.role.clone(),
                content: said(&message.content, assistant),
                reasoning: message.reasoning.as_ref().map(|reasoning| said(reasoning, assistant)),
                tool_calls: message.tool_calls.iter().map(|call| replace_call(call, &mut name)).collect(),
                tool_call_id: message.tool_call_id.as_deref().map(&mut name),
                name: message.name.as_deref().map(&mut name),
            }
        });
        let messages = messages.collect();
        let tools =
            self.tools.iter().map(|tool| json::map_texts(tool, &mut |text| named(text, false))).collect();
        Self { messages, tools }
    }
}

fn replace_call(call: &TemplateToolCall, name: &mut dyn FnMut(&str) -> String) -> TemplateToolCall {
    TemplateToolCall {
        id: name(&call.id),
        name: name(&call.name),
        arguments: json::map_texts(&call.arguments, name),
    }
}
