//! `DELETE /api/account/totp`: a login of the caller's asks for no code any more.

use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;

use super::confirm;
use crate::accounts::{Caller, Password, Peer};
use crate::app::App;
use crate::body;
use crate::error::ApiError;

#[derive(Debug, Deserialize)]
pub(crate) struct Asked {
    password: Option<Password>,
}

pub(crate) async fn handle(
    State(app): State<App>,
    caller: Caller,
    peer: Peer,
    body::Json(asked, _room): body::Json<Asked>,
) -> Result<StatusCode, ApiError> {
    let user = confirm(&app, caller, asked.password, peer).await?;
    app.store.remove_one_time_codes(user.id).await?;
    app.audit("totp_off", Some(user.id), peer).await;
    Ok(StatusCode::NO_CONTENT)
}
