//! Rows as the web app sees them.

use serde::Serialize;
use utoipa::ToSchema;

use super::words::{MessageRole, MessageStatus, Role};

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Conversation)]
pub(crate) struct ConversationView {
    id: String,
    title: String,
    model: String,
    system: Option<String>,
    created_ms: i64,
    updated_ms: i64,
}

impl From<store::Conversation> for ConversationView {
    fn from(conversation: store::Conversation) -> Self {
        Self {
            id: conversation.id.to_string(),
            title: conversation.title,
            model: conversation.model,
            system: conversation.system,
            created_ms: conversation.created_ms,
            updated_ms: conversation.updated_ms,
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = User)]
pub(crate) struct UserView {
    id: String,
    name: String,
    email: Option<String>,
    /// Whether somebody who reads its letters has shown it.
    email_verified: bool,
    role: Role,
    created_ms: i64,
}

impl From<store::User> for UserView {
    fn from(user: store::User) -> Self {
        Self {
            id: user.id.to_string(),
            name: user.name,
            email_verified: user.email_verified_ms.is_some(),
            email: user.email,
            role: user.role.into(),
            created_ms: user.created_ms,
        }
    }
}

/// A letter is on its way, if there is anybody to get one.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Mailed {
    mailed: bool,
}

impl Mailed {
    pub(super) const YES: Self = Self { mailed: true };
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Message)]
pub(crate) struct MessageView {
    id: String,
    conversation_id: String,
    parent_id: Option<String>,
    role: MessageRole,
    content: String,
    reasoning: Option<String>,
    reasoning_ms: Option<u64>,
    status: MessageStatus,
    error: Option<String>,
    model: Option<String>,
    created_ms: i64,
    usage: Option<UsageView>,
    timing: Option<TimingView>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MessageUsage)]
#[expect(clippy::struct_field_names, reason = "the names are those of the JSON")]
struct UsageView {
    prompt_tokens: u64,
    completion_tokens: u64,
    reasoning_tokens: u64,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MessageTiming)]
#[expect(clippy::struct_field_names, reason = "the names are those of the JSON")]
struct TimingView {
    queued_ms: u64,
    ttft_ms: Option<u64>,
    total_ms: u64,
}

impl From<store::Message> for MessageView {
    fn from(message: store::Message) -> Self {
        Self {
            id: message.id.to_string(),
            conversation_id: message.conversation_id.to_string(),
            parent_id: message.parent_id.map(|id| id.to_string()),
            role: message.role.into(),
            content: message.content,
            reasoning: message.reasoning,
            reasoning_ms: message.reasoning_ms,
            status: message.status.into(),
            error: message.error,
            model: message.model,
            created_ms: message.created_ms,
            usage: message.usage.map(|usage| UsageView {
                prompt_tokens: usage.prompt_tokens,
                completion_tokens: usage.completion_tokens,
                reasoning_tokens: usage.reasoning_tokens,
            }),
            timing: message.timing.map(|timing| TimingView {
                queued_ms: timing.queued_ms,
                ttft_ms: timing.ttft_ms,
                total_ms: timing.total_ms,
            }),
        }
    }
}
