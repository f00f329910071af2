//! `POST /api/conversations/{id}/messages/{message}/stop`: ends an answer; what is written stays. Stopping what has
//! ended is no error.

use axum::Json;
use axum::extract::State;

use super::OfMessage;
use super::views::MessageView;
use crate::accounts::Caller;
use crate::answers::{Found, find};
use crate::app::App;
use crate::body::JsonBytes;
use crate::error::ApiError;

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
