//! DeepSeek's export: `conversations.json` beside `user.json`.
//!
//! A node's message has `fragments`, each with a `type` (REQUEST, THINK, RESPONSE, and SEARCH and others without a text);
//! in older exports it has `role`, `content` and `reasoning_content` instead. Times are as RFC 3339 writes them.

use store::Role;

use super::Draft;
use super::chatgpt::LeftOut;
use super::foreign::{ForeignConversation, ForeignMessage};
use super::tree::{Node, Said, grow};

pub(super) fn draft(conversation: ForeignConversation, bytes_max: u64) -> Result<Draft, String> {
    let mapping = conversation.mapping.ok_or("it has no mapping")?;
    let created_ms = conversation.inserted_at.map_or(0, |time| time.0);
    let mut left_out = LeftOut::default();
    let nodes = mapping.0.into_iter().map(|(id, node)| {
        let said = node.message.and_then(|message| said(message, created_ms, &mut left_out));
        Node { id, parent: node.parent, said }
    });
    let grown = grow(nodes.collect(), None, bytes_max)?;
    left_out.answers += grown.left_out;
    let title = conversation.title.unwrap_or_default();
    Ok(Draft {
        id: conversation.id.unwrap_or_else(|| format!("{created_ms} {title}")),
        title,
        model: None,
        system: None,
        created_ms,
        updated_ms: conversation.updated_at.map_or(created_ms, |time| time.0),
        messages: grown.messages,
        notes: left_out.notes(),
    })
}

fn said(message: ForeignMessage, conversation_ms: i64, left_out: &mut LeftOut) -> Option<Said> {
    left_out.files += message.files.unwrap_or_default().0;
    let (role, content, reasoning) = match message.fragments {
        Some(fragments) => {
            left_out.tools += fragments.others;
            match fragments.request {
                Some(request) => (Role::User, request, String::new()),
                None => (Role::Assistant, fragments.response, fragments.thinking),
            }
        }
        None => {
            let content = message.content.unwrap_or_default();
            left_out.parts += content.parts.others;
            let role = match message.role.as_deref().map(str::to_ascii_lowercase).as_deref() {
                Some("user") => Role::User,
                Some("assistant") => Role::Assistant,
                Some("system") => {
                    left_out.instructions += 1;
                    return None;
                }
                _ => {
                    left_out.others += 1;
                    return None;
                }
            };
            (role, content.parts.text, message.reasoning_content.unwrap_or_default())
        }
    };
    let created_ms = message.inserted_at.map_or(conversation_ms, |time| time.0);
    let said = Said { role, content, reasoning, model: message.model, created_ms };
    Some(said).filter(|said| !said.content.is_empty() || !said.reasoning.is_empty())
}
