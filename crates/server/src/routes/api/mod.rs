//! The web app's API: accounts, models and conversations.

pub(super) mod add_conversation;
pub(super) mod add_message;
pub(super) mod backup;
pub(super) mod change_conversation;
pub(super) mod change_password;
pub(super) mod conversation;
pub(super) mod conversations;
pub(super) mod delete_account;
pub(super) mod delete_conversation;
pub(super) mod login;
pub(super) mod logout;
pub(super) mod models;
pub(super) mod regenerate;
pub(super) mod revoke_session;
pub(super) mod revoke_sessions;
pub(super) mod rotate_key;
pub(super) mod session;
pub(super) mod sessions;
pub(super) mod setup;
pub(super) mod sign_up;
pub(super) mod stop;
pub(super) mod stream;
mod views;

use axum::Json;
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use store::{ConversationId, MessageId, SessionId, StoreError, User};

use self::session::SessionView;
use crate::accounts::{Password, Peer};
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

/// Signs a user in and says so, with the cookie.
async fn sign_in_response(
    app: &App,
    user: User,
    peer: Peer,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    let cookie = app.sign_in(&user, peer, agent.to_owned()).await?;
    let view = SessionView::of(app, Some(user));
    Ok(([(header::SET_COOKIE, cookie)], Json(view)).into_response())
}

/// The caller's own password, asked again before what can't be undone. Counted as a login, so that a stolen session
/// can't be used to guess it.
async fn check_password(app: &App, user: &User, given: Password, peer: Peer) -> Result<(), ApiError> {
    let login = user.name.to_lowercase();
    app.accounts.check_login(&login, peer, app.clock.monotonic())?;
    if app.accounts.hasher.verify(given, user.password_hash.clone()).await? {
        return Ok(());
    }
    app.accounts.login_failed(&login, peer, app.clock.monotonic());
    app.audit("wrong_password", Some(user.id), peer).await;
    Err(ApiError::new(StatusCode::UNAUTHORIZED, "wrong_password", "the password is wrong"))
}

/// From here on the cookies of these sessions are good for nothing.
fn end_sessions(app: &App, sessions: &[SessionId]) {
    app.accounts.revoke(sessions, app.clock.unix_ms(), app.settings.session_lifetime);
}

/// What went wrong with the keys or with a copy, for an administrator, who is the one to do something about it.
fn vault_error(error: StoreError) -> ApiError {
    let status = match &error {
        StoreError::DiskFull { .. } => StatusCode::INSUFFICIENT_STORAGE,
        StoreError::File { .. }
        | StoreError::KeyMissing { .. }
        | StoreError::KeyExposed { .. }
        | StoreError::KeyUnusable { .. }
        | StoreError::KeyWrong { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        _ => return error.into(),
    };
    let message = error.to_string();
    ApiError::new(status, "vault_failed", message.clone()).with_note(message)
}
