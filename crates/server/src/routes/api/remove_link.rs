//! `DELETE /api/account/providers/{id}`: an account elsewhere no longer signs the caller in.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Deserialize;
use store::LinkId;

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
    Path(id): Path<String>,
    body::Json(asked, _room): body::Json<Asked>,
) -> Result<StatusCode, ApiError> {
    let missing = || ApiError::not_found("there is no such login");
    let id: LinkId = id.parse().map_err(|_| missing())?;
    // What is not theirs is not there, whatever else they send.
    if !app.store.links(caller.user).await?.iter().any(|link| link.id == id) {
        return Err(missing());
    }
    let user = confirm(&app, caller, asked.password, peer).await?;
    app.store.remove_link(user.id, id).await?;
    app.audit("provider_unlinked", Some(user.id), peer).await;
    Ok(StatusCode::NO_CONTENT)
}
