use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use store::NewConversation;
use utoipa::ToSchema;

use super::check_model;
use super::views::ConversationView;
use crate::accounts::Caller;
use crate::answers::default_model;
use crate::app::App;
use crate::body;
use crate::error::ApiError;

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = AddConversationAsked)]
pub(crate) struct Asked {
    model: Option<String>,
}

/// A new conversation.
#[utoipa::path(
    post,
    path = "/api/conversations",
    operation_id = "add_conversation",
    tag = "chat",
    request_body = Asked,
    responses((status = 201, body = ConversationView)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    caller: Caller,
    body::Json(asked, _room): body::Json<Asked>,
) -> Result<(StatusCode, Json<ConversationView>), ApiError> {
    let model = match asked.model {
        Some(model) => {
            check_model(&app, &model).await?;
            model
        }
        None => {
            let grant = app.store.grant(caller.user).await?;
            let hub = app.hub.clone();
            let listed = app.blocking(move || hub.list()).await?;
            default_model(&app, &listed, &grant)
        }
    };
    let max = app.settings.conversations_max;
    let made = app.store.add_conversation(caller.user, NewConversation { model }, max).await?;
    Ok((StatusCode::CREATED, Json(made.into())))
}
