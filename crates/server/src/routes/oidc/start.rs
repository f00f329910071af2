//! `GET /oidc/{provider}/start`: to the provider, to sign in, or with a ticket to link its account with the caller's.

use axum::extract::{Path, Query, State};
use axum::response::Response;
use serde::Deserialize;

use super::{go, journey_cookie, page_of};
use crate::accounts::{Caller, Peer, ticket_expired};
use crate::app::App;
use crate::error::{ApiError, shortened};
use crate::oidc::{self, JOURNEY_LIFETIME, Refusal, is_own_path};
use crate::routes::api::link_provider::{Confirmed, PURPOSE};

#[derive(Debug, Deserialize)]
pub(crate) struct Asked {
    /// Where to go when it is done.
    next: Option<String>,
    /// The ticket of `POST /api/account/providers/{id}/link`.
    link: Option<String>,
    /// The place in the waiting list of somebody who has none yet.
    place: Option<String>,
}

pub(crate) async fn handle(
    State(app): State<App>,
    peer: Peer,
    caller: Result<Caller, ApiError>,
    Path(provider): Path<String>,
    query: Result<Query<Asked>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, ApiError> {
    let known = app.providers.named(&provider)?;
    let Query(asked) = query.map_err(|_| ApiError::invalid("next", "the query can't be read"))?;
    let linking = asked.link.is_some();
    let next = asked.next.unwrap_or_else(|| if linking { "/account" } else { "/" }.to_owned());
    if !is_own_path(&next) {
        let given = shortened(&next);
        let message = format!("next must be a path of this server such as /account, got {given:?}");
        return Err(ApiError::invalid("next", message));
    }
    app.accounts.take_network(peer, app.clock.monotonic())?;
    let session = match (asked.link, caller) {
        (None, _) => None,
        (Some(ticket), Ok(caller)) => match confirmed(&app, caller, &known.settings.id, &ticket) {
            Ok(session) => Some(session),
            Err(_) => return Ok(go(&page_of(Refusal::Expired, true), [])),
        },
        (Some(_), Err(_)) => return Ok(go(&page_of(Refusal::Expired, false), [])),
    };
    let place = asked.place.and_then(|ticket| app.open_place(&ticket, peer));
    match oidc::begin(&app, &known, next, session, place).await {
        Ok((url, journey)) => {
            let ticket = app.challenge("oidc", &journey, JOURNEY_LIFETIME)?;
            Ok(go(url.as_str(), [journey_cookie(&app, Some(&ticket))]))
        }
        Err(refusal) => Ok(go(&page_of(refusal, linking), [])),
    }
}

/// The session in which it was confirmed that this account is to be linked, which must be the caller's. No other site's
/// page can have such a ticket: it could otherwise link an account of its own choosing with the caller's.
fn confirmed(app: &App, caller: Caller, provider: &str, ticket: &str) -> Result<[u8; 16], ApiError> {
    let challenge = app.open_challenge::<Confirmed>(PURPOSE, ticket)?;
    let session = <[u8; 16]>::from(caller.session);
    if challenge.content.session != session || challenge.content.provider != provider {
        return Err(ticket_expired());
    }
    app.answer(&challenge)?;
    Ok(session)
}
