use axum::extract::{FromRequestParts, Request, State as Shared};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use store::{SessionId, StoreError, User, UserId};

use super::token::SessionToken;
use super::{Machine, Peer, Way, lock, millis};
use crate::app::{App, State};
use crate::error::ApiError;
use crate::layers::{CallerClass, is_asked_as_local};

/// Somebody who is signed in. What the signed cookie says; the store was not asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) user: UserId,
    pub(crate) session: SessionId,
    /// Unix milliseconds.
    pub(crate) signed_in_ms: i64,
}

impl Caller {
    /// The caller's account as it is now. One that is gone or disabled is signed in no more.
    pub(crate) async fn account(self, app: &App) -> Result<User, ApiError> {
        self.account_if_any(app).await?.ok_or_else(ApiError::not_signed_in)
    }

    /// The caller's account as it is now, unless it is gone or disabled.
    pub(crate) async fn account_if_any(self, app: &App) -> Result<Option<User>, ApiError> {
        match app.store.user(self.user).await {
            Ok(user) => Ok(Some(user).filter(|user| user.disabled_ms.is_none())),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl FromRequestParts<App> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, ApiError> {
        parts.extensions.get::<Self>().copied().ok_or_else(ApiError::not_signed_in)
    }
}

/// Recognises the caller by the cookie and leaves a [`Caller`] for the endpoint, and a class for who counts. Nobody is
/// refused here.
pub(crate) async fn authenticate(Shared(app): Shared<App>, mut request: Request, next: Next) -> Response {
    let class = if let Some(caller) = recognise(&app, request.headers()) {
        request.extensions_mut().insert(caller);
        Some("session")
    } else {
        is_local(&request).then_some("local")
    };
    let mut response = next.run(request).await;
    // Who came with a key has been recognised further in.
    if response.extensions().get::<CallerClass>().is_none()
        && let Some(class) = class
    {
        response.extensions_mut().insert(CallerClass(class));
    }
    response
}

fn is_local(request: &Request) -> bool {
    let way = Peer::of(request.extensions()).way();
    Machine::made(request) || (way == Way::Local && is_asked_as_local(request.headers()))
}

/// What the session's cookie says, if it is a good one.
pub(super) fn session(app: &State, headers: &HeaderMap) -> Option<SessionToken> {
    let name = app.accounts.key.cookie_name();
    // A browser sends two cookies of one name if a page of a neighbouring host has planted one: ours is the signed one.
    cookies(headers).filter(|(given, _)| *given == name).find_map(|(_, text)| {
        let token = app.accounts.key.verify(text)?;
        (is_good(app, &token)).then_some(token)
    })
}

fn recognise(app: &State, headers: &HeaderMap) -> Option<Caller> {
    let token = session(app, headers)?;
    let mut seen = lock(&app.accounts.seen);
    seen.insert(token.session, app.clock.unix_ms());
    Some(Caller { user: token.user, session: token.session, signed_in_ms: token.issued_ms })
}

fn is_good(app: &State, token: &SessionToken) -> bool {
    let age_ms = app.clock.unix_ms().saturating_sub(token.issued_ms);
    age_ms < millis(app.settings.session_lifetime) && !lock(&app.accounts.revoked).contains(&token.session)
}

/// The names and values of all cookies; what is not in the form of one is passed over.
pub(crate) fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    let fields = headers.get_all(header::COOKIE).into_iter().filter_map(|field| field.to_str().ok());
    fields.flat_map(|field| field.split(';')).filter_map(|cookie| {
        let (name, value) = cookie.split_once('=')?;
        Some((name.trim(), value.trim()))
    })
}

/// The field that gives the browser its cookie.
pub(super) fn cookie(app: &State, token: &SessionToken) -> HeaderValue {
    let seconds = app.settings.session_lifetime.as_secs();
    let value = app.accounts.key.sign(token);
    field(app, app.accounts.key.cookie_name(), &format!("{value}; Max-Age={seconds}"))
}

/// The field that takes it away.
pub(crate) fn no_cookie(app: &State) -> HeaderValue {
    field(app, app.accounts.key.cookie_name(), "; Max-Age=0")
}

/// A field that sets a cookie of ours.
pub(super) fn field(app: &State, name: &str, value: &str) -> HeaderValue {
    let secure = if app.settings.is_https() { "; Secure" } else { "" };
    let text = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax{secure}");
    // All of it is ours and in base64.
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_found_among_others_and_nonsense() {
        let mut headers = HeaderMap::new();
        for field in ["a=1; b=2;c=3", "", "nonsense; =; d = 4 ;", "a=5"] {
            headers.append(header::COOKIE, field.parse().unwrap());
        }
        headers.append(header::COOKIE, HeaderValue::from_bytes(b"e=\xff").unwrap());
        let found: Vec<_> = cookies(&headers).collect();
        assert_eq!(found, [("a", "1"), ("b", "2"), ("c", "3"), ("", ""), ("d", "4"), ("a", "5")]);
    }
}
