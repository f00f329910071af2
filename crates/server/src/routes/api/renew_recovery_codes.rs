use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use super::add_totp::RecoveryCodes;
use super::confirm;
use crate::accounts::{Caller, Password, Peer};
use crate::app::App;
use crate::body;
use crate::error::ApiError;

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = RenewRecoveryCodesAsked)]
pub(crate) struct Asked {
    password: Option<Password>,
}

/// New recovery codes; those of before are good no more.
#[utoipa::path(
    post,
    path = "/api/account/recovery-codes",
    operation_id = "renew_recovery_codes",
    tag = "account",
    request_body = Asked,
    responses((status = 200, body = RecoveryCodes)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    caller: Caller,
    peer: Peer,
    body::Json(asked, _room): body::Json<Asked>,
) -> Result<Json<RecoveryCodes>, ApiError> {
    let user = confirm(&app, caller, asked.password, peer).await?;
    let (shown, hashes) = RecoveryCodes::draw(&app);
    app.store.set_recovery_codes(user.id, hashes).await?;
    app.audit("recovery_codes_renewed", Some(user.id), peer).await;
    Ok(Json(shown))
}
