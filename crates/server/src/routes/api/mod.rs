//! The web app's API: models and conversations.

pub(super) mod add_conversation;
pub(super) mod add_message;
pub(super) mod change_conversation;
pub(super) mod conversation;
pub(super) mod conversations;
pub(super) mod delete_conversation;
pub(super) mod models;
pub(super) mod regenerate;
pub(super) mod stop;
pub(super) mod stream;
mod views;

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use store::{ConversationId, MessageId};

use crate::app::App;
use crate::error::ApiError;

/// The conversation that a path names. Text that is no id names nothing.
pub(crate) struct OfConversation(ConversationId);

/// The message that a path names, and the conversation that the path says it belongs to.
pub(crate) struct OfMessage(ConversationId, MessageId);

impl FromRequestParts<App> for OfConversation {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let named = Path::<String>::from_request_parts(parts, app).await.ok();
        let id = named.and_then(|Path(id)| id.parse().ok());
        id.map(Self).ok_or_else(|| ApiError::not_found("there is no such conversation"))
    }
}

impl FromRequestParts<App> for OfMessage {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let named = Path::<(String, String)>::from_request_parts(parts, app).await.ok();
        let ids =
            named.and_then(|Path((conversation, id))| Some((conversation.parse().ok()?, id.parse().ok()?)));
        ids.map(|(conversation, id)| Self(conversation, id))
            .ok_or_else(|| ApiError::not_found("there is no such message"))
    }
}

/// Checks that a model can be asked, before anything is stored for it.
async fn check_model(app: &App, name: &str) -> Result<(), ApiError> {
    let hub = app.hub.clone();
    let listed = app.blocking(move || hub.list()).await?;
    match listed.iter().find(|listing| listing.model.name == name) {
        Some(listing) if listing.loaded || listing.model.installed => Ok(()),
        Some(_) => {
            let name = name.to_owned();
            Err(dialogue::HubError::NotInstalled { name }.into())
        }
        None => {
            let installed = listed.into_iter().filter(|listing| listing.model.installed);
            let installed = installed.map(|listing| listing.model.name).collect();
            Err(dialogue::HubError::NotFound { name: name.to_owned(), installed }.into())
        }
    }
}
