//! `GET /api/conversations/{id}`: a conversation with the whole tree of its messages, oldest first.

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::OfConversation;
use super::views::{ConversationView, MessageView};
use crate::app::App;
use crate::error::ApiError;

#[derive(Debug, Serialize)]
pub(crate) struct Tree {
    conversation: ConversationView,
    messages: Vec<MessageView>,
}

pub(crate) async fn handle(
    State(app): State<App>,
    OfConversation(conversation): OfConversation,
) -> Result<Json<Tree>, ApiError> {
    let messages = app.store.messages(conversation).await?;
    let conversation = app.store.conversation(conversation).await?;
    Ok(Json(Tree {
        conversation: conversation.into(),
        messages: messages.into_iter().map(Into::into).collect(),
    }))
}
