use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use super::OfPasskey;
use super::security::PasskeyView;
use crate::accounts::{Caller, check_passkey_name};
use crate::app::App;
use crate::body;
use crate::error::ApiError;

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ChangePasskeyAsked)]
pub(crate) struct Asked {
    name: String,
}

/// Another name for one of the caller's passkeys.
#[utoipa::path(
    patch,
    path = "/api/account/passkeys/{id}",
    operation_id = "change_passkey",
    tag = "account",
    params(("id" = String, Path)),
    request_body = Asked,
    responses((status = 200, body = PasskeyView)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    caller: Caller,
    OfPasskey(passkey): OfPasskey,
    body::Json(asked, _room): body::Json<Asked>,
) -> Result<Json<PasskeyView>, ApiError> {
    let name = check_passkey_name(&asked.name)?;
    let user = caller.account(&app).await?;
    Ok(Json(app.store.rename_passkey(user.id, passkey, name).await?.into()))
}
