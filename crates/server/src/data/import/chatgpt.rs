//! ChatGPT's export, as it was in 2026: `conversations.json`, or several with numbers.
//!
//! A node's message has `author.role` (system, user, assistant, tool), `recipient` (`all`, or the tool that an assistant
//! calls) and `content` with a `content_type`: `text` and `multimodal_text` have `parts`, texts among them; `thoughts` is
//! reasoning, and `reasoning_recap` says how long that took. Times are seconds with a fraction.

use store::Role;

use super::Draft;
use super::foreign::{Content, ForeignConversation, ForeignMessage};
use super::tree::{Node, Said, grow};

/// What is left out of a conversation, counted.
#[derive(Debug, Default)]
pub(super) struct LeftOut {
    pub(super) instructions: usize,
    pub(super) tools: usize,
    pub(super) parts: usize,
    pub(super) files: usize,
    pub(super) answers: usize,
    pub(super) others: usize,
}

impl LeftOut {
    /// For the user.
    pub(super) fn notes(&self) -> Vec<String> {
        [
            (self.instructions, "messages that are instructions were left out"),
            (self.tools, "calls and results of tools were left out"),
            (self.parts, "parts that are no text, such as pictures, were left out"),
            (self.files, "attached files were left out"),
            (self.answers, "answers without a question were left out"),
            (self.others, "messages of a kind that is not known were left out"),
        ]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect()
    }
}

pub(super) fn draft(conversation: ForeignConversation, bytes_max: u64) -> Result<Draft, String> {
    let mapping = conversation.mapping.ok_or("it has no mapping")?;
    let created_ms = conversation.create_time.map_or(0, |time| time.0);
    let mut left_out = LeftOut::default();
    let nodes = mapping.0.into_iter().map(|(id, node)| {
        let said = node.message.and_then(|message| said(message, created_ms, &mut left_out));
        Node { id, parent: node.parent, said }
    });
    let grown = grow(nodes.collect(), conversation.current_node.as_deref(), bytes_max)?;
    left_out.answers += grown.left_out;
    let title = conversation.title.unwrap_or_default();
    Ok(Draft {
        // Old exports have no id.
        id: conversation
            .conversation_id
            .or(conversation.id)
            .unwrap_or_else(|| format!("{created_ms} {title}")),
        title,
        model: None,
        system: None,
        created_ms,
        updated_ms: conversation.update_time.map_or(created_ms, |time| time.0),
        messages: grown.messages,
        notes: left_out.notes(),
    })
}

fn said(message: ForeignMessage, conversation_ms: i64, left_out: &mut LeftOut) -> Option<Said> {
    let metadata = message.metadata.unwrap_or_default();
    if metadata.is_visually_hidden_from_conversation == Some(true) {
        return None;
    }
    let content = message.content.unwrap_or_default();
    let role = match message.author.and_then(|author| author.role).as_deref() {
        Some("user") => Role::User,
        Some("assistant") if message.recipient.as_deref().is_none_or(|recipient| recipient == "all") => {
            Role::Assistant
        }
        Some("assistant" | "tool") => {
            left_out.tools += 1;
            return None;
        }
        Some("system") => {
            left_out.instructions += usize::from(!content.parts.text.is_empty());
            return None;
        }
        _ => {
            left_out.others += 1;
            return None;
        }
    };
    let (content, reasoning) = texts(content, left_out)?;
    Some(Said {
        role,
        content,
        reasoning,
        model: metadata.model_slug,
        created_ms: message.create_time.map_or(conversation_ms, |time| time.0),
    })
}

/// The content and the reasoning of a message, if it has any.
fn texts(content: Content, left_out: &mut LeftOut) -> Option<(String, String)> {
    match content.kind.as_str() {
        "text" | "multimodal_text" => {
            left_out.parts += content.parts.others;
            Some((content.parts.text, String::new())).filter(|(text, _)| !text.is_empty())
        }
        "thoughts" => Some((String::new(), content.thoughts.0)).filter(|(_, thoughts)| !thoughts.is_empty()),
        // What ChatGPT knows of its user, and for how long it thought.
        "user_editable_context" | "model_editable_context" | "reasoning_recap" => None,
        "code" | "execution_output" | "tether_quote" | "tether_browsing_display" | "sonic_webpage" => {
            left_out.tools += 1;
            None
        }
        _ => {
            left_out.others += 1;
            None
        }
    }
}
