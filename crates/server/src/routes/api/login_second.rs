use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use store::{StoreError, User};
use utoipa::ToSchema;

use super::sign_in_response;
use crate::accounts::one_time::{Code, step_of};
use crate::accounts::{Peer, fingerprint, ticket_expired};
use crate::app::App;
use crate::body;
use crate::error::ApiError;

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = LoginSecondAsked)]
pub(crate) struct Asked {
    ticket: String,
    code: String,
}

/// What the password was right for.
#[derive(Debug, Serialize, Deserialize)]
struct Ticket {
    user: [u8; 16],
    /// Changes with the password, so that a ticket for an old one is good for nothing.
    password: String,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SecondFactorWanted)]
pub(super) struct SecondFactor {
    second_factor: SecondFactorView,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SecondFactor)]
struct SecondFactorView {
    ticket: String,
    expires_s: u64,
}

const PURPOSE: &str = "second factor";
const LIFETIME: Duration = Duration::from_mins(5);

/// What a login answers whose password was right and is not enough.
pub(super) fn ask(app: &App, user: &User) -> Result<Response, ApiError> {
    let content = Ticket { user: user.id.into(), password: fingerprint(user.password_hash.as_deref()) };
    let ticket = app.ticket(PURPOSE, &content, LIFETIME)?;
    let second_factor = SecondFactorView { ticket, expires_s: LIFETIME.as_secs() };
    Ok(Json(SecondFactor { second_factor }).into_response())
}

/// The code that a login asks for after the password, from an app or a recovery code.
#[utoipa::path(
    post,
    path = "/api/login/second",
    operation_id = "login_second",
    tag = "account",
    request_body = Asked,
    responses((status = 200, body = super::session::SessionView)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    peer: Peer,
    headers: HeaderMap,
    body::Json(asked, _room): body::Json<Asked>,
) -> Result<Response, ApiError> {
    let ticket: Ticket = app.open_ticket(PURPOSE, &asked.ticket).map_err(|_| ticket_expired())?;
    app.accounts.try_second_factor(ticket.user.into(), peer, app.clock.monotonic())?;
    let user = match app.store.user(ticket.user.into()).await {
        Ok(user) if user.disabled_ms.is_none() && has_password(&user, &ticket.password) => user,
        Ok(_) | Err(StoreError::NotFound { .. }) => return Err(ticket_expired()),
        Err(error) => return Err(error.into()),
    };
    if !is_right(&app, &user, &asked.code, peer).await? {
        app.accounts.network_failed(peer, app.clock.monotonic());
        app.gatehouse.login(false);
        app.audit("wrong_code", Some(user.id), peer).await;
        return Err(wrong_code());
    }
    app.accounts.second_factor_right(user.id);
    app.gatehouse.login(true);
    app.audit("login", Some(user.id), peer).await;
    sign_in_response(&app, user, peer, &headers).await
}

/// Whether the code is right. From here on it is so no more.
async fn is_right(app: &App, user: &User, code: &str, peer: Peer) -> Result<bool, ApiError> {
    // Somebody who turned their codes off meanwhile logs in with the password alone.
    let codes = app.store.one_time_codes(user.id).await?.ok_or_else(ticket_expired)?;
    match Code::read(code) {
        Some(Code::OneTime(code)) => match step_of(&codes.secret, &code, app.clock.unix_ms()) {
            Some(step) => Ok(app.store.take_step(user.id, step).await?),
            None => Ok(false),
        },
        Some(Code::Recovery(hash)) => {
            let right = app.store.take_recovery_code(user.id, hash).await?;
            if right {
                app.audit("recovery_code_used", Some(user.id), peer).await;
            }
            Ok(right)
        }
        None => Ok(false),
    }
}

pub(super) fn wrong_code() -> ApiError {
    ApiError::new(StatusCode::UNAUTHORIZED, "wrong_code", "the code is wrong, or was used before")
}

fn has_password(user: &User, wanted: &str) -> bool {
    fingerprint(user.password_hash.as_deref()) == wanted
}
