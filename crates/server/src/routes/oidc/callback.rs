//! `GET /oidc/{provider}/callback`: back from the provider: the caller is signed in, or what they have there is linked.
//!
//! A login here counts as two factors, as a passkey does: no code is asked for after it. The organisation decides how its
//! members show who they are, and whoever links such an account with one here leaves that to it.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use defence::registration::PlaceId;
use serde::Deserialize;
use subtle::ConstantTimeEq as _;

use super::{go, journey_cookie, kept, page_of};
use crate::accounts::{Caller, Challenge, Peer};
use crate::app::App;
use crate::error::ApiError;
use crate::letters::{Language, Subject};
use crate::oidc::{self, Journey, Known, Refusal};

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Answer {
    code: Option<String>,
    #[serde(default)]
    state: String,
    error: Option<String>,
    /// Who answers (RFC 9207).
    iss: Option<String>,
}

pub(crate) async fn handle(
    State(app): State<App>,
    peer: Peer,
    caller: Result<Caller, ApiError>,
    headers: HeaderMap,
    Path(provider): Path<String>,
    query: Result<Query<Answer>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, ApiError> {
    let known = app.providers.named(&provider)?;
    app.accounts.check_network(peer, app.clock.monotonic())?;
    let answer = query.map(|Query(answer)| answer).unwrap_or_default();
    // Whatever comes of it, the browser has nothing to keep any more.
    let forget = journey_cookie(&app, None);
    let Some(kept) = kept(&app, &headers).and_then(|ticket| app.open_challenge("oidc", ticket).ok()) else {
        // Any page can send a browser here, which does not count against the network that it is in.
        return Ok(go(&page_of(Refusal::Expired, false), [forget]));
    };
    let journey = journey(&app, kept, &known, &answer);
    let linking = journey.as_ref().is_ok_and(|journey| journey.link.is_some());
    let done = match journey {
        Ok(journey) => arrive(&app, peer, caller, &headers, &known, journey, answer).await,
        Err(refusal) => Err(refusal),
    };
    match done {
        Ok((next, cookie)) => Ok(go(&next, cookie.into_iter().chain([forget]))),
        // They did all right. Behind `#`, as in letters, so that the ticket is sent nowhere.
        Err(Refusal::Waiting(place)) => {
            let ticket = app.place_ticket(place, peer)?;
            let page = format!("/sign-up?provider={}#place={ticket}", known.settings.id);
            Ok(go(&page, [forget]))
        }
        Err(refusal @ Refusal::NoPlace) => Ok(go(&page_of(refusal, false), [forget])),
        Err(refusal) => {
            app.gatehouse.login(false);
            app.accounts.network_failed(peer, app.clock.monotonic());
            app.audit("provider_login_failed", None, peer).await;
            Ok(go(&page_of(refusal, linking), [forget]))
        }
    }
}

/// What this browser kept, if it is what it was sent away with to this provider, and comes back for the first time.
fn journey(app: &App, kept: Challenge<Journey>, known: &Known, answer: &Answer) -> Result<Journey, Refusal> {
    let journey = &kept.content;
    let same: bool = journey.state.as_bytes().ct_eq(answer.state.as_bytes()).into();
    if !same || journey.provider != known.settings.id {
        return Err(Refusal::Failed);
    }
    app.answer(&kept).map_err(|_| Refusal::Expired)?;
    Ok(kept.content)
}

/// Where to go on to, and the cookie of a new session if there is one.
async fn arrive(
    app: &App,
    peer: Peer,
    caller: Result<Caller, ApiError>,
    headers: &HeaderMap,
    known: &Arc<Known>,
    journey: Journey,
    answer: Answer,
) -> Result<(String, Option<HeaderValue>), Refusal> {
    let Answer { code, error, iss, .. } = answer;
    match error.as_deref() {
        None => {}
        Some("access_denied") => return Err(Refusal::Denied),
        Some(_) => return Err(Refusal::Failed),
    }
    let code = code.ok_or(Refusal::Failed)?;
    let (next, link, place) = (journey.next.clone(), journey.link, journey.place.map(PlaceId));
    let who = oidc::finish(app, known, journey, code, iss).await?;
    if let Some(link) = link {
        // Whoever set out, and confirmed it, is whoever is here.
        let caller = caller.map_err(|_| Refusal::Expired)?;
        if <[u8; 16]>::from(caller.session) != link {
            return Err(Refusal::Expired);
        }
        let user = caller.account(app).await.map_err(|_| Refusal::Expired)?;
        oidc::link_to(app, &known.settings, &who, user.id, peer).await?;
        app.tell(&user, Language::of(headers), Subject::ProviderLinked);
        return Ok((next, None));
    }
    let user = oidc::user_of(app, &known.settings, &who, peer, place).await?;
    let cookie = app.sign_in(&user, peer, headers).await.map_err(|error| {
        if let Some(note) = error.into_note() {
            tracing::error!(error = note, "somebody could not be signed in");
        }
        Refusal::Failed
    })?;
    app.gatehouse.login(true);
    app.audit("provider_login", Some(user.id), peer).await;
    Ok((next, Some(cookie)))
}
