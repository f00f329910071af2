use axum::Json;
use axum::extract::State;

use super::OfMessage;
use super::views::MessageView;
use crate::accounts::Caller;
use crate::answers::{Found, find};
use crate::app::App;
use crate::body::JsonBytes;
use crate::error::ApiError;

/// Ends an answer; what is written stays. Stopping what has
/// ended is no error.
#[utoipa::path(
    post,
    path = "/api/conversations/{id}/messages/{message}/stop",
    operation_id = "stop",
    tag = "chat",
    params(("id" = String, Path), ("message" = String, Path)),
    responses((status = 200, body = MessageView)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    caller: Caller,
    OfMessage(conversation, message): OfMessage,
    _body: JsonBytes,
) -> Result<Json<MessageView>, ApiError> {
    let found = find(&app, caller.user, conversation, message).await?;
    let message = match found {
        Found::Live(live) => {
            live.stop();
            live.done().await
        }
        Found::Ended(message) => *message,
    };
    Ok(Json(message.into()))
}
