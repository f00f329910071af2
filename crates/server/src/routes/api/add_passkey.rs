use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use store::NewPasskey;
use utoipa::ToSchema;

use super::passkey_options::{Beginning, PASSKEYS_MAX, PURPOSE};
use super::security::PasskeyView;
use crate::accounts::{Caller, Peer, RelyingParty, check_passkey_name, finish_registration, ticket_expired};
use crate::app::App;
use crate::body;
use crate::error::{ApiError, shortened};
use crate::letters::{Language, Subject};

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = AddPasskeyAsked)]
pub(crate) struct Asked {
    ticket: String,
    name: String,
    credential: Value,
}

/// Keeps the passkey that the caller's authenticator has made.
#[utoipa::path(
    post,
    path = "/api/account/passkeys",
    operation_id = "add_passkey",
    tag = "account",
    request_body = Asked,
    responses((status = 201, body = PasskeyView)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    caller: Caller,
    peer: Peer,
    headers: HeaderMap,
    body::Json(asked, _room): body::Json<Asked>,
) -> Result<(StatusCode, Json<PasskeyView>), ApiError> {
    let party = RelyingParty::required(app.settings.public_url.as_ref(), &headers)?;
    let user = caller.account(&app).await?;
    let name = check_passkey_name(&asked.name)?;
    let challenge = app.open_challenge::<Beginning>(PURPOSE, &asked.ticket)?;
    if challenge.content.session != <[u8; 16]>::from(caller.session) {
        return Err(ticket_expired());
    }
    let new = finish_registration(&party, user.id, &challenge.content.state, asked.credential)
        .map_err(|error| refused(&error))?;
    app.answer(&challenge)?;
    let made = app.store.add_passkey(user.id, NewPasskey { name, ..new }, PASSKEYS_MAX).await?;
    app.audit("passkey_added", Some(user.id), peer).await;
    app.tell(&user, Language::of(&headers), Subject::PasskeyAdded);
    Ok((StatusCode::CREATED, Json(made.into())))
}

fn refused(why: &str) -> ApiError {
    let message = format!("the passkey can't be used: {}", shortened(why));
    ApiError::unprocessable("wrong_passkey", message).with_param("credential")
}
