//! `POST /api/sign-up`: a new account, signed in at once.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use store::{NewUser, UserRole};

use super::sign_in_response;
use crate::accounts::{Password, Peer, check_email, check_name};
use crate::app::App;
use crate::body;
use crate::error::ApiError;

#[derive(Debug, Deserialize)]
pub(crate) struct Asked {
    name: String,
    email: Option<String>,
    password: Password,
}

pub(crate) async fn handle(
    State(app): State<App>,
    peer: Peer,
    headers: HeaderMap,
    body::Json(asked, _room): body::Json<Asked>,
) -> Result<Response, ApiError> {
    if !app.settings.sign_up || app.accounts.setup.is_open() {
        let message = "this server takes no new accounts; its administrator can make one";
        return Err(ApiError::new(StatusCode::FORBIDDEN, "sign_up_closed", message));
    }
    // What is cheap to refuse is refused before anything is hashed.
    let name = check_name(&asked.name)?;
    let email = check_email(asked.email.as_deref())?;
    asked.password.check_strength("password", &name)?;
    app.accounts.sign_up(peer, app.clock.monotonic())?;
    let password_hash = Some(app.accounts.hasher.hash(asked.password, app.random_bytes()).await?);
    let new = NewUser { name, email, role: UserRole::User, password_hash, first: false };
    let user = app.store.add_user(new).await?;
    app.audit("sign_up", Some(user.id), peer).await;
    let signed_in = sign_in_response(&app, user, peer, &headers).await?;
    Ok((StatusCode::CREATED, signed_in).into_response())
}
