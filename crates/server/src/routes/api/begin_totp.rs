use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use url::{Position, Url};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::confirm;
use crate::accounts::one_time::{secret_text, uri};
use crate::accounts::{Caller, Password, Peer};
use crate::app::App;
use crate::body;
use crate::error::ApiError;

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = BeginTotpAsked)]
pub(crate) struct Asked {
    password: Option<Password>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = TotpSetup)]
pub(crate) struct Begun {
    ticket: String,
    /// In base32, for who can't show the app a picture.
    #[schema(value_type = String)]
    secret: Zeroizing<String>,
    /// What stands in the picture.
    #[schema(value_type = String)]
    uri: Zeroizing<String>,
}

/// For whom a secret was drawn.
#[derive(Serialize, Deserialize)]
pub(super) struct Beginning {
    pub(super) session: [u8; 16],
    pub(super) secret: Zeroizing<String>,
}

pub(super) const PURPOSE: &str = "one-time codes";
/// Time to find, or to install, an app.
const LIFETIME: Duration = Duration::from_mins(15);

/// A secret for the caller's app. Nothing asks for its codes until one of them has
/// shown that the app has it.
#[utoipa::path(
    post,
    path = "/api/account/totp/begin",
    operation_id = "begin_totp",
    tag = "account",
    request_body = Asked,
    responses((status = 200, body = Begun)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    caller: Caller,
    peer: Peer,
    body::Json(asked, _room): body::Json<Asked>,
) -> Result<Json<Begun>, ApiError> {
    let user = confirm(&app, caller, asked.password, peer).await?;
    let secret = secret_text(app.random_bytes());
    let server = server_name(app.settings.public_url.as_ref());
    let uri = uri(&secret, &server, &user.name)
        .ok_or_else(|| ApiError::internal("the address of one-time codes can't be made"))?;
    let beginning = Beginning { session: caller.session.into(), secret: secret.clone() };
    let ticket = app.challenge(PURPOSE, beginning, LIFETIME)?;
    Ok(Json(Begun { ticket, secret, uri }))
}

/// Under what an app shows the codes: somebody may have accounts on several servers.
fn server_name(public_url: Option<&Url>) -> String {
    match public_url {
        Some(url) => format!("Cachalot ({})", &url[Position::BeforeHost..Position::AfterPort]),
        None => "Cachalot".to_owned(),
    }
}
