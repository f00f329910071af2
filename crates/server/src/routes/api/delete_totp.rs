use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use super::confirm;
use crate::accounts::{Caller, Password, Peer};
use crate::app::App;
use crate::body;
use crate::error::ApiError;

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = DeleteTotpAsked)]
pub(crate) struct Asked {
    password: Option<Password>,
}

/// A login of the caller's asks for no code any more.
#[utoipa::path(
    delete,
    path = "/api/account/totp",
    operation_id = "delete_totp",
    tag = "account",
    request_body = Asked,
    responses((status = 204)),
)]
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
