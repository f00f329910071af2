use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex};

use axum::http::StatusCode;
use store::{Key, KeyId, UsageOf};

use super::{Meter, lock};
use crate::app::App;
use crate::error::ApiError;

/// After so many seconds a request may have ended.
const RETRY_S: u64 = 5;
const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// Use is counted by the quarter of an hour, so that what may be used is more again at the next.
const QUARTER_MS: i64 = 15 * 60 * 1000;

/// The place of one request among those of its key, given back when dropped.
#[derive(Debug)]
pub(super) struct KeyPlace {
    key: KeyId,
    by_key: Arc<Mutex<HashMap<KeyId, u32>>>,
}

impl Drop for KeyPlace {
    fn drop(&mut self) {
        if let Entry::Occupied(mut theirs) = lock(&self.by_key).entry(self.key) {
            *theirs.get_mut() -= 1;
            if *theirs.get() == 0 {
                theirs.remove();
            }
        }
    }
}

/// Leave for one more request with a key: for this model, besides those that go on, and within what is left of the day.
pub(super) async fn permit(app: &App, key: &Key, model: &str) -> Result<KeyPlace, ApiError> {
    let scope = &key.scope;
    check_scope(key, model)?;
    let (place, before) = app.meter.reserve(key)?;
    if scope.requests_per_day.is_some() || scope.tokens_per_day.is_some() {
        let now_ms = app.clock.unix_ms();
        let used =
            app.store.used_since(UsageOf::Key(key.user, key.id), now_ms.saturating_sub(DAY_MS)).await?;
        let requests = used.requests.saturating_add(u64::from(before));
        if let Some(most) = scope.requests_per_day.map(u64::from)
            && requests >= most
        {
            return Err(used_up("requests_per_day", "requests", most, requests, now_ms));
        }
        if let Some(most) = scope.tokens_per_day
            && used.tokens >= most
        {
            return Err(used_up("tokens_per_day", "tokens", most, used.tokens, now_ms));
        }
    }
    Ok(place)
}

/// Checks that a key is for a model.
pub(crate) fn check_scope(key: &Key, model: &str) -> Result<(), ApiError> {
    if key.scope.models.as_ref().is_none_or(|models| models.iter().any(|name| name == model)) {
        return Ok(());
    }
    let message = format!("this API key may not be used for the model {model:?}");
    Err(ApiError::new(StatusCode::FORBIDDEN, "model_not_allowed", message).with_param("model"))
}

impl Meter {
    /// A place for one more request with a key, and how many there were before it.
    fn reserve(&self, key: &Key) -> Result<(KeyPlace, u32), ApiError> {
        let mut by_key = lock(&self.by_key);
        let before = by_key.get(&key.id).copied().unwrap_or_default();
        if let Some(most) = key.scope.requests_at_once
            && before >= most
        {
            let message = format!("{before} requests with this API key are going on, {most} may be at once");
            return Err(ApiError::too_many("too_many_requests_at_once", message, RETRY_S));
        }
        by_key.insert(key.id, before + 1);
        Ok((KeyPlace { key: key.id, by_key: Arc::clone(&self.by_key) }, before))
    }
}

fn used_up(code: &'static str, what: &str, most: u64, given: u64, now_ms: i64) -> ApiError {
    let seconds = ((QUARTER_MS - now_ms.rem_euclid(QUARTER_MS)) / 1000).unsigned_abs().max(1);
    let message = format!(
        "this API key may be used for {most} {what} within 24 hours, and was for {given}; the next may be free in {} minutes",
        seconds.div_ceil(60)
    );
    ApiError::too_many(code, message, seconds)
}
