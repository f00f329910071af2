//! The form in which conversations are taken along, version 1: `conversations.json` of an export.
//!
//! ```json
//! {"format": "cachalot", "version": 1, "exported_ms": 0, "conversations": [{"id": "…", "messages": [{"id": "…"}]}]}
//! ```
//!
//! The first two fields stand before the conversations, so that a reader knows what it reads before it reads it. A
//! message's parent stands before it. Fields may be added; what they mean never changes within a version.

use serde::{Deserialize, Serialize};
use store::{Archive, Message, Timing, Usage};

use super::import::bounded;

/// The word in `format`.
pub(super) const FORMAT: &str = "cachalot";
/// The number in `version`.
pub(super) const VERSION: u64 = 1;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct OwnConversation {
    pub(super) id: String,
    pub(super) title: String,
    pub(super) model: String,
    pub(super) system: Option<String>,
    pub(super) created_ms: i64,
    pub(super) updated_ms: i64,
    #[serde(deserialize_with = "bounded")]
    pub(super) messages: Vec<OwnMessage>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct OwnMessage {
    pub(super) id: String,
    pub(super) parent_id: Option<String>,
    pub(super) role: String,
    pub(super) status: String,
    pub(super) content: String,
    pub(super) reasoning: Option<String>,
    pub(super) reasoning_ms: Option<u64>,
    pub(super) error: Option<String>,
    pub(super) model: Option<String>,
    pub(super) created_ms: i64,
    pub(super) usage: Option<OwnUsage>,
    pub(super) timing: Option<OwnTiming>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[expect(clippy::struct_field_names, reason = "the names are those of the JSON")]
pub(super) struct OwnUsage {
    prompt_tokens: u64,
    completion_tokens: u64,
    reasoning_tokens: u64,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[expect(clippy::struct_field_names, reason = "the names are those of the JSON")]
pub(super) struct OwnTiming {
    queued_ms: u64,
    ttft_ms: Option<u64>,
    total_ms: u64,
}

impl From<Archive> for OwnConversation {
    fn from(archive: Archive) -> Self {
        let conversation = archive.conversation;
        Self {
            id: conversation.id.to_string(),
            title: conversation.title,
            model: conversation.model,
            system: conversation.system,
            created_ms: conversation.created_ms,
            updated_ms: conversation.updated_ms,
            messages: archive.messages.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<Message> for OwnMessage {
    fn from(message: Message) -> Self {
        Self {
            id: message.id.to_string(),
            parent_id: message.parent_id.map(|id| id.to_string()),
            role: message.role.as_str().to_owned(),
            status: message.status.as_str().to_owned(),
            content: message.content,
            reasoning: message.reasoning,
            reasoning_ms: message.reasoning_ms,
            error: message.error,
            model: message.model,
            created_ms: message.created_ms,
            usage: message.usage.map(Into::into),
            timing: message.timing.map(Into::into),
        }
    }
}

impl From<Usage> for OwnUsage {
    fn from(usage: Usage) -> Self {
        Self {
            prompt_tokens: usage.prompt_tokens,
            completion_tokens: usage.completion_tokens,
            reasoning_tokens: usage.reasoning_tokens,
        }
    }
}

impl From<OwnUsage> for Usage {
    fn from(usage: OwnUsage) -> Self {
        Self {
            prompt_tokens: usage.prompt_tokens,
            completion_tokens: usage.completion_tokens,
            reasoning_tokens: usage.reasoning_tokens,
        }
    }
}

impl From<Timing> for OwnTiming {
    fn from(timing: Timing) -> Self {
        Self { queued_ms: timing.queued_ms, ttft_ms: timing.ttft_ms, total_ms: timing.total_ms }
    }
}

impl From<OwnTiming> for Timing {
    fn from(timing: OwnTiming) -> Self {
        Self { queued_ms: timing.queued_ms, ttft_ms: timing.ttft_ms, total_ms: timing.total_ms }
    }
}
