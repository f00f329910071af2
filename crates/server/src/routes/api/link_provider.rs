use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::confirm;
use crate::accounts::{Caller, Password, Peer};
use crate::app::App;
use crate::body;
use crate::error::ApiError;

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = LinkProviderAsked)]
pub(crate) struct Asked {
    password: Option<Password>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LinkBegun)]
pub(crate) struct Begun {
    ticket: String,
}

/// What was confirmed, and in which session.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::routes) struct Confirmed {
    pub(in crate::routes) session: [u8; 16],
    pub(in crate::routes) provider: String,
}

pub(in crate::routes) const PURPOSE: &str = "link a provider";
/// The page goes on at once.
const LIFETIME: Duration = Duration::from_mins(1);

/// The caller confirms that the account that they have at a provider, whose id
/// this is, shall sign them in; the answer's ticket is for `GET /oidc/{provider}/start`.
#[utoipa::path(
    post,
    path = "/api/account/providers/{id}/link",
    operation_id = "link_provider",
    tag = "account",
    params(("id" = String, Path)),
    request_body = Asked,
    responses((status = 200, body = Begun)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    caller: Caller,
    peer: Peer,
    Path(provider): Path<String>,
    body::Json(asked, _room): body::Json<Asked>,
) -> Result<Json<Begun>, ApiError> {
    let known = app.providers.named(&provider)?;
    confirm(&app, caller, asked.password, peer).await?;
    let confirmed = Confirmed { session: caller.session.into(), provider: known.settings.id.clone() };
    Ok(Json(Begun { ticket: app.challenge(PURPOSE, confirmed, LIFETIME)? }))
}
