//! Who asks the endpoints of programs: with a key, signed in, or on this machine.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State as Shared};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use dialogue::CacheScope;
use ipnet::IpNet;
use store::{Key, StoreError, UserId, UserRole};

use super::api_key::{ApiKey, PREFIX};
use super::caller::session;
use super::token::SessionToken;
use super::{Caller, Machine, Peer, Way, lock};
use crate::app::{App, State};
use crate::error::ApiError;
use crate::layers::{CallerClass, is_asked_as_local, refuse_other_sites};
use crate::meter::SESSION;

/// Who asks.
#[derive(Debug, Clone)]
pub(crate) enum Client {
    /// A program with a key that is good and may be used from where it is. Its row as of now.
    Key(Arc<Key>),
    /// Somebody who is signed in.
    Session(Caller),
    /// A program on this machine, which nobody has an account for.
    Local,
}

impl Client {
    /// In whose name.
    pub(crate) fn user(&self) -> Option<UserId> {
        match self {
            Self::Key(key) => Some(key.user),
            Self::Session(caller) => Some(caller.user),
            Self::Local => None,
        }
    }

    /// With which key.
    pub(crate) fn key(&self) -> Option<&Key> {
        match self {
            Self::Key(key) => Some(key),
            Self::Session(_) | Self::Local => None,
        }
    }

    /// That a key is still good: reading a request may have taken a while since it was looked up.
    pub(crate) fn is_still_good(&self, app: &State) -> Result<(), ApiError> {
        match self.key() {
            Some(key) if lock(&app.accounts.revoked_keys).contains(&key.id) => Err(ended()),
            _ => Ok(()),
        }
    }

    /// The class of caller, for metrics, prices and rows of usage.
    pub(crate) fn class(&self) -> &'static str {
        match self {
            Self::Key(_) => "key",
            Self::Session(_) => SESSION,
            Self::Local => "local",
        }
    }

    /// With whom what was read is shared: with the same user's requests alone. Programs on this machine share with their
    /// like.
    pub(crate) fn scope(&self) -> CacheScope {
        self.user().map_or_else(CacheScope::default, |user| CacheScope(user.into()))
    }

    /// Whether a model may be used, as far as the key says.
    pub(crate) fn allows(&self, model: &str) -> bool {
        let models = self.key().and_then(|key| key.scope.models.as_ref());
        models.is_none_or(|models| models.iter().any(|name| name == model))
    }
}

impl FromRequestParts<App> for Client {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, ApiError> {
        // Whoever has none came by a way that is not for programs.
        parts.extensions.get::<Self>().cloned().ok_or_else(none)
    }
}

/// Finds out who asks an endpoint of programs, and refuses whoever is nobody. Being on this machine is a credential, as is
/// being signed in. Programs on this machine that send some text as a key, as those do that were written for a server
/// without keys, are taken for what they are; one of ours counts wherever it comes from.
pub(crate) async fn clients(Shared(app): Shared<App>, mut request: Request, next: Next) -> Response {
    let peer = Peer::of(request.extensions());
    let recognised = refuse_other_sites(request.headers()).and_then(|()| recognise(&app, peer, &request));
    let client = match recognised {
        Ok(Recognised::Key(key)) => row(&app, &key, peer).await.map(|row| Client::Key(Arc::new(row))),
        Ok(Recognised::Session(caller)) => Ok(Client::Session(caller)),
        Ok(Recognised::Local) => Ok(Client::Local),
        Err(error) => Err(error),
    };
    let client = match client {
        Ok(client) => client,
        Err(error) => return error.into_response(),
    };
    let class = CallerClass(client.class());
    request.extensions_mut().insert(client);
    let mut response = next.run(request).await;
    response.extensions_mut().insert(class);
    response
}

/// Who somebody is by what is signed, without a question to the store.
enum Recognised {
    Key(ApiKey),
    Session(Caller),
    Local,
}

fn recognise(app: &State, peer: Peer, request: &Request) -> Result<Recognised, ApiError> {
    let headers = request.headers();
    let here = Machine::made(request) || (peer.way() == Way::Local && is_asked_as_local(headers));
    if let Some(given) = given_key(headers) {
        match app.accounts.keys.verify(given) {
            Some(key) if lock(&app.accounts.revoked_keys).contains(&key.id) => return Err(ended()),
            Some(key) => return Ok(Recognised::Key(key)),
            None if !here || given.starts_with(PREFIX) => return Err(wrong()),
            None => {}
        }
    }
    match request.extensions().get::<Caller>() {
        Some(caller) => Ok(Recognised::Session(*caller)),
        None if here => Ok(Recognised::Local),
        None => Err(none()),
    }
}

/// Whose an account is, as a cookie or key says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shown {
    pub(super) user: UserId,
    pub(super) role: UserRole,
    pub(super) user_since_ms: i64,
    pub(super) issued_ms: i64,
}

/// Whose a request is, by a good cookie or key: by what is signed, without a question to the store. Whether they may do
/// what they ask is not said.
pub(super) fn account_shown(app: &State, headers: &HeaderMap) -> Option<Shown> {
    if let Some(token) = session(app, headers) {
        let SessionToken { user, role, user_since_ms, issued_ms, .. } = token;
        return Some(Shown { user, role, user_since_ms, issued_ms });
    }
    let key = app.accounts.keys.verify(given_key(headers)?)?;
    let ApiKey { user, role, user_since_ms, issued_ms, .. } = key;
    let is_good = !lock(&app.accounts.revoked_keys).contains(&key.id);
    is_good.then_some(Shown { user, role, user_since_ms, issued_ms })
}

/// The row as it is now, if the key is still good and may be used from here; noted as used.
async fn row(app: &State, key: &ApiKey, peer: Peer) -> Result<Key, ApiError> {
    let row = match app.store.key(key.id).await {
        Ok(row) => row,
        Err(StoreError::NotFound { .. }) => return Err(ended()),
        Err(error) => return Err(error.into()),
    };
    if row.user != key.user || !key.is_of(&row.hash) {
        return Err(wrong());
    }
    let from = peer.ip();
    let within = |range: &String| range.parse::<IpNet>().is_ok_and(|range| range.contains(&from));
    if !row.scope.addresses.is_empty() && !row.scope.addresses.iter().any(within) {
        let message = format!("this API key may not be used from {from}; its owner can change that");
        return Err(ApiError::new(StatusCode::FORBIDDEN, "address_not_allowed", message));
    }
    app.accounts.key_used(row.id, app.clock.unix_ms());
    Ok(row)
}

/// The key that a request has, in OpenAI's and `DeepSeek`'s way or in Anthropic's.
fn given_key(headers: &HeaderMap) -> Option<&str> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let bearer = text(header::AUTHORIZATION).and_then(|field| {
        let (scheme, key) = field.trim().split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
    });
    let key = text(header::HeaderName::from_static("x-api-key")).map(str::trim);
    bearer.into_iter().chain(key).find(|key| !key.is_empty())
}

fn refused(message: &str) -> ApiError {
    ApiError::new(StatusCode::UNAUTHORIZED, "invalid_api_key", message)
}

fn none() -> ApiError {
    refused("send an API key (Authorization: Bearer sk-cachalot-..., or x-api-key), or sign in")
}

fn wrong() -> ApiError {
    refused("the API key is none of this server's")
}

fn ended() -> ApiError {
    refused("the API key was revoked or has expired, or its user may no longer sign in")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(fields: &[(&'static str, &str)], expected: Option<&str>) {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        assert_eq!(given_key(&headers), expected, "{fields:?}");
    }

    #[test]
    fn keys_come_in_two_fields() {
        check(&[], None);
        check(&[("authorization", "Bearer a")], Some("a"));
        check(&[("authorization", " bearer  a ")], Some("a"));
        check(&[("x-api-key", " a ")], Some("a"));
        check(&[("authorization", "Bearer a"), ("x-api-key", "b")], Some("a"));
        check(&[("authorization", "Bearer "), ("x-api-key", "b")], Some("b"));
        check(&[("authorization", "Basic YTpi")], None);
        check(&[("authorization", "a"), ("x-api-key", "")], None);
    }
}
