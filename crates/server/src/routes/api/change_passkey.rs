//! `PATCH /api/account/passkeys/{id}`: another name for one of the caller's passkeys.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;

use super::OfPasskey;
use super::security::PasskeyView;
use crate::accounts::{Caller, check_passkey_name};
use crate::app::App;
use crate::body;
use crate::error::ApiError;

#[derive(Debug, Deserialize)]
pub(crate) struct Asked {
    name: String,
}

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
