//! `GET /oidc/{provider}/start`: to the provider, to sign in, or with `link=1` to link its account with the caller's.

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Deserialize;

use super::{go, journey_cookie, page_of};
use crate::accounts::{Caller, Peer};
use crate::app::App;
use crate::error::{ApiError, shortened};
use crate::oidc::{self, JOURNEY_LIFETIME, Refusal, is_own_path};

#[derive(Debug, Deserialize)]
pub(crate) struct Asked {
    /// Where to go when it is done.
    next: Option<String>,
    #[serde(default)]
    link: String,
}

pub(crate) async fn handle(
    State(app): State<App>,
    peer: Peer,
    caller: Result<Caller, ApiError>,
    headers: HeaderMap,
    Path(provider): Path<String>,
    query: Result<Query<Asked>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, ApiError> {
    let known = app.providers.named(&provider)?;
    let Query(asked) = query.map_err(|_| ApiError::invalid("next", "the query can't be read"))?;
    let linking = asked.link == "1";
    let next = asked.next.unwrap_or_else(|| if linking { "/account" } else { "/" }.to_owned());
    if !is_own_path(&next) {
        let given = shortened(&next);
        let message = format!("next must be a path of this server such as /account, got {given:?}");
        return Err(ApiError::invalid("next", message));
    }
    app.accounts.check_network(peer, app.clock.monotonic())?;
    let user = match caller {
        _ if !linking => None,
        Ok(caller) => {
            check_own_page(&headers)?;
            Some(caller.account(&app).await?.id.to_string())
        }
        Err(_) => return Ok(go(&page_of(Refusal::Expired, false), [])),
    };
    match oidc::begin(&app, &known, next, user).await {
        Ok((url, journey)) => {
            let ticket = app.ticket("oidc", &journey, JOURNEY_LIFETIME)?;
            Ok(go(url.as_str(), [journey_cookie(&app, Some(&ticket))]))
        }
        Err(refusal) => Ok(go(&page_of(refusal, linking), [])),
    }
}

/// Another site's page that sends a browser here, signed in at the provider as somebody of the site's choosing, would
/// let that somebody in. Signing in may begin anywhere; linking only at our own page.
fn check_own_page(headers: &HeaderMap) -> Result<(), ApiError> {
    match headers.get("sec-fetch-site").map(|site| site.to_str()) {
        None | Some(Ok("same-origin" | "none")) => Ok(()),
        Some(_) => {
            let message = "only pages of this server may link an account";
            Err(ApiError::new(StatusCode::FORBIDDEN, "forbidden_origin", message))
        }
    }
}
