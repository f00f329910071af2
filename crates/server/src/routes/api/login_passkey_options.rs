use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::login_passkey::PURPOSE;
use super::passkey_options::LIFETIME;
use crate::accounts::{RelyingParty, begin_login};
use crate::app::App;
use crate::body;
use crate::error::ApiError;

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = LoginPasskeyOptionsAsked)]
pub(crate) struct Asked {}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PasskeyBegun)]
pub(crate) struct Begun {
    pub(super) ticket: String,
    pub(super) options: Value,
}

/// Begins a sign-in with a passkey, of whoever has one. It tells nothing about who
/// there is, and nothing is kept until it ends.
#[utoipa::path(
    post,
    path = "/api/login/passkey/options",
    operation_id = "login_passkey_options",
    tag = "account",
    request_body = Asked,
    responses((status = 200, body = Begun)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    headers: HeaderMap,
    body::Json(Asked {}, _room): body::Json<Asked>,
) -> Result<Json<Begun>, ApiError> {
    let party = RelyingParty::required(app.settings.public_url.as_ref(), &headers)?;
    let begun = begin_login(&party)?;
    let ticket = app.challenge(PURPOSE, begun.state, LIFETIME)?;
    Ok(Json(Begun { ticket, options: begun.options }))
}
