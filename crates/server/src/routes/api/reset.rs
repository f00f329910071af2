use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use lettre::Address;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::views::Mailed;
use crate::accounts::{Peer, fingerprint};
use crate::app::App;
use crate::body;
use crate::error::ApiError;
use crate::letters::{Language, Subject, check_address};

/// How long the link is good.
const LIFETIME: Duration = Duration::from_hours(1);

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ResetAsked)]
pub(crate) struct Asked {
    email: String,
}

/// Whose password may be set.
#[derive(Serialize, Deserialize)]
pub(super) struct Reset {
    pub(super) user: String,
    /// Their address as it was when they asked.
    pub(super) email: String,
    /// A fingerprint of the hash that is to be replaced: the link is good until then.
    pub(super) of_hash: String,
}

/// A letter with a link that sets another password, if the address is a user's.
///
/// The answer and the work are the same whether the address is known or not.
#[utoipa::path(
    post,
    path = "/api/reset",
    operation_id = "reset",
    tag = "account",
    request_body = Asked,
    responses((status = 202, body = Mailed)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    peer: Peer,
    headers: HeaderMap,
    body::Json(asked, _room): body::Json<Asked>,
) -> Result<impl IntoResponse, ApiError> {
    let letters = app.letters()?;
    let to = check_address(Some(&asked.email))?;
    app.accounts.letter(to.as_ref(), peer, app.clock.monotonic())?;
    let place = letters.place()?;
    let user = app.store.user_by_login(to.to_string()).await?.filter(|user| user.disabled_ms.is_none());
    let ticket = match &user {
        Some(user) => Reset {
            user: user.id.to_string(),
            email: user.email.clone().unwrap_or_default(),
            of_hash: fingerprint(user.password_hash.as_deref()),
        },
        None => Reset { user: String::new(), email: to.to_string(), of_hash: fingerprint(None) },
    };
    let link = letters.link("reset", &app.ticket("reset", &ticket, LIFETIME)?);
    app.audit("reset_asked", user.as_ref().map(|user| user.id), peer).await;
    // To the address that is the account's, never to one that only folds to the same: that may be a stranger's.
    match user.and_then(|user| user.email).and_then(|email| email.parse::<Address>().ok()) {
        Some(theirs) => app.post(place, theirs, Language::of(&headers), Subject::Reset { link }),
        None => app.post_nothing(place),
    }
    Ok((StatusCode::ACCEPTED, Json(Mailed::YES)))
}
