use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use serde_json::Value;
use store::{Passkey, StoreError, User};
use utoipa::ToSchema;

use super::sign_in_response;
use crate::accounts::{Assertion, Peer, Refused, RelyingParty};
use crate::app::App;
use crate::body;
use crate::error::ApiError;

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = LoginPasskeyAsked)]
pub(crate) struct Asked {
    ticket: String,
    credential: Value,
}

pub(super) const PURPOSE: &str = "login with a passkey";

/// Signs in whoever the passkey belongs to. The authenticator has verified them, so no
/// second factor is asked for.
#[utoipa::path(
    post,
    path = "/api/login/passkey",
    operation_id = "login_passkey",
    tag = "account",
    request_body = Asked,
    responses((status = 200, body = super::session::SessionView)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    peer: Peer,
    headers: HeaderMap,
    body::Json(asked, _room): body::Json<Asked>,
) -> Result<Response, ApiError> {
    let party = RelyingParty::required(app.settings.public_url.as_ref(), &headers)?;
    app.accounts.check_network(peer, app.clock.monotonic())?;
    let challenge = app.open_challenge::<Vec<u8>>(PURPOSE, &asked.ticket)?;
    let Some((assertion, passkey)) = find(&app, &asked.credential).await? else {
        return Err(refused(&app, None, peer).await);
    };
    let usage = match assertion.finish(&party, &challenge.content, &passkey) {
        Ok(usage) => usage,
        Err(why) => return Err(refused(&app, Some((&passkey, why)), peer).await),
    };
    app.answer(&challenge)?;
    let Some(user) = owner(&app, &passkey).await? else { return Err(refused(&app, None, peer).await) };
    match app.store.passkey_used(user.id, passkey.id, usage).await {
        Ok(()) => {}
        // Deleted since it was found, or used by another at the same time.
        Err(StoreError::NotFound { .. }) => return Err(refused(&app, None, peer).await),
        Err(StoreError::Conflict(_)) => {
            return Err(refused(&app, Some((&passkey, Refused::CounterWentBack)), peer).await);
        }
        Err(error) => return Err(error.into()),
    }
    app.gatehouse.login(true);
    app.audit("passkey_login", Some(user.id), peer).await;
    sign_in_response(&app, user, peer, &headers).await
}

/// The answer, and the passkey that it says it was made with.
async fn find(app: &App, credential: &Value) -> Result<Option<(Assertion, Passkey)>, ApiError> {
    let Some(assertion) = Assertion::read(credential) else { return Ok(None) };
    let passkey = app.store.passkey_by_credential(assertion.credential_id().to_vec()).await?;
    Ok(passkey.map(|passkey| (assertion, passkey)))
}

/// Whose the passkey is, if they may sign in.
async fn owner(app: &App, passkey: &Passkey) -> Result<Option<User>, ApiError> {
    match app.store.user(passkey.user_id).await {
        Ok(user) => Ok(Some(user).filter(|user| user.disabled_ms.is_none())),
        Err(StoreError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// One answer for a passkey that is not there, that somebody disabled has, and a signature that is wrong.
async fn refused(app: &App, known: Option<(&Passkey, Refused)>, peer: Peer) -> ApiError {
    app.accounts.network_failed(peer, app.clock.monotonic());
    app.gatehouse.login(false);
    let (event, user) = match known {
        // Its owner can be told: only who has the key, or a copy of it, gets here.
        Some((passkey, Refused::CounterWentBack)) => ("passkey_counter_went_back", Some(passkey.user_id)),
        Some((_, Refused::Wrong)) | None => ("passkey_refused", None),
    };
    app.audit(event, user, peer).await;
    let message = "this passkey is not known here, or its answer is wrong";
    ApiError::new(StatusCode::UNAUTHORIZED, "wrong_passkey", message)
}
