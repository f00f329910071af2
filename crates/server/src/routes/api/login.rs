use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{login_second, sign_in_response};
use crate::accounts::{Password, Peer, Standing, Tried, device_shown};
use crate::app::App;
use crate::body;
use crate::bulwark::at_least;
use crate::error::ApiError;
use crate::gate::Turned;

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = LoginAsked)]
pub(crate) struct Asked {
    login: String,
    password: Password,
    /// The solution of a challenge, in Base64.
    challenge: Option<String>,
}

/// Longer than any name and any address.
const LOGIN_BYTES_MAX: usize = 512;

/// Who is signed in, or what more is asked for.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "the document's: the endpoints it unites make the answers")]
enum LoggedIn {
    Whole(super::session::SessionView),
    Half(super::login_second::SecondFactor),
}

/// Name or email address, and password. Where one-time codes are on, the answer asks for one.
///
/// While passwords are tried by the many, or for this account, a challenge comes first (428, with one in the body); not
/// on a device that somebody has signed in to it with before.
#[utoipa::path(
    post,
    path = "/api/login",
    operation_id = "login",
    tag = "account",
    params(("x-cachalot-challenge" = Option<String>, Header, description = "The body's `challenge` again: while very many \
        come, who shows it here is let in before the body is read.")),
    request_body = Asked,
    responses(
        (status = 200, body = LoggedIn),
        (status = 428, body = super::sign_up::Challenged),
    ),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    peer: Peer,
    standing: Standing,
    headers: HeaderMap,
    body::Json(asked, _room): body::Json<Asked>,
) -> Result<Response, Turned> {
    let login = asked.login.trim().to_owned();
    if login.len() > LOGIN_BYTES_MAX {
        let message = format!("login may have at most {LOGIN_BYTES_MAX} bytes, this one has {}", login.len());
        return Err(ApiError::invalid("login", message).into());
    }
    let (device, challenge) = (device_shown(&app, &headers), asked.challenge.as_deref());
    let mut tried = app.try_login(Tried { login: &login, peer, standing, device, challenge }).await?;
    // Somebody who doesn't exist, who is disabled and who mistypes get the same answer after the same work.
    let user = tried.user.take();
    let hash = user.as_ref().and_then(|user| user.password_hash.clone());
    let right = app.accounts.hasher.verify(asked.password, hash, tried.standing).await?;
    let user = user.filter(|user| right && user.disabled_ms.is_none());
    app.login_tried(&login, peer, &tried, user.is_some());
    match user {
        Some(user) => {
            if app.store.one_time_codes(user.id).await?.is_some() {
                app.audit("second_factor_asked", Some(user.id), peer).await;
                return Ok(login_second::ask(&app, &user)?);
            }
            at_least(Standing::class_of(&app, &user), app.audit("login", Some(user.id), peer)).await;
            Ok(sign_in_response(&app, user, peer, &headers).await?)
        }
        None => {
            app.audit("login_failed", None, peer).await;
            let message = "the name or the password is wrong";
            Err(ApiError::new(StatusCode::UNAUTHORIZED, "wrong_login", message).into())
        }
    }
}
