//! The way to an organisation's provider and back. Outside of `/api`, which pages of other sites can't lead to.

pub(super) mod callback;
pub(super) mod start;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{AppendHeaders, IntoResponse as _, Response};

use crate::accounts::cookies;
use crate::app::State;
use crate::oidc::{JOURNEY_LIFETIME, Refusal};

/// Sends the browser on, with cookies.
fn go(location: &str, cookies: impl IntoIterator<Item = HeaderValue>) -> Response {
    let Ok(location) = HeaderValue::from_str(location) else {
        // Each is checked where it comes from.
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let cookies: Vec<_> = cookies.into_iter().map(|cookie| (header::SET_COOKIE, cookie)).collect();
    (StatusCode::SEE_OTHER, [(header::LOCATION, location)], AppendHeaders(cookies)).into_response()
}

/// The page that says why it did not work.
fn page_of(refusal: Refusal, linking: bool) -> String {
    let page = if linking { "account" } else { "login" };
    format!("/{page}?error={}", refusal.code())
}

fn cookie_name(app: &State) -> String {
    format!("{}-oidc", app.accounts.cookie_name())
}

/// The field that gives the browser what it is to keep, or takes it away again.
fn journey_cookie(app: &State, ticket: Option<&str>) -> HeaderValue {
    let age = ticket.map_or(0, |_| JOURNEY_LIFETIME.as_secs());
    let secure = if app.settings.is_https() { "; Secure" } else { "" };
    let (name, value) = (cookie_name(app), ticket.unwrap_or_default());
    // Its name may begin with `__Host-`: then browsers keep it for the whole host only.
    let text = format!("{name}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Lax{secure}");
    // All of it is ours and in base64.
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// What the browser kept.
fn kept<'a>(app: &State, headers: &'a axum::http::HeaderMap) -> Option<&'a str> {
    let name = cookie_name(app);
    cookies(headers).find_map(|(given, value)| (given == name).then_some(value))
}
