use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use store::ConversationChange;
use utoipa::ToSchema;

use super::views::ConversationView;
use super::{OfConversation, check_model};
use crate::accounts::Caller;
use crate::app::App;
use crate::body::{self, Given};
use crate::error::ApiError;

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ChangeConversationAsked)]
pub(crate) struct Asked {
    title: Option<String>,
    model: Option<String>,
    /// `null` takes the instructions away, as an empty text does.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    system: Given<String>,
}

/// Another title, model or instructions.
#[utoipa::path(
    patch,
    path = "/api/conversations/{id}",
    operation_id = "change_conversation",
    tag = "chat",
    params(("id" = String, Path)),
    request_body = Asked,
    responses((status = 200, body = ConversationView)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    caller: Caller,
    OfConversation(conversation): OfConversation,
    body::Json(asked, _room): body::Json<Asked>,
) -> Result<Json<ConversationView>, ApiError> {
    let settings = &app.settings;
    let title = asked.title.map(|title| title.trim().to_owned());
    if let Some(title) = &title {
        let (allowed, given) = (settings.title_chars_max, title.chars().count());
        if given == 0 || given > allowed {
            let message = format!("title must have 1 to {allowed} characters, this one has {given}");
            return Err(ApiError::invalid("title", message));
        }
    }
    let system = match asked.system {
        Given::Absent => None,
        Given::Null => Some(None),
        Given::Value(system) => Some(Some(system).filter(|system| !system.trim().is_empty())),
    };
    if let Some(Some(system)) = &system
        && system.len() > settings.system_bytes_max
    {
        let (allowed, given) = (settings.system_bytes_max, system.len());
        return Err(ApiError::invalid(
            "system",
            format!("system may have {allowed} bytes, this one has {given}"),
        ));
    }
    if let Some(model) = &asked.model {
        check_model(&app, model).await?;
    }
    let change = ConversationChange { title, model: asked.model, system };
    Ok(Json(app.store.change_conversation(caller.user, conversation, change).await?.into()))
}
