use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::{Deserialize, Serialize};
use store::StoreError;
use utoipa::ToSchema;

use super::confirm;
use super::login_passkey_options::Begun;
use crate::accounts::{Caller, Password, Peer, RelyingParty, begin_registration};
use crate::app::App;
use crate::body;
use crate::error::ApiError;

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = PasskeyOptionsAsked)]
pub(crate) struct Asked {
    password: Option<Password>,
}

/// For whom a passkey was begun, and what the end of it needs.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Beginning {
    /// The one that the password was asked in.
    pub(super) session: [u8; 16],
    pub(super) state: Vec<u8>,
}

pub(super) const PURPOSE: &str = "new passkey";
/// What browsers are told too.
pub(super) const LIFETIME: Duration = Duration::from_mins(5);
/// Passkeys of one user.
pub(super) const PASSKEYS_MAX: u64 = 20;

/// Begins making a passkey for the caller.
#[utoipa::path(
    post,
    path = "/api/account/passkeys/options",
    operation_id = "passkey_options",
    tag = "account",
    request_body = Asked,
    responses((status = 200, body = Begun)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    caller: Caller,
    peer: Peer,
    headers: HeaderMap,
    body::Json(asked, _room): body::Json<Asked>,
) -> Result<Json<Begun>, ApiError> {
    let party = RelyingParty::required(app.settings.public_url.as_ref(), &headers)?;
    let user = confirm(&app, caller, asked.password, peer).await?;
    let known = app.store.passkeys(user.id).await?;
    // Said before the authenticator makes one that could not be kept.
    let given = known.len() as u64 + 1;
    if given > PASSKEYS_MAX {
        return Err(StoreError::Full { what: "passkeys", allowed: PASSKEYS_MAX, given }.into());
    }
    let begun = begin_registration(&party, &user, &known)?;
    let beginning = Beginning { session: caller.session.into(), state: begun.state };
    let ticket = app.challenge(PURPOSE, beginning, LIFETIME)?;
    Ok(Json(Begun { ticket, options: begun.options }))
}
