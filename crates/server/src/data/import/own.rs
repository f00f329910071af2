//! Conversations of our own form, which come back as they were.

use std::collections::HashMap;

use store::{Role, Status};

use super::{Draft, DraftMessage};
use crate::data::format::{OwnConversation, OwnMessage};
use crate::error::shortened;

/// As it was, except for answers that were being written when it was exported, which are interrupted.
pub(super) fn draft(conversation: OwnConversation) -> Result<Draft, String> {
    let mut places = HashMap::with_capacity(conversation.messages.len());
    let mut messages: Vec<DraftMessage> = Vec::with_capacity(conversation.messages.len());
    for message in conversation.messages {
        let (id, message) = (message.id.clone(), draft_message(message, &places)?);
        let above = message.parent.map(|parent| messages[parent].role);
        match (above, message.role) {
            (None | Some(Role::Assistant), Role::User) | (Some(Role::User), Role::Assistant) => {}
            _ => return Err(format!("at {:?} questions and answers don't take turns", shortened(&id))),
        }
        messages.push(message);
        if let Some(twice) = places.insert(id.clone(), messages.len() - 1) {
            return Err(format!("messages {twice} and {} have the same id", messages.len() - 1));
        }
    }
    Ok(Draft {
        id: conversation.id,
        title: conversation.title,
        model: Some(conversation.model),
        system: conversation.system,
        created_ms: conversation.created_ms,
        updated_ms: conversation.updated_ms,
        messages,
        notes: Vec::new(),
    })
}

fn draft_message(message: OwnMessage, places: &HashMap<String, usize>) -> Result<DraftMessage, String> {
    let unknown = |what: &str, word: &str| format!("there is no {what} {:?}", shortened(word));
    let parent = match &message.parent_id {
        None => None,
        Some(parent) => {
            let place = places.get(parent).copied();
            Some(place.ok_or_else(|| format!("no message {:?} stands before its child", shortened(parent)))?)
        }
    };
    let status = Status::from_word(&message.status).ok_or_else(|| unknown("status", &message.status))?;
    Ok(DraftMessage {
        parent,
        role: Role::from_word(&message.role).ok_or_else(|| unknown("role", &message.role))?,
        status: if status == Status::Generating { Status::Interrupted } else { status },
        content: message.content,
        reasoning: message.reasoning,
        reasoning_ms: message.reasoning_ms,
        error: message.error,
        model: message.model,
        created_ms: message.created_ms,
        usage: message.usage.map(Into::into),
        timing: message.timing.map(Into::into),
    })
}
