use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Deserialize;
use store::LinkId;
use utoipa::ToSchema;

use super::confirm;
use crate::accounts::{Caller, Password, Peer};
use crate::app::App;
use crate::body;
use crate::error::ApiError;

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = RemoveLinkAsked)]
pub(crate) struct Asked {
    password: Option<Password>,
}

/// An account elsewhere no longer signs the caller in.
#[utoipa::path(
    delete,
    path = "/api/account/providers/{id}",
    operation_id = "remove_link",
    tag = "account",
    params(("id" = String, Path)),
    request_body = Asked,
    responses((status = 204)),
)]
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
