use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{OfPasskey, confirm};
use crate::accounts::{Caller, Password, Peer};
use crate::app::App;
use crate::body;
use crate::error::ApiError;

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = DeletePasskeyAsked)]
pub(crate) struct Asked {
    password: Option<Password>,
}

/// One of the caller's passkeys is good no more. Their last way in stays.
#[utoipa::path(
    delete,
    path = "/api/account/passkeys/{id}",
    operation_id = "delete_passkey",
    tag = "account",
    params(("id" = String, Path)),
    request_body = Asked,
    responses((status = 204)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    caller: Caller,
    peer: Peer,
    OfPasskey(passkey): OfPasskey,
    body::Json(asked, _room): body::Json<Asked>,
) -> Result<StatusCode, ApiError> {
    let user = confirm(&app, caller, asked.password, peer).await?;
    app.store.delete_passkey(user.id, passkey).await?;
    app.audit("passkey_removed", Some(user.id), peer).await;
    Ok(StatusCode::NO_CONTENT)
}
