use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{login_second, sign_in_response};
use crate::accounts::{Password, Peer};
use crate::app::App;
use crate::body;
use crate::error::ApiError;

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = LoginAsked)]
pub(crate) struct Asked {
    login: String,
    password: Password,
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
#[utoipa::path(
    post,
    path = "/api/login",
    operation_id = "login",
    tag = "account",
    request_body = Asked,
    responses((status = 200, body = LoggedIn)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    peer: Peer,
    headers: HeaderMap,
    body::Json(asked, _room): body::Json<Asked>,
) -> Result<Response, ApiError> {
    let login = asked.login.trim().to_owned();
    if login.len() > LOGIN_BYTES_MAX {
        let message = format!("login may have at most {LOGIN_BYTES_MAX} bytes, this one has {}", login.len());
        return Err(ApiError::invalid("login", message));
    }
    app.accounts.check_login(&login, peer, app.clock.monotonic())?;
    // Somebody who doesn't exist, who is disabled and who mistypes get the same answer after the same work.
    let user = app.store.user_by_login(login.clone()).await?;
    let hash = user.as_ref().and_then(|user| user.password_hash.clone());
    let right = app.accounts.hasher.verify(asked.password, hash).await?;
    match user.filter(|user| right && user.disabled_ms.is_none()) {
        Some(user) => {
            app.accounts.login_succeeded(&login, peer);
            app.gatehouse.login(true);
            if app.store.one_time_codes(user.id).await?.is_some() {
                app.audit("second_factor_asked", Some(user.id), peer).await;
                return login_second::ask(&app, &user);
            }
            app.audit("login", Some(user.id), peer).await;
            sign_in_response(&app, user, peer, &headers).await
        }
        None => {
            app.accounts.login_failed(&login, peer, app.clock.monotonic());
            app.gatehouse.login(false);
            app.audit("login_failed", None, peer).await;
            Err(ApiError::new(StatusCode::UNAUTHORIZED, "wrong_login", "the name or the password is wrong"))
        }
    }
}
