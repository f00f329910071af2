//! The web app's API: accounts, models and conversations.

pub(super) mod add_conversation;
pub(super) mod add_key;
pub(super) mod add_message;
pub(super) mod add_passkey;
pub(super) mod add_totp;
pub(super) mod admin;
pub(super) mod balance;
pub(super) mod begin_totp;
pub(super) mod challenges;
pub(super) mod change_conversation;
pub(super) mod change_email;
pub(super) mod change_key;
pub(super) mod change_passkey;
pub(super) mod change_password;
pub(super) mod change_settings;
pub(super) mod confirm_reset;
pub(super) mod continue_answer;
pub(super) mod conversation;
pub(super) mod conversations;
pub(super) mod delete_account;
pub(super) mod delete_conversation;
pub(super) mod delete_passkey;
pub(super) mod delete_totp;
pub(super) mod export;
pub(super) mod import;
mod key;
pub(super) mod keys;
pub(super) mod leave_place;
pub(super) mod link_provider;
pub(super) mod login;
pub(super) mod login_passkey;
pub(super) mod login_passkey_options;
pub(super) mod login_second;
pub(super) mod logout;
pub(super) mod models;
pub(super) mod passkey_options;
pub(super) mod place;
pub(super) mod regenerate;
pub(super) mod remove_link;
pub(super) mod renew_recovery_codes;
pub(super) mod reset;
pub(super) mod revoke_key;
pub(super) mod revoke_session;
pub(super) mod revoke_sessions;
pub(super) mod search;
pub(super) mod security;
pub(super) mod session;
pub(super) mod sessions;
pub(super) mod settings;
pub(super) mod setup;
pub(super) mod sign_up;
pub(super) mod stop;
pub(super) mod stream;
pub(super) mod usage;
pub(super) mod usage_csv;
mod usage_query;
pub(super) mod usage_sums;
pub(super) mod verify;
mod views;
mod words;

use std::str::FromStr;
use std::time::Duration;

use axum::Json;
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use store::{ConversationId, MessageId, PasskeyId, SessionId, User};

use self::session::SessionView;
use crate::accounts::{Caller, Password, Peer, Standing, check_guess, guessed_wrong};
use crate::answers::check_model;
use crate::app::App;
use crate::error::{ApiError, shortened};

/// The conversation that a path names. Text that is no id names nothing.
pub(crate) struct OfConversation(ConversationId);

/// The message that a path names, and the conversation that the path says it belongs to.
pub(crate) struct OfMessage(ConversationId, MessageId);

/// The passkey that a path names.
pub(crate) struct OfPasskey(PasskeyId);

/// The one id that a path names. Text that is no id names nothing.
async fn id_in_path<Id: FromStr>(parts: &mut Parts, app: &App, what: &str) -> Result<Id, ApiError> {
    let named = Path::<String>::from_request_parts(parts, app).await.ok();
    let id = named.and_then(|Path(id)| id.parse().ok());
    id.ok_or_else(|| ApiError::not_found(format!("there is no such {what}")))
}

impl FromRequestParts<App> for OfConversation {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        id_in_path(parts, app, "conversation").await.map(Self)
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

impl FromRequestParts<App> for OfPasskey {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        id_in_path(parts, app, "passkey").await.map(Self)
    }
}

/// How many rows a page has, as a query says.
fn page_limit(app: &App, given: Option<&str>) -> Result<u32, ApiError> {
    const DEFAULT: u32 = 50;
    let max = app.settings.page_max;
    let Some(text) = given else { return Ok(DEFAULT.min(max)) };
    text.parse().ok().filter(|limit| (1..=max).contains(limit)).ok_or_else(|| {
        let given = shortened(text);
        ApiError::invalid("limit", format!("limit must be a whole number between 1 and {max}, got {given:?}"))
    })
}

/// Signs a user in and says so, with the cookie.
async fn sign_in_response(
    app: &App,
    user: User,
    peer: Peer,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let cookie = app.sign_in(&user, peer, headers).await?;
    let device = app.remember_device(user.id, headers);
    let view = SessionView::of(app, Some(user), headers);
    let mut response = ([(header::SET_COOKIE, cookie)], Json(view)).into_response();
    if let Some(device) = device {
        response.headers_mut().append(header::SET_COOKIE, device);
    }
    Ok(response)
}

/// How long after signing in somebody who has no password need not do so again.
const FRESH: Duration = Duration::from_mins(10);

/// That it is the caller themselves, asked before what can't be undone or lets others in: by the password or, of those
/// who have none, by having signed in just now.
async fn confirm(
    app: &App,
    caller: Caller,
    password: Option<Password>,
    peer: Peer,
) -> Result<User, ApiError> {
    let user = caller.account(app).await?;
    if user.password_hash.is_some() {
        let given = password.ok_or_else(|| wrong_password("the password is needed for this"))?;
        check_password(app, caller, &user, given, peer).await?;
        return Ok(user);
    }
    let age_ms = app.clock.unix_ms().saturating_sub(caller.signed_in_ms);
    if u128::from(age_ms.unsigned_abs()) > FRESH.as_millis() {
        let message =
            format!("sign in again first: that must be less than {} minutes ago", FRESH.as_secs() / 60);
        return Err(ApiError::new(StatusCode::FORBIDDEN, "sign_in_again", message));
    }
    Ok(user)
}

fn wrong_password(message: &str) -> ApiError {
    ApiError::new(StatusCode::UNAUTHORIZED, "wrong_password", message)
}

/// The caller's own password, asked again before what can't be undone. Counted as a login, so that a stolen session
/// can't be used to guess it.
async fn check_password(
    app: &App,
    caller: Caller,
    user: &User,
    given: Password,
    peer: Peer,
) -> Result<(), ApiError> {
    let session = caller.session.into();
    check_guess(app, &user.name, session, peer)?;
    let standing = Standing::of_user(user.id);
    if app.accounts.hasher.verify(given, user.password_hash.clone(), standing).await? {
        return Ok(());
    }
    guessed_wrong(app, &user.name, session, peer);
    app.audit("wrong_password", Some(user.id), peer).await;
    Err(wrong_password("the password is wrong"))
}

/// From here on the cookies of these sessions are good for nothing.
fn end_sessions(app: &App, sessions: &[SessionId]) {
    app.accounts.revoke(sessions, app.clock.unix_ms(), app.settings.session_lifetime);
}
