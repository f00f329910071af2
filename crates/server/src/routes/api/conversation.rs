use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::OfConversation;
use super::views::{ConversationView, MessageView};
use crate::accounts::Caller;
use crate::app::App;
use crate::error::ApiError;

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ConversationTree)]
pub(crate) struct Tree {
    conversation: ConversationView,
    messages: Vec<MessageView>,
}

/// A conversation with the whole tree of its messages, oldest first.
#[utoipa::path(
    get,
    path = "/api/conversations/{id}",
    operation_id = "conversation",
    tag = "chat",
    params(("id" = String, Path)),
    responses((status = 200, body = Tree)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    caller: Caller,
    OfConversation(conversation): OfConversation,
) -> Result<Json<Tree>, ApiError> {
    let messages = app.store.messages(caller.user, conversation).await?;
    let conversation = app.store.conversation(caller.user, conversation).await?;
    Ok(Json(Tree {
        conversation: conversation.into(),
        messages: messages.into_iter().map(Into::into).collect(),
    }))
}
