//! `POST /api/conversations/{id}/messages/{message}/stop`: ends an answer; what is written stays. Stopping what has
//! ended is no error.

use axum::Json;
use axum::extract::{Path, State};

use super::id;
use super::views::MessageView;
use crate::answers::{Found, find};
use crate::app::App;
use crate::body::JsonBytes;
use crate::error::ApiError;

pub(crate) async fn handle(
    State(app): State<App>,
    Path((conversation, message)): Path<(String, String)>,
    _body: JsonBytes,
) -> Result<Json<MessageView>, ApiError> {
    let found = find(&app, id(&conversation, "conversation")?, id(&message, "message")?).await?;
    let message = match found {
        Found::Live(live) => {
            live.stop();
            live.done().await
        }
        Found::Ended(message) => *message,
    };
    Ok(Json(message.into()))
}
