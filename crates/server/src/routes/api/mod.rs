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

use std::str::FromStr;

use crate::app::App;
use crate::error::ApiError;

/// An id in a path; text that is no id names nothing.
fn id<Id: FromStr>(text: &str, what: &str) -> Result<Id, ApiError> {
    text.parse().map_err(|_| ApiError::not_found(format!("there is no such {what}")))
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
