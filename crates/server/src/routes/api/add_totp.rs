use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use store::NewOneTimeCodes;
use utoipa::ToSchema;

use super::begin_totp::{Beginning, PURPOSE};
use super::login_second::wrong_code;
use crate::accounts::one_time::{Code, RECOVERY_CODES, recovery_code, recovery_hash, step_of};
use crate::accounts::{Caller, Peer, ticket_expired};
use crate::app::App;
use crate::body;
use crate::error::ApiError;

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = AddTotpAsked)]
pub(crate) struct Asked {
    ticket: String,
    code: String,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct RecoveryCodes {
    recovery_codes: Vec<String>,
}

impl RecoveryCodes {
    /// New ones, and what is to be kept of them.
    pub(super) fn draw(app: &App) -> (Self, Vec<String>) {
        let recovery_codes: Vec<_> = (0..RECOVERY_CODES).map(|_| recovery_code(app.random_bytes())).collect();
        let hashes = recovery_codes.iter().map(|code| recovery_hash(code)).collect();
        (Self { recovery_codes }, hashes)
    }
}

/// From now on a login of the caller's asks for a code. Answers the recovery codes, which are
/// shown this once.
///
/// After a passkey, or a login at a provider, no code is asked for: both count as two factors.
#[utoipa::path(
    post,
    path = "/api/account/totp",
    operation_id = "add_totp",
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
    let user = caller.account(&app).await?;
    let challenge = app.open_challenge::<Beginning>(PURPOSE, &asked.ticket)?;
    let Beginning { session, secret } = &challenge.content;
    if *session != <[u8; 16]>::from(caller.session) {
        return Err(ticket_expired());
    }
    let step = match Code::read(&asked.code) {
        Some(Code::OneTime(code)) => step_of(secret, &code, app.clock.unix_ms()),
        Some(Code::Recovery(_)) | None => None,
    };
    let step = step.ok_or_else(wrong_code)?;
    app.answer(&challenge)?;
    let (shown, recovery_codes) = RecoveryCodes::draw(&app);
    let new = NewOneTimeCodes { secret: secret.clone(), step, recovery_codes };
    app.store.set_one_time_codes(user.id, new).await?;
    app.audit("totp_on", Some(user.id), peer).await;
    Ok(Json(shown))
}
