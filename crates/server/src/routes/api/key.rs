//! Keys as the web app and operators see them, and what may stand in one.

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use store::{Key, KeyChange, KeyId, KeyScope, Nanos, NewKey, User, UserId};
use utoipa::ToSchema;

use super::id_in_path;
use crate::accounts::{ApiKey, check_key_name};
use crate::app::{App, State};
use crate::body::Given;
use crate::error::{ApiError, shortened};
use crate::letters::{Language, Subject};

const ADDRESSES_MAX: usize = 64;
/// More than any machine of today could use: what is meant by it is "without limit".
const COUNT_MAX: u32 = 100_000_000;
const TOKENS_MAX: u64 = 1_000_000_000_000;
/// The year 2200. Later is meant as "never".
const EXPIRES_MS_MAX: i64 = 7_258_118_400_000;

/// The key that a path names. Text that is no id names nothing.
pub(crate) struct OfKey(pub(crate) KeyId);

impl FromRequestParts<App> for OfKey {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        id_in_path(parts, app, "key").await.map(Self)
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Key)]
pub(crate) struct KeyView {
    id: String,
    name: String,
    /// Its first characters.
    start: String,
    created_ms: i64,
    expires_ms: Option<i64>,
    used_ms: Option<i64>,
    /// Amounts are decimal texts, in units of the currency.
    spent: String,
    models: Option<Vec<String>>,
    spend_max: Option<String>,
    addresses: Vec<String>,
    requests_at_once: Option<u32>,
    requests_per_day: Option<u32>,
    tokens_per_day: Option<u64>,
}

impl From<Key> for KeyView {
    fn from(key: Key) -> Self {
        Self {
            id: key.id.to_string(),
            name: key.name,
            start: key.start,
            created_ms: key.created_ms,
            expires_ms: key.expires_ms,
            used_ms: key.used_ms,
            spent: key.spent.to_string(),
            models: key.scope.models,
            spend_max: key.scope.spend_max.map(|most| most.to_string()),
            addresses: key.scope.addresses,
            requests_at_once: key.scope.requests_at_once,
            requests_per_day: key.scope.requests_per_day,
            tokens_per_day: key.scope.tokens_per_day,
        }
    }
}

/// A new key. The secret is shown once.
#[derive(Serialize, ToSchema)]
pub(crate) struct MadeKey {
    key: KeyView,
    secret: String,
}

/// A key as a body has it: a field that is absent stays as it is, `null` is without limit.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(crate) struct AskedKey {
    name: Option<String>,
    #[serde(default)]
    #[schema(value_type = Option<i64>)]
    expires_ms: Given<i64>,
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>)]
    models: Given<Vec<String>>,
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    spend_max: Given<String>,
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>)]
    addresses: Given<Vec<String>>,
    #[serde(default)]
    #[schema(value_type = Option<u32>)]
    requests_at_once: Given<u32>,
    #[serde(default)]
    #[schema(value_type = Option<u32>)]
    requests_per_day: Given<u32>,
    #[serde(default)]
    #[schema(value_type = Option<u64>)]
    tokens_per_day: Given<u64>,
}

impl AskedKey {
    /// What is to be changed of a key that has this scope.
    pub(crate) fn over(self, before: KeyScope, now_ms: i64) -> Result<KeyChange, ApiError> {
        let name = self.name.as_deref().map(check_key_name).transpose()?;
        let expires_ms = match self.expires_ms {
            Given::Absent => None,
            Given::Null => Some(None),
            Given::Value(at_ms) => Some(Some(check_expiry(at_ms, now_ms)?)),
        };
        let scope = KeyScope {
            models: match self.models {
                Given::Absent => before.models,
                Given::Null => None,
                Given::Value(models) => Some(super::admin::check_models(models)?),
            },
            spend_max: match self.spend_max {
                Given::Absent => before.spend_max,
                Given::Null => None,
                Given::Value(amount) => Some(check_amount("spend_max", &amount, Nanos::ZERO)?),
            },
            addresses: match self.addresses {
                Given::Absent => before.addresses,
                Given::Null => Vec::new(),
                Given::Value(addresses) => check_addresses(&addresses)?,
            },
            requests_at_once: self.requests_at_once.over(
                "requests_at_once",
                before.requests_at_once,
                COUNT_MAX,
            )?,
            requests_per_day: self.requests_per_day.over(
                "requests_per_day",
                before.requests_per_day,
                COUNT_MAX,
            )?,
            tokens_per_day: self.tokens_per_day.over("tokens_per_day", before.tokens_per_day, TOKENS_MAX)?,
        };
        Ok(KeyChange { name, scope: Some(scope), expires_ms })
    }

    /// A new key of a user and its text.
    pub(crate) fn into_new(self, app: &State, user: &User) -> Result<(NewKey, String), ApiError> {
        let now_ms = app.clock.unix_ms();
        let change = self.over(KeyScope::default(), now_ms)?;
        let name = change.name.ok_or_else(|| ApiError::invalid("name", "name must be given"))?;
        let key = ApiKey {
            id: app.meter.id(),
            user: user.id,
            role: user.role,
            user_since_ms: user.created_ms,
            issued_ms: now_ms,
            secret: app.random_bytes(),
        };
        let text = app.accounts.sign_key(&key);
        let new = NewKey {
            id: key.id,
            user: user.id,
            name,
            start: ApiKey::start(&text),
            hash: key.hash(),
            created_ms: now_ms,
            expires_ms: change.expires_ms.flatten(),
            scope: change.scope.unwrap_or_default(),
        };
        Ok((new, text))
    }
}

impl<T: PartialOrd + From<u8> + std::fmt::Display + Copy> Given<T> {
    /// A limit, at least 1, in the place of what it was.
    fn over(self, name: &'static str, before: Option<T>, most: T) -> Result<Option<T>, ApiError> {
        match self {
            Self::Absent => Ok(before),
            Self::Null => Ok(None),
            Self::Value(value) if (T::from(1)..=most).contains(&value) => Ok(Some(value)),
            Self::Value(value) => Err(ApiError::invalid(
                name,
                format!("{name} must be null or between 1 and {most}, got {value}"),
            )),
        }
    }
}

fn check_expiry(at_ms: i64, now_ms: i64) -> Result<i64, ApiError> {
    if at_ms > now_ms && at_ms <= EXPIRES_MS_MAX {
        return Ok(at_ms);
    }
    let message = format!(
        "expires_ms must be null or Unix milliseconds after now ({now_ms}) and up to {EXPIRES_MS_MAX}, got {at_ms}"
    );
    Err(ApiError::invalid("expires_ms", message))
}

/// An amount in units of the currency, more than `over`.
pub(crate) fn check_amount(param: &'static str, given: &str, over: Nanos) -> Result<Nanos, ApiError> {
    /// What the store holds of one user's at most.
    const UNITS_MAX: i64 = 1_000_000_000;
    let most = Nanos::units(UNITS_MAX).unwrap_or_default();
    let amount = given.trim().parse::<Nanos>().ok();
    amount.filter(|amount| *amount > over && *amount <= most).ok_or_else(|| {
        let message = format!(
            "{param} must be an amount in decimal such as \"12.50\", more than {over} and at most {most}, got {:?}",
            shortened(given)
        );
        ApiError::invalid(param, message)
    })
}

/// Networks in one way of writing; single addresses are networks of one.
fn check_addresses(given: &[String]) -> Result<Vec<String>, ApiError> {
    if given.len() > ADDRESSES_MAX {
        let message =
            format!("addresses may have at most {ADDRESSES_MAX} ranges, this one has {}", given.len());
        return Err(ApiError::invalid("addresses", message));
    }
    let check = |text: &String| {
        let text = text.trim();
        let network = text.parse::<IpNet>().or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from));
        network.map(|network| network.trunc().to_string()).map_err(|_| {
            let message = format!(
                "addresses must be addresses or ranges such as 192.0.2.7 or 2001:db8::/32, got {:?}",
                shortened(text)
            );
            ApiError::invalid("addresses", message)
        })
    };
    given.iter().map(check).collect()
}

/// Keeps a new key, notes it, and tells the user by letter where letters are sent, so that a key that somebody else has
/// made does not go unseen.
pub(crate) async fn add_key(
    app: &App,
    user: &User,
    asked: AskedKey,
    headers: &HeaderMap,
) -> Result<MadeKey, ApiError> {
    let (new, secret) = asked.into_new(app, user)?;
    let key = app.store.add_key(new, app.settings.keys_max).await?;
    app.tell(user, Language::of(headers), Subject::KeyMade);
    Ok(MadeKey { key: key.into(), secret })
}

/// Changes a key of a user.
pub(crate) async fn change_key(
    app: &App,
    user: UserId,
    id: KeyId,
    asked: AskedKey,
) -> Result<KeyView, ApiError> {
    let keys = app.store.keys(user).await?;
    let before = keys.into_iter().find(|key| key.id == id);
    let before = before.ok_or_else(|| ApiError::not_found("there is no such key"))?;
    let change = asked.over(before.scope, app.clock.unix_ms())?;
    Ok(app.store.change_key(user, id, change).await?.into())
}

/// Ends a key of a user: within this process from now on.
pub(crate) async fn end_key(app: &App, user: UserId, id: KeyId) -> Result<(), ApiError> {
    app.store.revoke_key(user, id).await?;
    app.accounts.revoke_key(id, None, app.clock.unix_ms());
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(body: Value, expected: Result<KeyScope, &str>) {
        let asked: AskedKey = serde_json::from_value(body.clone()).unwrap();
        let before = KeyScope { requests_per_day: Some(7), ..KeyScope::default() };
        match (asked.over(before, 1000), expected) {
            (Ok(change), Ok(scope)) => assert_eq!(change.scope, Some(scope), "{body}"),
            (Err(error), Err(param)) => {
                assert_eq!(error.body().error.param.as_deref(), Some(param), "{body}: {}", error.message());
            }
            (found, expected) => panic!("{body}: {found:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn what_may_stand_in_a_key() {
        let before = KeyScope { requests_per_day: Some(7), ..KeyScope::default() };
        check(json!({}), Ok(before.clone()));
        check(json!({"requests_per_day": null}), Ok(KeyScope::default()));
        let all = json!({
            "name": "x", "expires_ms": 1001, "models": ["a"], "spend_max": " 1.5 ", "tokens_per_day": 9,
            "addresses": ["192.0.2.7", "2001:db8::1/32", "10.1.2.3/8"], "requests_at_once": 1,
        });
        let scope = KeyScope {
            models: Some(vec!["a".to_owned()]),
            spend_max: Some(Nanos(1_500_000_000)),
            addresses: ["192.0.2.7/32", "2001:db8::/32", "10.0.0.0/8"].map(str::to_owned).to_vec(),
            requests_at_once: Some(1),
            tokens_per_day: Some(9),
            ..before
        };
        check(all, Ok(scope));
        for (body, param) in [
            (json!({"name": ""}), "name"),
            (json!({"name": "a\nb"}), "name"),
            (json!({"expires_ms": 1000}), "expires_ms"),
            (json!({"expires_ms": i64::MAX}), "expires_ms"),
            (json!({"models": ["a\nb"]}), "models"),
            (json!({"spend_max": "0"}), "spend_max"),
            (json!({"spend_max": "-1"}), "spend_max"),
            (json!({"spend_max": "1000000000.01"}), "spend_max"),
            (json!({"spend_max": "1e3"}), "spend_max"),
            (json!({"addresses": ["localhost"]}), "addresses"),
            (json!({"addresses": vec!["::1"; 65]}), "addresses"),
            (json!({"requests_at_once": 0}), "requests_at_once"),
            (json!({"tokens_per_day": 1_000_000_000_001_u64}), "tokens_per_day"),
        ] {
            check(body, Err(param));
        }
    }
}
