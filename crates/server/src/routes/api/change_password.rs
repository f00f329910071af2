//! `POST /api/account/password`: another password. All other devices are signed out.

use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;

use super::{check_password, end_sessions};
use crate::accounts::{Caller, Password, Peer};
use crate::app::App;
use crate::body;
use crate::error::ApiError;

#[derive(Debug, Deserialize)]
pub(crate) struct Asked {
    old: Password,
    new: Password,
}

pub(crate) async fn handle(
    State(app): State<App>,
    caller: Caller,
    peer: Peer,
    body::Json(asked, _room): body::Json<Asked>,
) -> Result<StatusCode, ApiError> {
    let user = caller.account(&app).await?;
    asked.new.check_strength("new", &user.name)?;
    check_password(&app, &user, asked.old, peer).await?;
    let hash = app.accounts.hasher.hash(asked.new, app.random_bytes()).await?;
    app.store.set_password(user.id, hash).await?;
    let ended = app.store.revoke_sessions(user.id, Some(caller.session)).await?;
    end_sessions(&app, &ended);
    app.audit("password_changed", Some(user.id), peer).await;
    Ok(StatusCode::NO_CONTENT)
}
